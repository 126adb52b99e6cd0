"""One run of a `Plan` under the scheduler, watched from outside, and the oracle that says whether it was right.

The runtime's own supervisor drives the run; the oracle knows what every row must become (`Plan.outcome`), what the
components saw, and what was committed. It never looks into the runtime to find out whether the runtime is right.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from queue import Empty
from typing import Any

from etlcore.runtime.concurrency import Flag
from etlcore.runtime.report import EXIT_ABANDONED, EXIT_DRAINED, EXIT_STOPPED, Report
from etlcore.runtime.run import Run
from etlcore.runtime.supervisor import CHANGED, supervise
from etlcore.state import StateStore
from tests.runtime.scheduling import Scheduler, scheduled
from tests.runtime.stages import Do, Key, Plan, Row, key_of

LIFECYCLE = ("opened", "input closed", "drained", "flushed", "output closed", "closed")


class Commands:
    """The supervisor's queue, on the scheduler: what `queue.SimpleQueue` is to threads."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._changed = scheduler.condition()
        self._waiting: list[str] = []

    def put(self, command: str) -> None:
        with self._changed:
            self._waiting.append(command)
            self._changed.notify_all()

    def get(self, timeout: float) -> str:
        with self._changed:
            if not self._waiting:
                self._changed.wait(timeout)
            if not self._waiting:
                raise Empty
            return self._waiting.pop(0)


class _Bounds:
    """A watcher who looks whether every channel keeps within its bounds."""

    def tick(self, run: Run) -> None:
        for host in run.hosts.values():
            if host.channel is not None:
                seen = host.channel.statistics()
                assert seen.rows <= seen.max_rows, f"{host.name} has {seen.rows} rows in a queue of {seen.max_rows}"

    def stopping(self, run: Run, timeout: float | None) -> None: ...
    def late(self, run: Run, late: object, left: float) -> None: ...
    def abandoning(self, run: Run) -> None: ...


