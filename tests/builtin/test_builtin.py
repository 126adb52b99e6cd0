"""What all built-in stages have in common."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import etlcore
from etlcore import Component, Sink, Source, Transform
from etlcore.builtin import etl_components

KINDS: dict[str, Any] = {"source": Source, "transform": Transform, "sink": Sink}
COMPONENTS = list(etl_components())


def load(component: Component) -> Any:
    module, _, name = component.target.partition(":")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: f"{c.name}-{c.kind}")
def test_every_component_loads_and_explains_itself(component: Component) -> None:
    cls = load(component)
    assert issubclass(cls, KINDS[component.kind])
    assert 2 <= len(cls.__doc__.strip().splitlines()) <= 6
    assert component.summary
    for name, option in cls.Config.model_fields.items():
        assert option.description, f"{component.name}.{name} has no description"


@pytest.mark.parametrize(
    "component", [component for component in COMPONENTS if load(component).example], ids=lambda c: f"{c.name}-{c.kind}"
)
def test_the_examples_run(component: Component, tmp_path: Path) -> None:
    file = tmp_path / "example.yaml"
    file.write_text(inspect.cleandoc(load(component).example))
    ran = etlcore.run(file)
    assert ran.report.exit_code == 0
    assert ran.report.balance.delivered > 0


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: f"{c.name}-{c.kind}")
def test_unknown_options_are_refused(component: Component) -> None:
    with pytest.raises(ValidationError) as caught:
        load(component).Config.model_validate({"no_such_option": 1})
    assert "extra_forbidden" in {error["type"] for error in caught.value.errors()}


def test_the_plugin_itself_imports_nothing_heavy() -> None:
    code = (
        "import sys, etlcore.builtin as b; list(b.etl_components());"
        "print([m for m in ('pyarrow', 'pydantic', 'sqlite3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_state_store_needs_neither_pyarrow_nor_pydantic() -> None:
    code = "import sys, etlcore.state; print([m for m in ('pyarrow', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
