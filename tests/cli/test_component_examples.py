"""Every component of ours has an example, and every example runs as it stands."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from etlcore.plugins import Component, Plugins
from etlcore.spec.document import read
from etlcore.spec.schema import json_schema

ETL = str(Path(sys.executable).with_name("etl"))
OURS = ("etlcore ", "etlcore-")
PLUGINS = Plugins()


def components() -> Iterator[Component]:
    for component, by in PLUGINS.components(lambda message: None):
        if by.startswith(OURS):
            yield component


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all: they share what `endpoint: emulator` keeps."""
    return tmp_path_factory.mktemp("examples")


@pytest.mark.parametrize("component", list(components()), ids=lambda it: f"{it.kind}-{it.name}")
def test_its_example_runs_as_it_stands(directory: Path, component: Component) -> None:
    text = cleandoc(PLUGINS.load(component).example)
    assert f"{component.kind}: {component.name}" in text
    file = directory / f"{component.kind}_{component.name}.yaml"
    file.write_text(text + "\n", encoding="utf-8")
    done = subprocess.run(
        [ETL, "run", "--quiet", file.name],
        cwd=directory,
        env={name: value for name, value in os.environ.items() if not name.startswith(("ETL_", "SLS_", "ALIBABA_"))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    if "sink: console" in text:
        assert done.stdout.startswith("{"), "it shows something"


def test_they_are_in_order_to_editors_too() -> None:
    validator = Draft7Validator(json_schema(PLUGINS, [].append))
    for component in components():
        value = read(cleandoc(PLUGINS.load(component).example), "p.yaml").value
        assert [error.message for error in validator.iter_errors(value)] == []
