"""Nothing is undocumented: options, verbs, exit codes, hooks, keys, fields, tables."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sqlite3
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest

import etlcore
from etlcore import Batch
from etlcore.cli.app import etl
from etlcore.components import Context, Metrics, Sink, Source, Transform
from etlcore.plugins import HOOKS, Plugins, hooks, records
from etlcore.runtime import report
from etlcore.spec import SpecError, load_text
from etlcore.state import StateStore
from tests.docs.options import PLACES, first_party
from tests.docs.pages import ROOT, section, without_blocks

DOCS = ROOT / "docs"
RUNNING, SLS, CONTRACT, FILE = (DOCS / f"{n}.md" for n in ("running", "sls", "plugin-contract", "pipeline-file"))
VERBS = {
    "sls": SLS,
    "dead": DOCS / "dead-letters.md",
    "state": DOCS / "dead-letters.md",
    "plugins": CONTRACT,
    "schema": FILE,
    "new": DOCS / "first-plugin.md",
    "graph": FILE,
    "check": FILE,
    "test": DOCS / "testing-pipelines.md",
}
"""Where a verb is described that `running.md` does not describe."""


def mentions(text: str, word: str) -> bool:
    """Whether a text has a word in backticks, alone or with others; what stands in blocks of code does not count."""
    inline = re.findall(r"`([^`\n]+)`", without_blocks(text))
    return any(re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", code) for code in inline)


def missing(text: str, words: Iterator[str] | list[str] | set[str]) -> list[str]:
    return sorted(word for word in set(words) if not mentions(text, word))


# -- components --------------------------------------------------------------------------------------------------------

COMPONENTS = first_party(Plugins())


@pytest.mark.parametrize(("component", "by"), COMPONENTS, ids=lambda c: getattr(c, "name", c))
def test_every_option_of_every_component(component: Any, by: str) -> None:
    cls: Any = Plugins().load(component)
    about = section(PLACES[by], f"`{component.kind}: {component.name}`")
    for name, field in cls.Config.model_fields.items():
        assert f"\n| `{name}` | " in about
        assert field.description, f"{component.name}: {name} has no description"


# -- the command line --------------------------------------------------------------------------------------------------


def commands(group: click.Group, path: str, page: Path) -> Iterator[tuple[str, click.Command, Path]]:
    context = click.Context(group)
    yield path, group, page
    for verb in group.list_commands(context):
        command = group.get_command(context, verb)
        assert command is not None
        here = VERBS.get(verb, page)
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {verb}", here)
        else:
            yield f"{path} {verb}", command, here


@pytest.mark.parametrize(
    ("path", "command", "page"), list(commands(etl, "etl", RUNNING)), ids=lambda p: p if isinstance(p, str) else ""
)
def test_every_verb_and_option(path: str, command: click.Command, page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert mentions(text, path)
    given = [p for p in command.params if isinstance(p, click.Option)]  # `--help`, which all have, is not among them
    assert missing(text, [name for option in given for name in (*option.opts, *option.secondary_opts)]) == []
    for option in given:
        if isinstance(option.type, click.Choice):
            assert missing(text, [str(choice) for choice in option.type.choices]) == []


def test_every_exit_code() -> None:
    modules = ("etlcore.runtime.report", "etlcore.runtime.signals", "etlcore.cli.app", "etlcore.cli.run")
    known = {v for m in modules for k, v in vars(import_module(m)).items() if k.startswith("EXIT_")}
    listed = re.findall(r"^\| (\d+) \|", section(RUNNING, "Exit codes"), flags=re.MULTILINE)
    assert sorted(map(int, listed)) == sorted(known | {0})


# -- the pipeline file -------------------------------------------------------------------------------------------------

UNKNOWN = """
nope: 1
stages:
  a: {source: generate}
  b: {transform: filter, with: {where: id = 1}, nope: 1, queue: {nope: 1}, batch: {nope: 1}}
  c: {sink: console, on_error: {nope: 1}}
defaults: {nope: 1}
shutdown: {nope: 1}
commit: {nope: 1}
"""
UNKNOWN_IN_TESTS = """
stages: {a: {source: generate}, b: {transform: filter, with: {where: id = 1}}, c: {sink: console}}
tests:
  one: {given: {a: []}, expect: {c: {file: c.jsonl, nope: 1}}, dead: {b: [{nope: 1}]}, nope: 1}
