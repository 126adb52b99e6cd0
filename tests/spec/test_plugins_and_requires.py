"""``plugins:`` with files beside the pipeline, and ``requires:``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from etlcore.spec import SpecError, load

FILE = """
from etlcore import Component, RowTransform, hookimpl

class Twice(RowTransform):
    def map(self, row):
        return [row, row]

@hookimpl
def etl_components():
    yield Component("{name}", kind="transform", target="{module}:Twice")
"""


@pytest.fixture(autouse=True)
def modules() -> Iterator[None]:
    """The modules that a test loads are gone afterwards."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("mine"):
            del sys.modules[name]


def write(directory: Path, name: str, text: str) -> Path:
    (directory / name).parent.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(text, encoding="utf-8")
    return directory / name


def pipeline(directory: Path, top: str, component: str = "mine.twice") -> Path:
    stages = f"{{in: {{source: generate}}, t: {{transform: {component}}}, out: {{sink: console}}}}"
    return write(directory, "p.yaml", f"{top}\nstages: {stages}\n")


def complaint(file: Path) -> str:
    with pytest.raises(SpecError) as raised:
        load(file)
    return str(raised.value).replace(f"{file.parent}/", "")


@pytest.mark.parametrize("where", ["mine_one.py", "./mine_one.py", "parts/mine_one.py"])
def test_a_plugin_in_a_file_beside_the_pipeline(tmp_path: Path, where: str) -> None:
    write(tmp_path, where, FILE.format(name="mine_one.twice", module="mine_one"))
    stage = load(pipeline(tmp_path, f"plugins: [{where}]", "mine_one.twice")).stages[1]
    assert (stage.component, stage.cls.__name__) == ("mine_one.twice", "Twice")
    assert load(tmp_path / "p.yaml").stages[1].cls is stage.cls, "it is loaded once"


def test_without_the_line_it_is_not_there(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", FILE.format(name="mine.twice", module="mine"))
    assert "no plugin named `mine` is installed (for `mine.twice`)" in complaint(pipeline(tmp_path, ""))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("other.py", None, "p.yaml:1:11: there is no file mine.py"),
        ("mine.py", "1 / 0", "plugin `mine` (mine.py) cannot be imported: ZeroDivisionError: division by zero"),
        ("mine.py", "def", "plugin `mine` (mine.py) cannot be imported: SyntaxError"),
        ("mine.py", FILE.format(name="yours.twice", module="mine"), "offers `yours.twice`, which is not its own name"),
        ("mine.py", FILE.format(name="mine.other", module="mine"), "offers no component `mine.twice`"),
        ("mine.py", FILE.format(name="mine.twice", module="mine_not_there"), "importing mine_not_there raised"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    if text is not None:
        write(tmp_path, name, text)
    assert message in complaint(pipeline(tmp_path, "plugins: [mine.py]"))


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    write(tmp_path, "select.py", FILE.format(name="select.twice", module="select"))
    said = complaint(pipeline(tmp_path, "plugins: [./select.py]", "select"))
    assert "the name `select` is claimed by etlcore " in said
    assert "give the file another name" in said
    write(tmp_path, "json.py", FILE.format(name="json.twice", module="json"))
    assert "another one of that name is loaded" in complaint(pipeline(tmp_path, "plugins: [./json.py]", "json.twice"))
    write(tmp_path, "my-own.py", "")
    assert "`my-own` is no name for a module" in complaint(pipeline(tmp_path, "plugins: [./my-own.py]", "select"))


def test_a_file_does_not_take_the_place_of_a_module_that_others_import_later(tmp_path: Path) -> None:
    rare = next(name for name in sorted(sys.stdlib_module_names) if name.isidentifier() and _is_rare(name))
    write(tmp_path, f"{rare}.py", FILE.format(name=f"{rare}.twice", module=rare))
    said = complaint(pipeline(tmp_path, f"plugins: [./{rare}.py]", f"{rare}.twice"))
    assert "there is one of that name already, " in said
    assert "give the file another name" in said
    assert rare not in sys.modules


def _is_rare(name: str) -> bool:
    """A module of the standard library, in a file of its own, that nobody in this process has imported yet."""
    return not name.startswith("_") and name not in sys.modules and Path(os.__file__).with_name(f"{name}.py").is_file()


def test_a_file_that_can_be_imported_by_its_name_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "mine_here.py", FILE.format(name="mine_here", module="mine_here"))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load(pipeline(tmp_path, "plugins: [./mine_here.py]", "mine_here")).stages[1].component == "mine_here"


@pytest.mark.parametrize("name", ["./mine.PY", "parts/mine", "./mine"])
def test_a_path_that_is_no_python_file(tmp_path: Path, name: str) -> None:
    said = complaint(pipeline(tmp_path, f"plugins: [{name}]", "select"))
    assert f"`{name}` is neither the name of a plugin nor a Python file" in said
    assert "-> write NAME, or ./FILE.py" in said


@pytest.mark.parametrize(
    "required", ["etlcore", "etlcore>=0.0.1", "PyYAML>=6,<99", "nothing; python_version < '3'", "${WANTED:-pluggy>=1}"]
)
def test_what_is_required_and_there(tmp_path: Path, required: str) -> None:
    file = write(
        tmp_path, "p.yaml", f'requires: ["{required}"]\nstages: {{in: {{source: generate}}, out: {{sink: console}}}}\n'
    )
    assert load(file, environ={})


@pytest.mark.parametrize(
    ("required", "message", "hint"),
    [
        ("nothing-of-the-kind>=2", "nothing-of-the-kind is not installed", "pip install 'nothing-of-the-kind>=2'"),
        ("pluggy>=99", "is installed, not >=99", "pip install 'pluggy>=99'"),
        ("pluggy=>1", "`pluggy=>1` is no requirement: ", "write it as for pip"),
    ],
)
def test_what_is_required_and_not_there(tmp_path: Path, required: str, message: str, hint: str) -> None:
    file = write(
        tmp_path, "p.yaml", f'requires: ["{required}"]\nstages: {{in: {{source: generate}}, out: {{sink: console}}}}\n'
    )
    said = complaint(file)
    assert said.startswith("p.yaml:1:12: ")
    assert message in said
    assert f"-> {hint}" in said


@pytest.mark.parametrize("key", ["requires", "plugins"])
def test_they_are_lists(tmp_path: Path, key: str) -> None:
    file = write(tmp_path, "p.yaml", f"{key}: select\nstages: {{in: {{source: generate}}, out: {{sink: console}}}}\n")
    assert f"`{key}` must be a list, not select" in complaint(file)