class Lab:
    """What was seen of one run. `go` runs it; `check` is the oracle."""

    def __init__(
        self, plan: Plan, scheduler: Scheduler, store: StateStore, name: str, before: Lab | None = None
    ) -> None:
        """``before``: the run whose positions this one starts from, once nothing is broken any more."""
        self.plan = plan
        self.scheduler = scheduler
        self.store = store
        self.name = name
        self.first: dict[str, int] = {}
        """Where the source began in each partition."""
        self.given: dict[str, int] = {}
        """How far it has read."""
        self.committed: dict[str, int] = {} if before is None else dict(before.committed)
        self.kept_with_rows: dict[str, Any] = {} if before is None else dict(before.kept_with_rows)
        """The positions that a transactional sink keeps."""
        self.earlier: Counter[tuple[str, Key]] = Counter() if before is None else before.ended()
        """How rows ended in the runs before."""
        self.earlier_buried: Counter[tuple[str, Key]] = Counter() if before is None else before.buried_ever()
        """The dead letters among them."""
        self.delivered: dict[str, list[Key]] = defaultdict(list)
        self.worked: dict[str, list[tuple[int, Row]]] = defaultdict(list)
        """What each stage worked on without failing, in order, with the worker that had it."""
        self.broke = False
        self.healed = before is not None
        """No stage fails any more."""
        self.log: list[tuple[str, str, int]] = []
        self.calls = 0
        """Of components, so far."""
        self.faults: list[str] = []
        """Promises that were broken while the run was under way."""
        self.gate: Flag | None = None
        """What the source waits for before it reads anything."""
        self._commits_to_fail = plan.failing_commits
        self.run: Run | None = None

    # Told by the components

    def _demand(self, holds: bool, fault: str) -> None:
        """Remember a fault, and raise: whoever called may take it for a failure of the component."""
        if not holds:
            self.faults.append(fault)
            raise AssertionError(fault)

    def idle(self) -> bool:
        """All that an endless source has to give is read, and somebody must stop it."""
        read = sum(self.given.values()) == self.plan.rows * self.plan.partitions
        return read and self.plan.endless

    def start(self, partition: str, positions: Mapping[str, Any]) -> int:
        """Where the source begins to read a partition."""
        at = self.committed.get(partition, 0)
        if any(do.transactional for do in self.plan.stages):
            at = positions.get(partition, 0)
        self.first[partition] = self.given[partition] = at
        return at

    def opening(self, do: Do, worker: int) -> None:
        self.log.append((do.name, "opening", worker))
        for other in self.plan.stages:
            if do.name in inputs_of(other):
                done = sum(1 for name, what, _ in self.log if (name, what) == (other.name, "opened"))
                self._demand(done == other.workers, f"{do.name} is opened before {other.name} behind it")

    def opened(self, do: Do, worker: int) -> None:
        self.log.append((do.name, "opened", worker))

    def working(self, do: Do, worker: int) -> None:
        self._alive(do, worker)
        flushed = any((name, what) == (do.name, "flushed") for name, what, _ in self.log)
        self._demand(not flushed, f"{do.name} gets rows after a flush")

    def did(self, do: Do, worker: int, rows: list[Row]) -> None:
        self.worked[do.name].extend((worker, row) for row in rows)

    def flushed(self, do: Do, worker: int) -> None:
        self._alive(do, worker)
        self._demand((do.name, "flushed", worker) not in self.log, f"{do.name} is flushed twice")
        self.log.append((do.name, "flushed", worker))
        self.scheduler.note((do.name, "flush", worker))

    def closed(self, do: Do, worker: int) -> None:
        self._demand((do.name, "closed", worker) not in self.log, f"{do.name} is closed twice")
        self.log.append((do.name, "closed", worker))

    def wrote(self, do: Do, rows: list[Row]) -> None:
        self.delivered[do.name].extend(key_of(row) for row in rows)

    def transacted(self, do: Do, rows: list[Row], positions: Mapping[str, Any]) -> None:
        """Rows and positions in one transaction: after it, exactly what is before the positions is in the sink."""
        self.wrote(do, rows)
        self.kept_with_rows.update(positions)
        source = next(other for other in self.plan.stages if other.kind == "source").name
        expected: Counter[tuple[str, Key]] = Counter()
        for key, position in self.kept_with_rows.items():
            for number in range(position):
                expected += self.plan.outcome(self.plan.row(key.removeprefix(f"{source}/"), number))
        mine = Counter({end: times for end, times in self.ended().items() if end[0] == do.name})
        wanted = Counter({end: times for end, times in expected.items() if end[0] == do.name})
        # A bad row is on disk before the transaction; if that never came, it is read, and buried, once more.
        lost = Counter({end: times for end, times in self.buried_ever().items() if end[0] == do.name})
        self._demand(mine - lost == wanted - lost, f"{do.name}: its rows are not those before {self.kept_with_rows}")

    def commits(self, worker: int, positions: Mapping[str, Any]) -> None:
        source = next(do for do in self.plan.stages if do.kind == "source")
        self._alive(source, worker)
        if self._commits_to_fail:
            self._commits_to_fail -= 1
            raise ConnectionError("not now")
        for partition, position in positions.items():
            self._demand(position >= self.committed.get(partition, 0), f"the commit of {partition} went backwards")
            self._all_ended(partition, position)
            self.committed[partition] = position

    def _alive(self, do: Do, worker: int) -> None:
        self._demand((do.name, "opened", worker) in self.log, f"{do.name} works before it is open")
        self._demand((do.name, "closed", worker) not in self.log, f"{do.name} works after it is closed")

    def _all_ended(self, partition: str, before: int) -> None:
        """Every row before a committed position has come to its end in every branch, at this very moment."""
        ended = self.ended()
        for number in range(before):
            for end, times in self.plan.outcome(self.plan.row(partition, number)).items():
                fault = f"{partition} is committed at {before}, but {number} has not come to {end}"
                self._demand(ended[end] >= times, fault)

    def ended(self) -> Counter[tuple[str, Key]]:
        """How rows ended: in sinks and in dead letters, by stage; in the runs before too."""
        return self.earlier + self.ended_now()

    def ended_now(self) -> Counter[tuple[str, Key]]:
        """How rows ended in this run alone."""
        return Counter((sink, key) for sink, keys in self.delivered.items() for key in keys) + self.buried()

    def buried_ever(self) -> Counter[tuple[str, Key]]:
        """The dead letters of this run and of those before."""
        return self.earlier_buried + self.buried()

    def buried(self) -> Counter[tuple[str, Key]]:
        """The dead letters of this run that are on disk."""
        if not self.plan.sour and not any(do.reject or do.bad for do in self.plan.stages):
            return Counter()
        run = self.run.id if self.run is not None else ""
        letters = [letter for letter in self.store.dead_letters(self.name) if letter.run == run]
        return Counter((letter.stage, key_of(letter.row)) for letter in letters)

    # Running

    def go(self, operator: Callable[[Commands], None] = lambda commands: None) -> Report:
        """Run to the end of the report. ``operator`` runs beside it and sends signals."""
        reports: list[Report] = []

        def main() -> None:
            commands = Commands(self.scheduler)
            self.run = Run(
                self.plan.pipeline(self.name, self.store.directory, self),
                self.store,
                primitives=self.scheduler,
                changed=lambda: commands.put(CHANGED),
                on_event=self.scheduler.note,
            )
            self.scheduler.start("operator", lambda: operator(commands))
            reports.append(supervise(self.run, commands, _Bounds()))  # type: ignore[arg-type]

        self.scheduler.run(main)
        return reports[0]

    # The oracle

    def check(self, report: Report, *, abandoned: bool = False) -> None:
        """Raises AssertionError where the run did not keep its promises. ``abandoned``: somebody asked for that."""
        assert self.faults == []
        assert report.balance.faults == []
        assert abandoned or report.abandoned_because is None, f"{report.abandoned_because}\n{report.stuck}"
        failures = [failure for failure in report.failures if not (abandoned and "not now" in failure.error)]
        assert self.broke == bool(failures), report.failures
        for failure in failures:
            assert "Broken" in failure.error, failure.traceback
        self._check_rows(report)
        self._check_order(report)
        check_events(self.plan, report.events)
        if report.failures:
            assert report.exit_code == EXIT_STOPPED
        elif report.abandoned_because is None:
            assert report.exit_code == EXIT_DRAINED
            self._check_complete(report)
        else:
            assert report.exit_code in (EXIT_ABANDONED, EXIT_DRAINED)

    def _expected(self, ends: Mapping[str, int]) -> Counter[tuple[str, Key]]:
        """What becomes of the rows from where this run began up to the ends."""
        expected: Counter[tuple[str, Key]] = Counter()
        for partition, end in ends.items():
            for number in range(self.first.get(partition, end), end):
                expected += self.plan.outcome(self.plan.row(partition, number))
        return expected

    def _check_rows(self, report: Report) -> None:
        expected, ended = self._expected(self.given), self.ended_now()
        assert ended <= expected, f"never to be expected: {ended - expected}"
        for partition, end in self.committed.items():
            self._all_ended(partition, end)
        delivered = sum(len(keys) for keys in self.delivered.values())
        stopped_short = report.abandoned_because is not None
        assert report.balance.delivered == delivered or (stopped_short and report.balance.delivered < delivered)
        assert report.dead_letters == sum(self.buried().values())

    def _check_complete(self, report: Report) -> None:
        """Drained: everything that was read has come to its end, and is committed."""
        ended, expected = self.ended_now(), self._expected(self.committed)
        # What the source rejected before a batch that a stop handed back is rejected again by the next run.
        assert ended >= expected
        assert {end[1][2] for end in ended - expected} <= {"sour"}, f"not committed: {ended - expected}"
        assert report.balance.abandoned == 0
        sour = sum(times for (_, key), times in ended.items() if key[2] == "sour")
        assert report.balance.read == sum(end - self.first.get(p, end) for p, end in self.committed.items()) + sour
        assert all(entry.complete for entry in report.committed)
        if report.reason == "end of input":
            read = {partition: end for partition, end in self.given.items() if end > self.first[partition]}
            assert self.committed.items() >= read.items()
        for do in self.plan.stages:
            for worker in range(do.workers):
                assert (do.name, "closed", worker) in self.log
                if do.kind == "transform" and not do.by_row:
                    assert (do.name, "flushed", worker) in self.log, f"{do.name} was not flushed"

    def check_whole(self) -> None:
        """After a last run that came to the end of its input: over all runs, no row is missing."""
        everything: Counter[tuple[str, Key]] = Counter()
        for partition in range(self.plan.partitions):
            for number in range(self.plan.rows):
                everything += self.plan.outcome(self.plan.row(f"p{partition}", number))
        assert self.ended() >= everything, f"missing: {everything - self.ended()}"
        for do in self.plan.stages:
            if do.transactional:
                twice = [end for end, times in (self.ended() - everything).items() if end[0] == do.name]
                assert not twice or do.bad, f"more than once: {twice}"

    def _check_order(self, report: Report) -> None:
        for do in self.plan.stages:
            if do.key is not None:
                homes: dict[Any, int] = {}
                for worker, row in self.worked[do.name]:
                    assert homes.setdefault(row[do.key], worker) == worker, f"{do.name}: one key at two workers"
            repeats = do.by_row and do.bad  # the rows before a bad one, in every attempt
            if (do.key is not None or do.workers == 1) and self._fed_in_order(do) and not repeats:
                self._rising(do)

    def _rising(self, do: Do) -> None:
        last: dict[Any, tuple[int, str]] = {}
        for _, row in self.worked[do.name]:
            group = (row["p"], row[do.key] if do.key is not None else None)
            assert last.get(group, (-1, "")) < (row["n"], row["c"]), f"{do.name}: {row} comes after {last[group]}"
            last[group] = (row["n"], row["c"])

    def _fed_in_order(self, do: Do) -> bool:
        """Rows come to the stage in the order of their partition: through single or ordered workers, on one way."""
        if do.kind == "source" or len(do.inputs) != 1:
            return False
        before = next(other for other in self.plan.stages if other.name in inputs_of(do))
        if before.kind == "source":
            return True
        alone = before.workers == 1 or (before.ordered and not before.buffers and before.key is None)
        return alone and self._fed_in_order(before)


