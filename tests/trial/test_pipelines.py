"""The tests in the files of `pipelines/` pass, and notice when a stage is not what it was."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest

from etlcore.cli import main
from etlcore.plugins import Plugins
from etlcore.spec import SpecError, load, load_text
from etlcore.spec.document import read
from etlcore.trial import coverage, run_tests

ROOT = Path(__file__).parents[2]
FILES = [file for file in sorted((ROOT / "pipelines").glob("*.yaml")) if load(file, tests=True).tests]
EVERYTHING = {"transform": "filter", "with": {"where": "`no such column` is null"}}
"""A stage that does nothing."""


@dataclass(frozen=True)
class Mutant:
    """A pipeline file that is wrong in one place."""

    name: str
    text: str


def mutants(file: Path) -> Iterator[Mutant]:
    """The pipeline with each of its transforms undone, and with each option of it changed."""
    content = read(file.read_text(encoding="utf-8"), str(file)).value
    for name, stage in content["stages"].items():
        if "transform" not in stage:
            continue
        yield mutant(content, name, EVERYTHING, "does nothing")
        fields: dict[str, Any] = Plugins().load(Plugins().resolve(stage["transform"], "transform")).Config.model_fields
        given = stage.get("with", {})
        for option, field in fields.items():
            for changed in others(given.get(option, field.get_default(call_default_factory=True)), field.annotation):
                changes = {**stage, "with": {**given, option: changed}}
                yield mutant(content, name, changes, f"{option}: {json.dumps(changed)}")


def mutant(content: dict[str, Any], name: str, stage: dict[str, Any], how: str) -> Mutant:
    made = copy.deepcopy(content)
    kept = {key: value for key, value in made["stages"][name].items() if key not in ("transform", "with")}
    made["stages"][name] = {**kept, **{key: stage[key] for key in ("transform", "with") if key in stage}}
    return Mutant(f"{name}: {how}", json.dumps(made))


def others(value: Any, annotation: Any) -> Iterator[Any]:
    """Other values that an option may have."""
    choices = [choice for choice in get_args(annotation) if isinstance(choice, str)]
    if choices:
        yield from (choice for choice in choices if choice != value)
    elif isinstance(value, dict):
        for key in value:
            yield {other: item for other, item in value.items() if other != key}
            yield {(f"{other}_" if other == key else other): item for other, item in value.items()}
            yield {**value, key: next(others(value[key], None))}
    elif isinstance(value, list):
        yield [*value, "another"]
        yield from (value[:index] + value[index + 1 :] for index in range(len(value)))
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield value + 1
    elif isinstance(value, str):
        yield f"{value}_"
        yield None


def is_pipeline(text: str) -> bool:
    try:
        load_text(text)
    except SpecError:
        return False
    return True


MUTANTS = [(file, mutant) for file in FILES for mutant in mutants(file) if is_pipeline(mutant.text)]


def test_there_are_some() -> None:
    assert "sls_uri.yaml" in [file.name for file in FILES]
    assert len(MUTANTS) > 10


def test_they_pass_as_they_stand() -> None:
    command = [Path(sys.executable).with_name("etl"), "test", "--coverage", *FILES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_they_reach_every_stage_and_output(file: Path) -> None:
    pipeline = load(file, tests=True)
    found = coverage(pipeline, run_tests(pipeline))
    assert {str(part.at): part.gaps for part in found.parts if part.gaps} == {}


@pytest.mark.parametrize(("file", "mutant"), MUTANTS, ids=lambda value: getattr(value, "name", ""))
def test_a_mutated_stage_makes_them_fail(file: Path, mutant: Mutant, tmp_path: Path) -> None:
    target = tmp_path / file.name
    target.write_text(mutant.text, encoding="utf-8")
    results = run_tests(load(target, tests=True))
    assert [result for result in results if not result.passed]
    assert [result.errors for result in results if result.errors] == [], "it runs, and gives other rows"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_stage_that_is_gone_makes_them_fail(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = read(file.read_text(encoding="utf-8"), str(file)).value
    for name in [name for name, stage in content["stages"].items() if "transform" in stage]:
        made = copy.deepcopy(content)
        del made["stages"][name]
        target = tmp_path / file.name
        target.write_text(json.dumps(made), encoding="utf-8")
        code = main(["test", str(target)])
        out, err = capsys.readouterr()
        assert (code == 1 and "FAILED" in out) or (code == 2 and f"there is no stage `{name}`" in err), name