"""


def test_every_key_of_a_pipeline_file() -> None:
    with pytest.raises(SpecError) as raised:
        load_text(UNKNOWN)
    hints = [problem.hint for problem in raised.value.problems]
    assert len(hints) == 8
    keys = {key for hint in hints for key in re.findall(r"`(\w+)`", hint.partition(" may have ")[2])}
    assert {"stages", "workers", "rows", "seconds", "timeout", "interval", "then"} <= keys
    assert missing(FILE.read_text(encoding="utf-8"), keys) == []


def test_every_key_of_a_test_in_a_pipeline_file() -> None:
    with pytest.raises(SpecError) as raised:
        load_text(UNKNOWN_IN_TESTS, tests=True)
    keys = {key for p in raised.value.problems for key in re.findall(r"`(\w+)`", p.hint.partition(" may have ")[2])}
    assert {"given", "expect", "dead", "reason", "file"} <= keys
    assert missing(VERBS["test"].read_text(encoding="utf-8"), keys) == []


# -- the report and the state ------------------------------------------------------------------------------------------


def test_every_field_of_the_report() -> None:
    parts = (report.Report, report.StageRow, report.Balance, report.Committed, report.Stuck, report.Trouble)
    fields = {field.name for part in parts for field in dataclasses.fields(part)}
    assert missing(section(RUNNING, "The report as JSON"), fields | {"schema", "etlcore", "balanced"}) == []


def test_every_column_of_the_state_file(tmp_path: Path) -> None:
    with StateStore(tmp_path) as store:
        store.save_positions("p", "s", {"0": 1})
    with sqlite3.connect(store.file) as state:
        tables = {name for (name,) in state.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        tables = {name for name in tables if not name.startswith("sqlite_")}
        columns = {row[1] for name in tables for row in state.execute(f"PRAGMA table_info({name})")}
    state.close()
    assert missing(section(RUNNING, "Dead letters"), tables | columns) == []


# -- what plugins rely on ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_with_its_parameters(hook: str) -> None:
    parameters = [name for name in inspect.signature(getattr(hooks.Hooks, hook)).parameters if name != "self"]
    assert f"`{hook}({', '.join(parameters)})`" in section(CONTRACT, "Hooks")


@pytest.mark.parametrize("record", [records.Component, records.Command, records.SecretScheme])
def test_every_record_with_its_fields(record: type) -> None:
    described = re.search(rf"`{record.__name__}\((.*?)\)`", section(CONTRACT, "Hooks"))
    assert described
    assert re.findall(r"(\w+)(?:=[^,]*)?(?:, |$)", described[1]) == list(inspect.signature(record).parameters)


def public(cls: type) -> set[str]:
    return {name for name in {*vars(cls), *getattr(cls, "__annotations__", {})} if not name.startswith("_")}


def test_every_public_name() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in (CONTRACT, DOCS / "python.md"))
    assert [name for name in etlcore.__all__ if not re.search(rf"\b{name}\b", text) and name != "__version__"] == []


def test_everything_a_component_may_use_or_declare() -> None:
    text = CONTRACT.read_text(encoding="utf-8")
    names = public(Context) | public(Metrics) | public(Source) | public(Transform) | public(Sink) | public(Batch)
    assert missing(text, names - {"derived"}) == []


# -- figures -----------------------------------------------------------------------------------------------------------

_FIGURE = re.compile(r"""(?:metrics\.(?:gauge|count)|_count)\(\s*"(\w+)\"""")


def test_every_figure() -> None:
    """What components measure: each name with which they call `context.metrics`."""
    sources = [*(ROOT / "etlcore").rglob("*.py"), *(ROOT / "plugins").glob("*/src/**/*.py")]
    names = {name for file in sources for name in _FIGURE.findall(file.read_text(encoding="utf-8"))}
    assert {"lag_seconds", "retries", "put_requests", "invalid_cursors"} <= names
    text = "".join(page.read_text(encoding="utf-8") for page in (RUNNING, SLS, DOCS / "stages.md"))
    assert missing(text, names) == []


# -- the emulator ------------------------------------------------------------------------------------------------------


def test_everything_a_test_can_do_with_the_emulator() -> None:
    from etlcore_sls import pytest_plugin
    from etlcore_sls.emulator.control import Control
    from etlcore_sls.emulator.faults import ACTIONS

    about = section(SLS, "In tests")
    assert missing(about, public(Control) | set(ACTIONS)) == []
    tree = ast.parse(Path(inspect.getfile(pytest_plugin)).read_text(encoding="utf-8"))
    marked = [f.name for f in tree.body if isinstance(f, ast.FunctionDef) and f.decorator_list]
    assert marked
    assert missing(about, marked) == []