def inputs_of(do: Do) -> set[str]:
    """The stages that a stage reads from, whichever of their outputs."""
    return {name.partition(".")[0] for name in do.inputs}


def check_events(plan: Plan, events: list[dict[str, Any]]) -> None:
    """The events of the stages came in the order of their lifecycle, and of the graph."""
    once = [(event["stage"], event["event"]) for event in events if event["event"] not in ("paused", "resumed")]
    place = {event: index for index, event in enumerate(once)}
    assert len(place) == len(once), "an event was told twice"

    def before(first: tuple[str, str], second: tuple[str, str]) -> None:
        if first in place and second in place:
            assert place[first] < place[second], f"{second} was told before {first}"

    for do in plan.stages:
        for first, second in pairwise(LIFECYCLE):
            before((do.name, first), (do.name, second))
        before((do.name, "drained"), (do.name, "output closed"))
        before((do.name, "drained"), (do.name, "closed"))
        for upstream in inputs_of(do):
            before((do.name, "opened"), (upstream, "opened"))
            for point in ("input closed", "drained"):
                before((upstream, "output closed"), (do.name, point))
                broke_off = {(upstream, "failed"), (upstream, "gave up")} & set(place)
                went_on = (upstream, "opened") in place and not broke_off
                if went_on and (do.name, point) in place:
                    assert (upstream, "output closed") in place, f"{do.name} came to {point} without {upstream}"


