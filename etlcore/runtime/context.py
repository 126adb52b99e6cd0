"""What a component is given by the runtime: `etlcore.components.Context`, and the figures it keeps."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etlcore.batch import Batch, Row
from etlcore.runtime.concurrency import Flag, Lock


class Figures:
    """Gauges and counters of a whole run, by stage, name and labels."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._values: dict[tuple[str, str, tuple[tuple[str, str], ...]], float] = {}

    def set(self, stage: str, name: str, value: float, labels: Mapping[str, str]) -> None:
        with self._lock:
            self._values[stage, name, tuple(sorted(labels.items()))] = value

    def add(self, stage: str, name: str, value: float, labels: Mapping[str, str]) -> None:
        key = (stage, name, tuple(sorted(labels.items())))
        with self._lock:
            self._values[key] = self._values.get(key, 0) + value

    def drop(self, stage: str, labels: Mapping[str, str]) -> None:
        """Forget all figures of a stage that carry these labels: they speak of something that is no longer ours."""
        gone = set(labels.items())
        with self._lock:
            for key in [k for k in self._values if k[0] == stage and gone <= set(k[2])]:
                del self._values[key]

    def of(self, stage: str) -> list[dict[str, Any]]:
        """``{"name", "labels", "value"}`` for each figure of a stage."""
        with self._lock:
            return [
                {"name": name, "labels": dict(labels), "value": value}
                for (owner, name, labels), value in self._values.items()
                if owner == stage
            ]


@dataclass(slots=True)
class StageMetrics:
    """`etlcore.components.Metrics` for one stage."""

    figures: Figures
    stage: str

    def gauge(self, name: str, value: float, **labels: str) -> None:
        self.figures.set(self.stage, name, value, labels)

    def count(self, name: str, value: float = 1, **labels: str) -> None:
        self.figures.add(self.stage, name, value, labels)


class StageLog(logging.LoggerAdapter[logging.Logger]):
    """Adds the stage to every message."""

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        extra = dict(self.extra or {})
        kwargs["extra"] = {**extra, **(kwargs.get("extra") or {})}
        return f"{extra.get('stage')}: {msg}", kwargs


class MisusedContext(RuntimeError):
    """A component called a method of its context where it has no meaning."""


@dataclass(slots=True)
class WorkerContext:
    """One worker's `etlcore.components.Context`."""

    pipeline: str
    stage: str
    worker: int
    workers: int
    directory: Path
    state_directory: Path
    log: Any
    metrics: StageMetrics
    stopping: Flag
    positions: Mapping[str, Any]
    forget_partition: Callable[[str], None] | None = None
    claim_partition: Callable[[str], bool] | None = None
    columns: frozenset[str] | None = None
    may_reject: bool = False
    rejected: list[tuple[Row, str]] = field(default_factory=list)
    released: list[Batch] = field(default_factory=list)

    def reject(self, rows: Batch | Sequence[Row], reason: str | Sequence[str]) -> None:
        if not self.may_reject:
            raise MisusedContext("context.reject is for a source's read() and a transform's process() and flush() only")
        listed = rows.rows if isinstance(rows, Batch) else list(rows)
        reasons = [reason] * len(listed) if isinstance(reason, str) else list(reason)
        if len(reasons) != len(listed):
            raise ValueError(f"{len(listed)} rows were rejected with {len(reasons)} reasons")
        self.rejected.extend(zip(listed, reasons, strict=True))

    def release(self, *batches: Batch) -> None:
        self.released.extend(batches)

    def forget(self, partition: str) -> None:
        if self.forget_partition is None:
            raise MisusedContext("context.forget is for sources only")
        self.forget_partition(partition)
        self.metrics.figures.drop(self.stage, {"partition": partition})

    def claim(self, partition: str) -> bool:
        if self.forget_partition is None:
            raise MisusedContext("context.claim is for sources only")
        return self.claim_partition is None or self.claim_partition(partition)
