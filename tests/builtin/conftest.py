"""A component on its own: given a context, opened and closed as a worker does it."""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from etlcore import Batch
from etlcore.builtin import etl_components


class CountingMetrics:
    """Keeps the figures that a component reports."""

    def __init__(self) -> None:
        self.counts: dict[str, float] = {}
        self.gauges: dict[str, float] = {}

    def gauge(self, name: str, value: float, **labels: str) -> None:
        self.gauges[name] = value

    def count(self, name: str, value: float = 1, **labels: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + value


@dataclass
class LoneContext:
    """An `etlcore.Context` for one component without a run around it."""

    directory: Path
    pipeline: str = "trial"
    stage: str = "stage"
    worker: int = 0
    workers: int = 1
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("etlcore.trial"))
    metrics: CountingMetrics = field(default_factory=CountingMetrics)
    stopping: threading.Event = field(default_factory=threading.Event)
    positions: Mapping[str, Any] = field(default_factory=dict)
    rejected: list[tuple[dict[str, Any], str]] = field(default_factory=list)

    @property
    def state_directory(self) -> Path:
        return self.directory / ".etl"

    def reject(self, rows: Batch | Sequence[dict[str, Any]], reason: str | Sequence[str]) -> None:
        listed = rows.rows if isinstance(rows, Batch) else list(rows)
        reasons = [reason] * len(listed) if isinstance(reason, str) else list(reason)
        self.rejected.extend(zip(listed, reasons, strict=True))

    def release(self, *batches: Batch) -> None: ...

    def forget(self, partition: str) -> None: ...


def component_class(name: str, kind: str) -> Any:
    """The class that the built-in plugin offers under a name."""
    (target,) = [c.target for c in etl_components() if (c.name, c.kind) == (name, kind)]
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


@contextmanager
def opened(context: LoneContext, kind: str, name: str, **options: Any) -> Iterator[Any]:
    """A component with its options checked and `open` called; closed at the end, whatever happens."""
    cls = component_class(name, kind)
    component = cls()
    component.config = cls.Config.model_validate(options, context={"directory": context.directory})
    component.context = context
    try:
        component.open(context)
        yield component
    finally:
        component.close()


Use = Callable[..., Any]


@pytest.fixture
def context(tmp_path: Path) -> LoneContext:
    """What a component is given; change it before opening one."""
    return LoneContext(directory=tmp_path)


@pytest.fixture
def new_context(tmp_path: Path) -> Callable[..., LoneContext]:
    """More contexts of the same directory: ``new_context(worker=1, workers=2)``."""
    return lambda **about: LoneContext(directory=tmp_path, **about)


@pytest.fixture
def use(context: LoneContext) -> Iterator[Use]:
    """Open a component: ``use("sink", "console")``; it is closed at the end of the test."""
    with ExitStack() as stack:

        def start(kind: str, name: str, *, context: LoneContext = context, **options: Any) -> Any:
            return stack.enter_context(opened(context, kind, name, **options))

        yield start
