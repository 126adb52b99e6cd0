"""`etl schema`: what a file may hold, as editors check it; as strict as a schema can be, and never stricter than us."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from etlcore.plugins import Plugins
from etlcore.spec import SpecError, load_text
from etlcore.spec.document import read
from etlcore.spec.schema import json_schema
from tests.docs.pages import blocks, pages
from tests.spec.test_broken_files import CASES
from tests.spec.test_yaml_traps import TRAPS, WRONG

ROOT = Path(__file__).parents[2]
ETL = str(Path(sys.executable).with_name("etl"))

BEYOND_A_SCHEMA = {
    "no source",
    "no sink",
    "cycle",
    "cycle of one",
    "below a sink",
    "two sources above a sink",
    "named outputs that there are not",
    "variables",
    "a source that leads to two transactional sinks",
    "sqlite: upsert without a key",
    "sqlite: a key without upsert",
    "sqlite: a table that is etlcore's own",
}
"""What takes more than one look at one value to see: the graph, the environment, what an author's own function says."""


def schema(warnings: list[str] | None = None) -> Draft7Validator:
    made = json_schema(Plugins(), [].append if warnings is None else warnings.append)
    Draft7Validator.check_schema(made)
    return Draft7Validator(made)


def complaints(validator: Draft7Validator, text: str) -> list[str]:
    """What an editor says of a text: its values are as YAML 1.2 has them."""
    return [error.message for error in validator.iter_errors(read(text, "p.yaml").value)]


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    return schema()


@pytest.mark.parametrize("file", sorted((ROOT / "pipelines").glob("*.yaml")), ids=lambda file: file.name)
def test_the_pipelines_of_this_repository_are_in_order(validator: Draft7Validator, file: Path) -> None:
    assert complaints(validator, file.read_text(encoding="utf-8")) == []


def test_the_pipelines_of_the_documentation_are_in_order(validator: Draft7Validator) -> None:
    checked = 0
    for block in (block for page in pages() for block in blocks(page)):
        if block.language != "yaml" or block.marks.keys() & {"fragment", "wrong"} or "stages:" not in block.text:
            continue
        try:
            load_text(block.text, environ={})
        except SpecError:
            continue  # it needs a plugin or an environment of its own
        assert (str(block), complaints(validator, block.text)) == (str(block), [])
        checked += 1
    assert checked > 5


@pytest.mark.parametrize("broken", CASES, ids=lambda broken: broken.name)
def test_what_is_wrong_is_wrong_to_the_schema_too(validator: Draft7Validator, broken: Any) -> None:
    try:
        document = read(broken.text, "p.yaml")
    except SpecError:
        return  # not even YAML
    if document.problems:
        return
    refused = bool(complaints(validator, broken.text))
    assert refused == (broken.name not in BEYOND_A_SCHEMA)


@pytest.mark.parametrize(("option", "written", "meant"), TRAPS, ids=lambda value: str(value)[:30])
def test_the_schema_is_never_stricter_than_the_reader(probe: None, option: str, written: str, meant: Any) -> None:
    text = f"stages:\n  p:\n    source: probe\n    with:\n      {option}: {written}\n  o: {{sink: console}}\n"
    if meant is not WRONG:
        assert complaints(schema(), text) == []


@pytest.mark.parametrize(
    "options",
    [
        "{unknown: 1}",
        "{whole: four}",
        "{whole: [1]}",
        "{truth: maybe}",
        "{port: 70000}",
        "{level: 3}",
        "{start: middle}",
        "{auth: {user: u}}",
        "{auth: {user: u, password: p, more: 1}}",
        "{more: [{user: u}]}",
        "{names: [a]}",
        "{wait: soon}",
    ],
)
def test_options_are_checked(probe: None, options: str) -> None:
    assert complaints(schema(), f"stages: {{p: {{source: probe, with: {options}}}, o: {{sink: console}}}}")


@pytest.mark.parametrize(
    "options",
    [
        "{whole: '${A}'}",
        "{truth: '${A:-no}'}",
        "{port: '${A}'}",
        "{level: '${A}'}",
        "{wait: '${A}'}",
        "{as: 5, new: 2}",
    ],
)
def test_what_is_filled_in_may_be_anything(probe: None, options: str) -> None:
    assert complaints(schema(), f"stages: {{p: {{source: probe, with: {options}}}, o: {{sink: console}}}}") == []


