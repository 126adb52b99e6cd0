"""A checked pipeline is run to its drain report; what happens on the way is told to a view and to the plugins."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Literal, Protocol

from etlcore.runtime import history
from etlcore.runtime.report import Report, stage_row
from etlcore.runtime.run import Event, Run
from etlcore.runtime.status import Late
from etlcore.runtime.supervisor import CHANGED, Watcher, supervise
from etlcore.state import StateError

if TYPE_CHECKING:
    from etlcore.plugins import Plugins
    from etlcore.spec.model import Pipeline
    from etlcore.state import RunLock, RunRecord, StateStore

log = logging.getLogger("etlcore")


class Audience(Watcher, Protocol):
    """A watcher that is also told when a run begins and ends, and of every stage's lifecycle."""

    def showing(self, run: Run) -> AbstractContextManager[None]:
        """The run is under way while the block runs."""

    def event(self, run: Run, event: Event) -> None:
        """A stage came to a point of its lifecycle; called on the threads of workers."""


def execute(
    pipeline: Pipeline,
    store: StateStore,
    audience: Audience,
    *,
    plugins: Plugins | None = None,
    commands: SimpleQueue[str] | None = None,
    lock: RunLock | None = None,
    kind: Literal["run", "replay"] = "run",
) -> Report:
    """Run the pipeline to its end and return the drain report.

    ``commands`` brings names of stop signals (see `etlcore.runtime.signals`); ``plugins`` are told of drained stages;
    ``lock`` is told the run's id. Raises StateError when the state file cannot be read and written.
    """
    queue: SimpleQueue[str] = SimpleQueue() if commands is None else commands
    safe = _Safe(audience)

    def on_event(event: Event) -> None:
        safe.event(run, event)
        if plugins is not None and _past_barrier(run, event):
            plugins.stage_drained(pipeline.name, event.stage, stage_counts(run, event.stage))

    run = Run(pipeline, store, changed=lambda: queue.put(CHANGED), on_event=on_event)
    record = history.begun(run, kind)
    store.save_run(record)
    if lock is not None:
        lock.note_run(run.id)
    with audience.showing(run):
        try:
            report = supervise(run, queue, safe)
        except BaseException as error:  # SystemExit of a watcher, say: nobody is there any more to see the run through
            run.abandon(f"{type(error).__name__} in front of the run")
            raise
    _keep(store, history.ended(record, report))
    return report


def _keep(store: StateStore, record: RunRecord) -> None:
    """How the run ended, for the history: that it cannot be kept changes nothing for the rows."""
    try:
        store.save_run(record)
    except StateError as error:
        log.warning("the history will not show how this run ended: %s", error)


def _past_barrier(run: Run, event: Event) -> bool:
    """The stage's workers have met, and what they had to flush is handed over; a sink has nothing to hand over."""
    kind = run.hosts[event.stage].stage.kind
    return event.what == ("drained" if kind == "sink" else "output closed")


def stage_counts(run: Run, stage: str) -> dict[str, int]:
    """A stage's line of the drain report as it stands now: rows in and out, filtered, added, dead and abandoned."""
    node = next(node for node in run.graph if node.stage.name == stage)
    row = stage_row(run, node)
    names = ("workers", "rows_in", "rows_out", "filtered", "added", "dead", "abandoned")
    return {name: getattr(row, name) for name in names}


class _Safe:
    """Passes everything on to an audience; one that fails is told nothing more, and the run goes on."""

    def __init__(self, audience: Audience) -> None:
        self._audience = audience
        self._failed = False

    def tick(self, run: Run) -> None:
        self._call(lambda: self._audience.tick(run))

    def stopping(self, run: Run, timeout: float | None) -> None:
        self._call(lambda: self._audience.stopping(run, timeout))

    def late(self, run: Run, late: Late, left: float) -> None:
        self._call(lambda: self._audience.late(run, late, left))

    def abandoning(self, run: Run) -> None:
        self._call(lambda: self._audience.abandoning(run))

    def event(self, run: Run, event: Event) -> None:
        self._call(lambda: self._audience.event(run, event))

    def _call(self, tell: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            tell()
        except Exception as error:  # data matters more than its picture
            self._failed = True
            log.warning("the run can no longer be shown, and goes on: %s: %s", type(error).__name__, error)
            log.debug("its traceback:", exc_info=error)
