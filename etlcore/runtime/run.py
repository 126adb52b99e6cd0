"""A run: one pipeline at work, from opening its stages to the drain report.

`start` builds a channel in front of every stage but the sources and starts the workers: downstream opens before
upstream, so that nothing is read that nobody can take. `stop` closes the sources; the end of their channels then
travels down the graph, stage by stage, each behind its drain barrier. `abandon` ends what is left where it is.

Whoever owns the run calls these from one place (`etlcore.runtime.supervisor` does) and waits on `changed`.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etlcore.batch import Position, Row
from etlcore.components import TransactionalSink
from etlcore.runtime.channel import Abandoned, Channel
from etlcore.runtime.concurrency import THREADS, Primitives, Worker
from etlcore.runtime.context import Figures, StageLog, StageMetrics, WorkerContext
from etlcore.runtime.feed import feeds
from etlcore.runtime.graph import Graph
from etlcore.runtime.host import Failure, Output, StageHost
from etlcore.runtime.keys import route_by_key
from etlcore.runtime.ledger import Ledger
from etlcore.runtime.projection import columns_used
from etlcore.runtime.sink import SinkWorker
from etlcore.runtime.source import SourceWorker
from etlcore.runtime.transactional import TransactionalSinkWorker
from etlcore.runtime.transform import TransformWorker
from etlcore.runtime.worker import StageWorker
from etlcore.spec.model import Pipeline, Stage

if TYPE_CHECKING:
    from etlcore.state import StateStore

log = logging.getLogger("etlcore")

_DROPS_LOGGED = 10  # rows that a policy drops are told one by one up to here, for each stage; then only counted


@dataclass(frozen=True, slots=True)
class Event:
    """A stage came to a point of its lifecycle; see `etlcore.runtime.host.StageHost`."""

    at: float
    """Seconds since the run began."""
    stage: str
    what: str


class Run:
    """One run of a checked pipeline."""

    def __init__(
        self,
        pipeline: Pipeline,
        store: StateStore,
        *,
        primitives: Primitives = THREADS,
        changed: Callable[[], None] = lambda: None,
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self.pipeline = pipeline
        self.store = store
        self.primitives = primitives
        self.id = uuid.uuid4().hex[:12]
        self.graph = Graph(pipeline)
        self.ledger = Ledger(primitives)
        self.stopping = primitives.flag()
        self.figures = Figures(primitives.lock())
        self.failures: list[Failure] = []
        self.events: list[Event] = []
        self.reason: str | None = None
        """Why the run stopped; None while nobody told it to."""
        self.abandoned_because: str | None = None
        self.started = datetime.now(UTC)
        self.ended: datetime | None = None
        self.log = log
        self.buried = 0
        """Dead letters written."""
        self.dropped: dict[str, int] = {}
        """Rows that failed and were dropped by a stage's policy, for each stage."""
        self._began = primitives.now()
        self._changed = changed
        self._on_event = on_event
        self._lock = primitives.lock()
        self._pausing = primitives.flag()
        self._impatient = primitives.flag()
        self._attempts = 0
        self._columns = columns_used(self.graph)
        self.feeds = feeds(self.graph, primitives)
        """What transactional sinks share with their sources, by the name of either."""
        self.hosts: dict[str, StageHost] = {}
        self.workers: list[StageWorker] = []
        self._threads: dict[StageWorker, Worker] = {}
        self._build()

    # Building

    def _build(self) -> None:
        for node in self.graph:
            stage = node.stage
            channel = None if stage.kind == "source" else self._channel(stage)
            self.hosts[stage.name] = StageHost(self, stage, channel, self.primitives)
        for node in self.graph:
            host = self.hosts[node.stage.name]
            for port, names in node.targets.items():
                host.targets[port] = [self.hosts[name] for name in names]
            host.downstream = [self.hosts[name] for names in node.targets.values() for name in names]
            self.workers.extend(self._worker(host, number) for number in range(node.stage.workers))

    def _channel(self, stage: Stage) -> Channel:
        if stage.key is None:
            return Channel(stage.name, stage.queue, primitives=self.primitives)
        route = route_by_key(stage.key, stage.workers)
        return Channel(stage.name, stage.queue, lanes=stage.workers, route=route, primitives=self.primitives)

    def _worker(self, host: StageHost, number: int) -> StageWorker:
        stage = host.stage
        component: Any = make_component(stage)
        context = self._context(stage, number)
        component.config = stage.config
        component.context = context
        account = self.ledger.account(stage.name, buffers=getattr(component, "buffers", False))
        output = Output(account, host)
        if stage.kind == "source":
            worker = SourceWorker(host, component, context, account, output)
            context.forget_partition = worker.tracker.forget
            feed = self.feeds.get(stage.name)
            if feed is not None:
                feed.workers.append(worker)
                context.claim_partition = partial(feed.claim, worker)
            return worker
        assert host.channel is not None
        receiver = host.channel.receiver(number if stage.key is not None else 0)
        if isinstance(component, TransactionalSink):
            return TransactionalSinkWorker(host, component, context, account, receiver, self.feeds[stage.name])
        if stage.kind == "sink":
            return SinkWorker(host, component, context, account, receiver)
        return TransformWorker(host, component, context, account, receiver, output)

    def _context(self, stage: Stage, number: int) -> WorkerContext:
        positions = self.store.positions(self.pipeline.name, stage.name) if stage.kind == "source" else {}
        return WorkerContext(
            pipeline=self.pipeline.name,
            stage=stage.name,
            worker=number,
            workers=stage.workers,
            directory=self.pipeline.directory,
            state_directory=Path(self.store.directory),
            log=StageLog(logging.getLogger(f"etlcore.stage.{stage.name}"), {"stage": stage.name, "worker": number}),
            metrics=StageMetrics(self.figures, stage.name),
            stopping=self.stopping,
            positions=positions,
            columns=self._columns.get(stage.name),
        )

    # Steering

    def start(self) -> None:
        """Start every worker; returns at once."""
        for worker in reversed(self.workers):
            self._threads[worker] = self.primitives.start(f"etl {worker.name}", worker.live)

    def stop(self, reason: str) -> None:
        """Read nothing new and drain. The first reason is kept; a second call changes nothing."""
        with self._lock:
            if self.reason is None:
                self.reason = reason
        self.stopping.set()
        self._changed()

    def abandon(self, reason: str) -> None:
        """End here: what is neither delivered, filtered nor dead-lettered by now is left to be read again."""
        self.abandoned_because = self.abandoned_because or reason
        self.stopping.set()
        for host in self.hosts.values():
            host.abandon()
        self.ledger.freeze()
        for source in self.sources():
            source.tracker.freeze()
        self._pausing.set()
        self._impatient.set()

    def hurry(self) -> None:
        """A stop has little time left: wait for no further attempt."""
        self._impatient.set()

    def progress(self) -> int:
        """A number that changes as long as rows come to their end, or attempts at it are made."""
        return self.ledger.settled_rows() + self._attempts

    @property
    def done(self) -> bool:
        """Every worker has ended."""
        return all(worker.ended for worker in self.workers)

    def draining(self) -> bool:
        """The sources have nothing more to give, or were told to stop."""
        return self.stopping.is_set() or all(
            self.hosts[node.stage.name].state not in ("opening", "running") for node in self.graph if not node.sources
        )

    def join(self, timeout: float) -> bool:
        """Wait for the workers to end; True when all have."""
        until = self.primitives.now() + timeout
        for thread in self._threads.values():
            thread.join(max(0.0, until - self.primitives.now()))
        return self.done

    def stack(self, worker: StageWorker) -> list[str]:
        thread = self._threads.get(worker)
        return thread.stack() if thread is not None else []

    # Called by workers

    def event(self, stage: str, what: str) -> None:
        event = Event(self.elapsed(), stage, what)
        with self._lock:
            self.events.append(event)
        self._on_event(event)

    def failed(self, failure: Failure) -> None:
        with self._lock:
            self.failures.append(failure)
        log.debug("%s failed during %s", failure.stage, failure.during, exc_info=failure.error)
        self.stop(f"stage {failure.stage} failed")

    def only_this_is_left(self, worker: StageWorker, stages: Set[str]) -> bool:
        """No other worker of these stages could settle a row any more."""
        return all(other.ended for other in self.workers if other is not worker and other.host.name in stages)

    def check_abandoned(self) -> None:
        """Raises Abandoned once the run is."""
        if self.abandoned_because is not None:
            raise Abandoned

    def worker_ended(self) -> None:
        if self.nobody_left():
            for source in self.sources():
                source.tracker.nudge()
        self._changed()

    def nobody_left(self) -> bool:
        """No worker is left that could settle a row."""
        return all(worker.ended for worker in self.workers if not isinstance(worker, SourceWorker))

    def pause(self, seconds: float) -> None:
        """Sleep, but not beyond the moment the run is abandoned."""
        self._pausing.wait(seconds)

    def patience(self, seconds: float) -> bool:
        """Wait before another attempt; False, at once, when a stop has no time left for one."""
        return not self._impatient.wait(seconds)

    def attempted(self) -> None:
        """An attempt has failed and is made again: slow, but no standstill."""
        with self._lock:
            self._attempts += 1

    def drop(self, stage: str, reasons: Sequence[str]) -> None:
        """Rows failed, and the stage's policy is to drop them."""
        with self._lock:
            before = self.dropped.get(stage, 0)
            self.dropped[stage] = before + len(reasons)
        for number, reason in enumerate(reasons, before):
            if number < _DROPS_LOGGED:
                log.warning("%s dropped a row: %s", stage, reason)

    def bury(
        self,
        stage: str,
        rejected: Sequence[tuple[Row, str]],
        positions: Sequence[Position],
        trace: str | None = None,
    ) -> None:
        """Write dead letters; they are on disk when this returns."""
        from etlcore.state import DeadLetter

        now = datetime.now(UTC)
        origin = {position.partition: position.value for position in positions}
        self.store.add_dead_letters(
            [
                DeadLetter(
                    pipeline=self.pipeline.name,
                    stage=stage,
                    reason=reason,
                    row=row,
                    time=now,
                    run=self.id,
                    version=self.pipeline.version,
                    positions=origin,
                    traceback=trace,
                )
                for row, reason in rejected
            ]
        )
        with self._lock:
            self.buried += len(rejected)

    # Looking

    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self.primitives.now() - self._began

    def sources(self) -> list[SourceWorker]:
        return [worker for worker in self.workers if isinstance(worker, SourceWorker)]


def make_component(stage: Stage) -> Any:
    """An instance of the stage's component. Raises BrokenPlugin when there is none to be had."""
    try:
        return stage.cls()
    except Exception as error:
        from etlcore.plugins import BrokenPlugin

        reason = f"{type(error).__name__}: {error}"
        raise BrokenPlugin(
            f"stage `{stage.name}`: its {stage.kind} `{stage.component}` cannot be made: {reason}",
            "a component is made without arguments, and connects to nothing before open(): tell its authors",
        ) from error