def test_a_broken_plugin_is_left_out_with_a_warning(site: Any) -> None:
    site.install("acme-etl", "1.2", {"acme": "acme_etl"}, {"acme_etl.py": "1 / 0"})
    warnings: list[str] = []
    assert complaints(schema(warnings), "stages: {p: {source: generate}, o: {sink: acme}}")
    assert warnings == ["plugin `acme` (acme-etl 1.2) cannot be imported: ZeroDivisionError: division by zero"]


ODD = """
    from typing import Any, Callable, Optional
    from etlcore import Component, Sink, hookimpl
    from pydantic import AliasChoices, AliasPath, BaseModel, Field, SecretStr, field_validator, model_validator

    class Part(BaseModel):
        size: int = Field(validation_alias=AliasChoices("large", "size"))

    class Config(BaseModel):
        n: int = 1
        items: list[str] = []
        call: Callable[[], Any] | None = None
        within: Optional["Config"] = None
        part: Part | None = None
        deep: str = Field("x", validation_alias=AliasPath("below", "it"))
        token: SecretStr = "hunter2"

        @field_validator("items", mode="before")
        @classmethod
        def parted(cls, value): return value.split(",") if isinstance(value, str) else value

    class Filled(BaseModel):
        a: int

        @model_validator(mode="before")
        @classmethod
        def fill(cls, value): return {"a": 1, **value}

    class Out(Sink):
        Config = Config
        def write(self, batch): pass

    class Other(Out):
        Config = Filled

    class Wrong(Out):
        class Config(BaseModel):
            a: int = Field(1, json_schema_extra={"odd": object()})

    @hookimpl
    def etl_components():
        print("noise")
        yield Component("odd", "sink", "odd_etl:Out")
        yield Component("odd.filled", "sink", "odd_etl:Other")
        yield Component("odd.wrong", "sink", "odd_etl:Wrong")
"""


@pytest.fixture
def odd(site: Any) -> list[str]:
    site.install("odd-etl", "1.0", {"odd": "odd_etl"}, {"odd_etl.py": ODD})
    return []


@pytest.mark.parametrize(
    ("sink", "options", "fits"),
    [
        ("odd", "{items: 'a,b'}", True),
        ("odd", "{items: [a]}", True),
        ("odd", "{within: {within: {n: 5}}}", True),
        ("odd", "{within: {within: {n: five}}}", False),
        ("odd", "{within: {m: 5}}", False),
        ("odd", "{part: {large: 5}}", True),
        ("odd", "{part: {size: 5}}", True),
        ("odd", "{part: {size: five}}", False),
        ("odd", "{below: {it: y}}", True),
        ("odd", "{deep: y}", False),
        ("odd", "{n: five}", False),
        ("odd", "", True),
        ("odd.filled", "{}", True),
        ("odd.filled", "{b: 1}", False),
    ],
)
def test_odd_models_are_checked_as_the_reader_does(odd: list[str], sink: str, options: str, fits: bool) -> None:
    text = f"stages: {{g: {{source: generate}}, o: {{sink: {sink}, with: {options}}}}}"
    assert (complaints(schema(odd), text) == []) == fits
    assert [said.partition(": ")[0] for said in odd] == ["the options of `odd.wrong` have no schema"]
    try:
        load_text(text)
    except SpecError:
        assert not fits


def test_a_secret_is_no_default_that_is_shown(odd: list[str]) -> None:
    assert "hunter2" not in json.dumps(schema(odd).schema)


def test_a_time_of_an_sls_source_is_in_order(validator: Draft7Validator) -> None:
    options = "{endpoint: e, project: p, logstore: l, consumer_group: c, start: '2024-01-02 03:04:05+08:00'}"
    assert complaints(validator, f"stages: {{l: {{source: sls, with: {options}}}, o: {{sink: console}}}}") == []


def test_the_command_writes_it(tmp_path: Path) -> None:
    shown = subprocess.run([ETL, "schema"], capture_output=True, text=True, check=True, timeout=120)
    written = subprocess.run(
        [ETL, "schema", "-o", "s.json"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    assert json.loads((tmp_path / "s.json").read_text("utf-8")) == json.loads(shown.stdout)
    assert written.stdout == ""
    assert written.stderr.startswith("s.json: ")
    about = json.loads(shown.stdout)["definitions"]["source generate"]["properties"]["rows"]
    assert about["description"].startswith("How many rows")
