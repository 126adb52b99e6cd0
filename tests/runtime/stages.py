"""Stages for small graphs under the scheduler: what each does with every row is known beforehand.

A row is ``{"p": partition, "n": number, "k": key, "c": copy}``; a transform keeps, drops, rejects or doubles it by its
number alone, so that `Plan.outcome` can say what must become of every row, in every branch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etlcore import Batch, Position, Reject, RowsFailed, RowTransform, Sink, Source, TransactionalSink, Transform
from etlcore.spec.model import Input, OnError, Pipeline, Queue, Stage, Take

if TYPE_CHECKING:
    from tests.runtime.lab import Lab

Row = dict[str, Any]
Key = tuple[str, int, str]


class Broken(RuntimeError):
    """A stage that was told to fail has failed."""


def key_of(row: Row) -> Key:
    return row["p"], row["n"], row["c"]


@dataclass(frozen=True)
class Do:
    """What one stage does; see `Stage` for the fields that it shares with it."""

    name: str
    kind: str
    inputs: tuple[str, ...] = ()
    workers: int = 1
    queue: Queue = field(default_factory=lambda: Queue(rows=1000))
    take: Take = field(default_factory=Take)
    ordered: bool = False
    key: str | None = None
    drop: int = 0
    """Every so many-th row is dropped; the same for ``reject`` and ``double``."""
    reject: int = 0
    double: int = 0
    by_row: bool = False
    """A `RowTransform`."""
    same: bool = False
    """Hands on the very batch that it was given."""
    buffers: int = 0
    """Keeps so many batches before it makes one of them."""
    side: int = 0
    """Every so many-th row leaves by the output ``side``."""
    on_error: OnError = field(default_factory=OnError)
    bad: int = 0
    """Every so many-th row fails, always; only with an ``on_error`` that gives it up."""
    flaky: int = 0
    """Every so many-th attempt fails, whatever the rows."""
    names_rows: bool = False
    """A sink that says which rows failed, instead of failing as a whole."""
    transactional: bool = False
    slow: float = 0.0
    """Virtual seconds for a batch."""
    fails: str = ""
    """``open``, ``close``, ``flush``, ``read``, or a row such as ``p0/7`` at which `process` or `write` raises."""


@dataclass(frozen=True)
class Plan:
    """A graph, and what its source has to give: ``rows`` rows in each partition, in batches of ``batch`` rows."""

    stages: tuple[Do, ...]
    partitions: int = 1
    rows: int = 12
    batch: int = 4
    marks: int = 0
    """A position after every so many rows instead of one at the end of a batch."""
    empty: bool = False
    """Positions without rows, and None, in between."""
    endless: bool = False
    """When all is read, wait for more until the run is stopped."""
    columnar: bool = False
    failing_commits: int = 0
    sour: int = 0
    """Before every so many-th row the source rejects one that it cannot make a row of."""
    commit_interval: float = 0.01
    keys: int = 3

    def row(self, partition: str, number: int) -> Row:
        return {"p": partition, "n": number, "k": number % self.keys, "c": ""}

    def outcome(self, row: Row) -> Counter[tuple[str, Key]]:
        """Where a row of the source must end: in sinks, and in the dead letters of transforms."""
        ends: Counter[tuple[str, Key]] = Counter()
        for source in self.stages:
            if source.kind == "source":
                if self.sour and row["n"] % self.sour == 0:
                    ends[source.name, (row["p"], row["n"], "sour")] += 1
                self._follow(source.name, row, ends)
        return ends

    def _follow(self, name: str, row: Row, ends: Counter[tuple[str, Key]]) -> None:
        for do in self.stages:
            for _ in range(do.inputs.count(name)):
                if is_bad(do, row):
                    ends[do.name, key_of(row)] += do.on_error.then == "dead_letter"
                    continue
                made = [row] if do.kind == "sink" else fate(do, row)
                if do.kind == "sink" or made is None:
                    ends[do.name, key_of(row)] += 1
                    continue
                for one in made:
                    self._follow(f"{do.name}.side" if goes_aside(do, one) else do.name, one, ends)

    def pipeline(self, name: str, directory: Path, lab: Lab) -> Pipeline:
        stages = tuple(
            Stage(
                name=do.name,
                kind=do.kind,  # type: ignore[arg-type]
                component=do.kind,
                cls=_component(do, self, lab),
                config=None,
                inputs=tuple(_input(name) for name in do.inputs),
                on_error=do.on_error,
                workers=do.workers,
                queue=do.queue,
                take=do.take,
                ordered=do.ordered,
                key=do.key,
            )
            for do in self.stages
        )
        return Pipeline(
            name=name,
            stages=stages,
            directory=directory,
            shutdown_timeout=600.0,
            commit_interval=self.commit_interval,
        )


def fate(do: Do, row: Row) -> list[Row] | None:
    """What a transform makes of a row; None when it is rejected."""
    number = row["n"]
    if do.reject and number % do.reject == 1:
        return None
    if do.drop and number % do.drop == 2:
        return []
    if do.double and number % do.double == 0:
        return [{**row, "c": row["c"] + "a"}, {**row, "c": row["c"] + "b"}]
    return [row]


def goes_aside(do: Do, row: Row) -> bool:
    return bool(do.side) and row["n"] % do.side == 0


def is_bad(do: Do, row: Row) -> bool:
    return bool(do.bad) and row["n"] % do.bad == do.bad - 1


def _input(name: str) -> Input:
    stage, _, output = name.partition(".")
    return Input(stage, output or None)


def _component(do: Do, plan: Plan, lab: Lab) -> Any:
    """A class of its own for the stage, as a plugin would offer it."""
    if do.kind == "source":
        base: type = _Numbers
    elif do.kind == "sink":
        base = _Transact if do.transactional else _Write
    else:
        base = _Keep if do.buffers else _Map if do.by_row else _Work
    outputs = ("side",) if do.side else ()
    return type(do.name.capitalize(), (base,), {"do": do, "plan": plan, "lab": lab, "outputs": outputs, "attempts": 0})


class _Watched:
    """Tells the lab of every call, fails where it was told to, and lets others go on in the midst of its work."""

    do: Do
    plan: Plan
    lab: Lab
    context: Any
    attempts: int

    def open(self, context: Any) -> None:
        self.lab.opening(self.do, context.worker)
        self._work()
        self._fail_at("open")
        self.lab.opened(self.do, context.worker)

    def close(self) -> None:
        self._work()
        self.lab.closed(self.do, self.context.worker)
        self._fail_at("close")

    def _work(self) -> None:
        self.lab.calls += 1
        if self.do.slow:
            self.lab.scheduler.sleep(self.do.slow)
        else:
            self.lab.scheduler.point()

    def _fail_at(self, place: str) -> None:
        if self.do.fails == place and not self.lab.healed:
            self.lab.broke = True
            raise Broken(f"{self.do.name} fails at {place}")

    def _look_at(self, rows: list[Row]) -> None:
        self.lab.working(self.do, self.context.worker)
        self._work()
        for row in rows:
            self._fail_at(f"{row['p']}/{row['n']}")
        self.attempts += 1
        if self.do.flaky and self.attempts % self.do.flaky == 0:
            raise ConnectionError("not this time")
        bad = {index: "a bad row" for index, row in enumerate(rows) if is_bad(self.do, row)}
        if bad and self.do.names_rows:
            raise RowsFailed(bad)
        if bad:
            raise ValueError("a bad row")
        self.lab.did(self.do, self.context.worker, rows)


class _Numbers(_Watched, Source):
    def read(self) -> Iterator[Batch | None]:
        plan = self.plan
        mine = [f"p{i}" for i in range(plan.partitions) if i % self.context.workers == self.context.worker]
        at = {partition: self.lab.start(partition, self.context.positions) for partition in mine}
        if self.lab.gate is not None:
            self.lab.gate.wait()
        while any(at[partition] < plan.rows for partition in mine):
            for partition in mine:
                if at[partition] < plan.rows:
                    yield self._next(partition, at)
                    self._work()
                if plan.empty:
                    yield None
                    yield Batch.from_rows([], position=Position(partition, at[partition]))
                self._fail_at("read")
        while plan.endless and not self.context.stopping.wait(0.5):
            yield None

    def _next(self, partition: str, at: dict[str, int]) -> Batch:
        first = at[partition]
        last = at[partition] = min(first + self.plan.batch, self.plan.rows)
        rows = [self.plan.row(partition, number) for number in range(first, last)]
        self.lab.given[partition] = last
        sour = [{**row, "c": "sour"} for row in rows if self.plan.sour and row["n"] % self.plan.sour == 0]
        if sour:
            self.context.reject(sour, "no row")
        step = self.plan.marks
        if not step:
            batch = Batch.from_rows(rows, position=Position(partition, last))
        else:
            ends = [*range(step, len(rows), step), len(rows)]
            marks = [(end, Position(partition, first + end)) for end in ends]
            if self.plan.empty:
                marks.insert(0, (0, Position(partition, first)))
            batch = Batch.from_rows(rows, marks=marks)
        return Batch(arrow=batch.arrow, marks=batch.marks) if self.plan.columnar else batch

    def commit(self, positions: Mapping[str, Any]) -> None:
        self.lab.scheduler.point()
        self.lab.commits(self.context.worker, positions)


class _Work(_Watched, Transform):
    def process(self, batch: Batch) -> Iterator[Batch] | Batch | None:
        self._look_at(batch.rows)
        if self.do.same:
            return batch
        made: list[Row] = []
        for row in batch.rows:
            outcome = fate(self.do, row)
            if outcome is None:
                self.context.reject([row], "told to")
            else:
                made.extend(outcome)
        # One batch, several, or none: whatever the contract allows.
        return Batch.from_rows(made) if len(made) % 2 and not self.do.side else self._in_parts(made)

    def _in_parts(self, rows: list[Row]) -> Iterator[Any]:
        for start in range(0, len(rows), 2):
            self.lab.scheduler.point()
            part = rows[start : start + 2]
            yield Batch.from_rows([row for row in part if not goes_aside(self.do, row)])
            if self.do.side:
                yield "side", Batch.from_rows([row for row in part if goes_aside(self.do, row)])

    def flush(self) -> tuple[Batch, ...]:
        self.lab.flushed(self.do, self.context.worker)
        self._work()
        self._fail_at("flush")
        return ()


class _Map(_Watched, RowTransform):
    def map(self, row: Row) -> Row | list[Row] | None:
        self._look_at([row])
        outcome = fate(self.do, row)
        if outcome is None:
            raise Reject("told to")
        return outcome[0] if len(outcome) == 1 else outcome or None


class _Keep(_Watched, Transform):
    buffers = True

    def open(self, context: Any) -> None:
        self._kept: list[Batch] = []
        super().open(context)

    def process(self, batch: Batch) -> Iterator[Batch]:
        self._look_at(batch.rows)
        self._kept.append(batch)
        if len(self._kept) >= self.do.buffers:
            yield from self._out()
            self.context.release(*self._kept)
            self._kept = []

    def flush(self) -> Iterator[Batch]:
        self.lab.flushed(self.do, self.context.worker)
        self._fail_at("flush")
        yield from self._out()

    def _out(self) -> Iterator[Batch]:
        rows: list[Row] = []
        for batch in self._kept:
            for row in batch.rows:
                outcome = fate(self.do, row)
                if outcome is None:
                    self.context.reject([row], "told to")
                else:
                    rows.extend(outcome)
        if self._kept:
            yield Batch.from_rows(rows).derived_from(*self._kept)


class _Write(_Watched, Sink):
    def write(self, batch: Batch) -> None:
        try:
            self._look_at(batch.rows)
        except RowsFailed as failed:
            self.lab.wrote(self.do, [row for index, row in enumerate(batch.rows) if index not in failed.reasons])
            raise
        self.lab.wrote(self.do, batch.rows)


class _Transact(_Watched, TransactionalSink):
    def positions(self) -> Mapping[str, Any]:
        return dict(self.lab.kept_with_rows)

    def write(self, batch: Batch, positions: Mapping[str, Any] | None = None) -> None:
        self._look_at(batch.rows)
        self.lab.transacted(self.do, batch.rows, positions or {})