def signals(lab: Lab, seed: int, how_many: int) -> Callable[[Commands], None]:
    """An operator who sends so many signals: each after so many calls of components, and then at any moment."""
    rng = random.Random(seed)

    def operator(commands: Commands) -> None:
        for _ in range(how_many):
            calls = lab.calls + rng.randint(0, rng.choice([3, 15, 60]))
            lab.scheduler.until(lambda calls=calls: lab.calls >= calls or lab.idle())  # type: ignore[misc]
            for _ in range(rng.randint(0, 20)):
                lab.scheduler.point()
            commands.put("SIGINT")

    return operator


def run_seed(
    plan: Plan,
    seed: int,
    store: StateStore,
    *,
    name: str = "run",
    stops: int = 0,
    aborts: bool = False,
    again: bool = False,
    **options: Any,
) -> Lab:
    """Run a plan by a seed and check it. ``stops``: so many signals; ``aborts``: the second of them may abandon it.

    ``again``: then run it to its end from what was committed, with nothing broken, and check that no row is missing.
    """
    with scheduled(seed, **options) as scheduler:
        lab = Lab(plan, scheduler, store, f"{name}-{seed}")
        report = lab.go(signals(lab, seed, max(stops, int(plan.endless))))
        lab.check(report, abandoned=aborts)
    if again:
        with scheduled(seed, **options) as scheduler:
            healed = replace(plan, endless=False, failing_commits=0)
            rest = Lab(healed, scheduler, store, f"{name}-{seed}", lab)
            rest.check(rest.go())
            rest.check_whole()
    return lab
