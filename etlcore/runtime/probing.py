"""Whether the sources and sinks of a pipeline can be opened, without running it."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etlcore.runtime.concurrency import THREADS
from etlcore.runtime.context import Figures, StageLog, StageMetrics, WorkerContext
from etlcore.runtime.run import make_component
from etlcore.spec.model import Pipeline, Stage


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of probing one stage."""

    stage: str
    kind: str
    component: str
    error: str | None
    """Why it cannot be opened; None where it can."""
    seconds: float


def probe(pipeline: Pipeline, *, timeout: float = 30.0) -> list[Probed]:
    """Probe every source and sink, side by side (see `etlcore.components.Source.probe`); in the order of the file.

    One that has not answered after ``timeout`` seconds counts as failed. What state a component keeps goes to a
    directory that is gone afterwards.
    """
    stages = [stage for stage in pipeline.stages if stage.kind != "transform"]
    stopping = THREADS.flag()
    with tempfile.TemporaryDirectory(prefix="etl-probe-", ignore_cleanup_errors=True) as directory:
        probes = [_Probe(_opener(pipeline, stage, Path(directory), stopping)) for stage in stages]
        deadline = time.monotonic() + timeout
        for one in probes:
            one.thread.join(max(0.0, deadline - time.monotonic()))
        stopping.set()
        return [
            Probed(
                stage=stage.name,
                kind=stage.kind,
                component=stage.component,
                error=one.error if one.ended else f"no answer in {timeout:g} s",
                seconds=one.seconds if one.ended else timeout,
            )
            for stage, one in zip(stages, probes, strict=True)
        ]


class _Probe:
    """One component on a thread of its own: it may hang."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.error: str | None = None
        self.ended = False
        self.seconds = 0.0
        self._call = call
        self.thread = threading.Thread(target=self._run, name="etl probing", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        began = time.monotonic()
        try:
            self._call()
        except Exception as error:  # noqa: BLE001 - whatever open would raise is the answer
            self.error = f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
        self.seconds = time.monotonic() - began
        self.ended = True


def _opener(pipeline: Pipeline, stage: Stage, directory: Path, stopping: Any) -> Callable[[], None]:
    component: Any = make_component(stage)
    component.config = stage.config
    component.context = WorkerContext(
        pipeline=pipeline.name,
        stage=stage.name,
        worker=0,
        workers=stage.workers,
        directory=pipeline.directory,
        state_directory=directory,
        log=StageLog(logging.getLogger(f"etlcore.stage.{stage.name}"), {"stage": stage.name, "worker": 0}),
        metrics=StageMetrics(Figures(THREADS.lock()), stage.name),
        stopping=stopping,
        positions={},
    )

    def call() -> None:
        try:
            component.probe()
        finally:
            with suppress(Exception):  # what matters is whether it opens
                component.close()

    return call
