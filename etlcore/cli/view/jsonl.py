"""A run as JSON: every line on standard error is one object with ``time``, ``level`` and ``event``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from etlcore.cli.view.document import document, dumps
from etlcore.cli.view.figures import Meter
from etlcore.cli.view.lines import Lines
from etlcore.cli.view.logs import message, traceback_of
from etlcore.cli.view.secrets import Mask
from etlcore.cli.view.text import STATUS_EVERY
from etlcore.runtime.report import Report
from etlcore.runtime.run import Event, Run
from etlcore.runtime.status import Late
from etlcore.spec.model import Pipeline
from etlcore.spec.problems import SpecError


class JsonView:
    """Shows a run as JSON objects on `Lines`, with as much as `etlcore.cli.view.text.TextView` shows.

    The events: ``message`` (of etl's own), ``log``, ``problem`` (of the pipeline file), ``started``, ``status``,
    ``stage``, ``stopping``, ``late``, ``report``.
    """

    def __init__(self, lines: Lines, level: int, *, quiet: bool = False) -> None:
        self.lines = lines
        self.level = level
        self.quiet = quiet
        self.mask = Mask()
        self._meter = Meter(STATUS_EVERY)
        self._next_status = STATUS_EVERY
        self._asked = False

    # Outside of a run

    def know(self, pipeline: Pipeline) -> None:
        """From now on the pipeline's secrets are masked."""
        self.mask = Mask(pipeline)

    def say(self, text: str, level: int = logging.INFO) -> None:
        """A line of etl's own."""
        self._show("message", level, message=text)

    def problems(self, error: SpecError) -> None:
        """The pipeline file is wrong."""
        for problem in error.problems:
            place = asdict(problem.place) if problem.place else {"file": None, "line": None, "column": None}
            self._show("problem", logging.ERROR, message=problem.message, hint=problem.hint, **place)

    def record(self, record: logging.LogRecord) -> None:
        """A log message; called on any thread."""
        origin, text = message(record)
        facts: dict[str, Any] = {"logger": record.name, "message": text}
        if origin != record.name:
            facts |= {"stage": origin, "worker": getattr(record, "worker", None)}
        trace = traceback_of(record)
        if trace:
            facts["traceback"] = trace
        self._show("log", record.levelno, datetime.fromtimestamp(record.created, UTC), **facts)

    # During a run

    @contextmanager
    def showing(self, run: Run) -> Iterator[None]:
        """The run is under way while the block runs."""
        stages = [{"name": s.name, "kind": s.kind, "component": s.component} for s in run.pipeline.stages]
        state = str(run.store.directory)
        self._show("started", logging.INFO, pipeline=run.pipeline.name, run=run.id, stages=stages, state=state)
        yield

    def event(self, run: Run, event: Event) -> None:
        """A stage came to a point of its lifecycle; called on the threads of workers."""
        level = logging.WARNING if event.what == "failed" else logging.INFO
        self._show("stage", level, elapsed=round(event.at, 3), stage=event.stage, what=event.what)

    def tick(self, run: Run) -> None:
        if run.elapsed() < self._next_status or run.done:
            return
        self._next_status = run.elapsed() + STATUS_EVERY
        moment = self._meter.look(run)
        stages = [asdict(stage) | {"rows_per_second": round(moment.rates[stage.name], 3)} for stage in moment.stages]
        facts: dict[str, Any] = {"elapsed": round(moment.elapsed, 3), "draining": moment.draining, "stages": stages}
        self._show("status", logging.INFO, **facts)

    def stopping(self, run: Run, timeout: float | None) -> None:
        self._asked = timeout is not None
        reason = run.reason or "end of input"
        self._show("stopping", logging.INFO, elapsed=round(run.elapsed(), 3), reason=reason, timeout=timeout)

    def late(self, run: Run, late: Late, left: float) -> None:
        level = logging.WARNING if self._asked else logging.INFO
        self._show("late", level, elapsed=round(run.elapsed(), 3), left=round(left, 3), **asdict(late))

    def abandoning(self, run: Run) -> None:
        because = run.abandoned_because
        self._show("abandoning", logging.WARNING, elapsed=round(run.elapsed(), 3), because=because)

    # After it

    def report(self, report: Report, pipeline: Pipeline, state_file: str) -> None:
        """The drain report: one object, as ``--report`` writes it."""
        level = logging.ERROR if report.exit_code else logging.INFO
        self._show("report", level, state=state_file, **document(report, self.mask))

    def _show(self, event: str, level: int, moment: datetime | None = None, **facts: Any) -> None:
        if self.quiet and level < logging.WARNING:
            return
        stamp = (moment or datetime.now(UTC)).isoformat(timespec="milliseconds")
        head = {"time": stamp, "level": logging.getLevelName(level).lower(), "event": event}
        self.lines.line(dumps(head | self.mask.data(facts)))
