"""Error policies: what becomes of rows whose stage raises, with real threads and a real state store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from etlcore import Batch, Position, RetryAfter, RowsFailed, RowTransform, Sink, Source, Transform
from etlcore.runtime.report import Report
from etlcore.runtime.run import Run
from etlcore.runtime.supervisor import CHANGED, supervise
from etlcore.spec.model import Input, OnError, Pipeline, Queue, Stage, Take
from etlcore.state import StateStore

QUICK = {"wait": 0.001, "longest_wait": 0.002}


class Nobody:
    def tick(self, run: Run) -> None: ...
    def stopping(self, run: Run, timeout: float | None) -> None: ...
    def late(self, run: Run, late: object, left: float) -> None: ...
    def abandoning(self, run: Run) -> None: ...


class Numbers(Source):
    upto = 1000

    def read(self) -> Iterator[Batch | None]:
        for n in range(self.context.positions.get("n", 0), self.upto, 100):
            yield Batch.from_rows([{"n": i} for i in range(n, n + 100)], Position("n", n + 100))


class Bench:
    """A sink, or a transform in front of one, that does what a test says; and the rows that were written."""

    def __init__(self, store: StateStore) -> None:
        self.store = store
        self.written: list[int] = []
        self.commands: SimpleQueue[str] = SimpleQueue()
        self.run: Run | None = None
        self.source: type[Source] = Numbers

    def sink(self, write: Callable[[Batch], None]) -> type[Sink]:
        written = self.written

        class Writes(Sink):
            def write(self, batch: Batch) -> None:
                write(batch)
                written.extend(row["n"] for row in batch.rows)

        return Writes

    def go(self, *stages: Stage, timeout: float = 30.0) -> Report:
        source = Stage("numbers", "source", "numbers", self.source, None)
        pipeline = Pipeline("bench", (source, *stages), Path("."), shutdown_timeout=timeout, commit_interval=0.01)
        self.run = Run(pipeline, self.store, changed=lambda: self.commands.put(CHANGED))
        report = supervise(self.run, self.commands, Nobody())
        assert report.balance.holds, report.balance
        return report

    def reasons(self) -> list[str]:
        return [letter.reason for letter in self.store.dead_letters("bench")]


@pytest.fixture
def bench(store: StateStore) -> Bench:
    return Bench(store)


def sink(cls: type[Sink], policy: OnError, **more: Any) -> Stage:
    return Stage("out", "sink", "out", cls, None, (Input("numbers"),), on_error=policy, **more)


def bad_row(batch: Batch) -> None:
    if any(row["n"] == 537 for row in batch.rows):
        raise ValueError("537 is not wanted here")


def test_one_bad_row_does_not_take_its_neighbours_along(bench: Bench) -> None:
    report = bench.go(sink(bench.sink(bad_row), OnError("dead_letter", retries=2, breaker=50, **QUICK)))
    assert report.exit_code == 0
    assert sorted(bench.written) == [n for n in range(1000) if n != 537]
    (letter,) = bench.store.dead_letters("bench")
    assert letter.row == {"n": 537}
    assert letter.reason == "ValueError: 537 is not wanted here"
    assert "bad_row" in (letter.traceback or "")
    assert letter.positions == {"n": 600}
    assert (report.balance.delivered, report.balance.dead) == (999, 1)


def test_one_bad_row_of_a_transform(bench: Bench) -> None:
    class Doubles(RowTransform):
        def map(self, row: dict[str, Any]) -> dict[str, Any]:
            if row["n"] in (0, 999):
                raise KeyError("x")
            return {"n": row["n"]}

    stage = Stage("twice", "transform", "t", Doubles, None, (Input("numbers"),), workers=3, on_error=OnError("drop"))
    out = Stage("out", "sink", "out", bench.sink(lambda batch: None), None, (Input("twice"),))
    report = bench.go(stage, out)
    assert report.exit_code == 0
    assert sorted(bench.written) == list(range(1, 999))
    assert report.balance.dead == 2
    assert report.dead_letters == 0
    assert bench.reasons() == []


def test_order_is_kept_while_rows_are_narrowed_down(bench: Bench) -> None:
    class Picky(Transform):
        def process(self, batch: Batch) -> Batch:
            bad_row(batch)
            return batch

    stage = Stage(
        "picky",
        "transform",
        "t",
        Picky,
        None,
        (Input("numbers"),),
        workers=4,
        ordered=True,
        take=Take(rows=10),
        on_error=OnError("dead_letter"),
    )
    out = Stage("out", "sink", "out", bench.sink(lambda batch: None), None, (Input("picky"),))
    assert bench.go(stage, out).exit_code == 0
    assert bench.written == [n for n in range(1000) if n != 537]


def test_retries_are_used_up_and_then_the_run_stops(bench: Bench) -> None:
    attempts = []

    def fails(batch: Batch) -> None:
        attempts.append(len(batch))
        raise ConnectionError("refused")

    report = bench.go(sink(bench.sink(fails), OnError("stop", retries=3, **QUICK)))
    assert report.exit_code == 1
    assert attempts == [100] * 4
    assert [failure.error for failure in report.failures] == ["ConnectionError: refused"]
    assert bench.store.positions("bench", "numbers") == {}


def test_a_failure_that_passes_costs_nothing(bench: Bench) -> None:
    failing = iter([True, True, False] * 1000)

    def sometimes(batch: Batch) -> None:
        if next(failing):
            raise ConnectionError("reset")

    report = bench.go(sink(bench.sink(sometimes), OnError("dead_letter", retries=5, **QUICK)))
    assert report.exit_code == 0
    assert bench.written == list(range(1000))
    assert bench.store.positions("bench", "numbers") == {"n": 1000}


def test_a_sink_says_which_rows_failed(bench: Bench) -> None:
    class Writes(Sink):
        def write(self, batch: Batch) -> None:
            bad = {index: f"{row['n']} is odd" for index, row in enumerate(batch.rows) if row["n"] % 250 == 1}
            bench.written.extend(row["n"] for index, row in enumerate(batch.rows) if index not in bad)
            if bad:
                raise RowsFailed(bad)

    report = bench.go(sink(Writes, OnError("dead_letter", retries=1, **QUICK)))
    assert report.exit_code == 0
    assert sorted(bench.written) == [n for n in range(1000) if n % 250 != 1]
    assert sorted(bench.reasons()) == sorted(f"{n} is odd" for n in range(1000) if n % 250 == 1)


def test_rows_that_would_fail_again_are_given_up_at_once(bench: Bench) -> None:
    """However many in a row: it is the rows, and not the system behind the sink, so there is nothing to wait for."""
    writes = []

    class Writes(Sink):
        def write(self, batch: Batch) -> None:
            writes.append(len(batch))
            raise RowsFailed(dict.fromkeys(range(len(batch)), "too large"), final=True)

    policy = OnError("dead_letter", retries=5, breaker=3, wait=3600, longest_wait=3600)
    report = bench.go(sink(Writes, policy, take=Take(rows=10)))
    assert report.exit_code == 0
    assert writes == [10] * 100
    assert bench.reasons() == ["too large"] * 1000


def test_a_sink_that_takes_some_rows_is_not_down(bench: Bench) -> None:
    class Writes(Sink):
        def write(self, batch: Batch) -> None:
            bad = {index: "even" for index, row in enumerate(batch.rows) if row["n"] % 2 == 0}
            if bad:
                raise RowsFailed(bad)

    policy = OnError("dead_letter", breaker=2, wait=3600, longest_wait=3600)
    report = bench.go(sink(Writes, policy, take=Take(rows=10)))
    assert report.exit_code == 0
    assert bench.reasons() == ["even"] * 500


def test_rows_that_a_sink_delivered_stay_delivered_when_the_others_stop_the_run(bench: Bench) -> None:
    class Writes(Sink):
        def write(self, batch: Batch) -> None:
            raise RowsFailed({3: "no"})

    report = bench.go(sink(Writes, OnError("stop"), queue=Queue(rows=100)))
    assert report.exit_code == 1
    assert report.balance.delivered == 99
    assert bench.store.positions("bench", "numbers") == {}


def test_being_asked_to_wait_is_no_failure(bench: Bench) -> None:
    asked = iter([True] * 5 + [False] * 1000)

    def busy(batch: Batch) -> None:
        if next(asked):
            raise RetryAfter(0.001)

    report = bench.go(sink(bench.sink(busy), OnError("stop", **QUICK)))
    assert report.exit_code == 0
    assert bench.written == list(range(1000))


def test_a_sink_that_is_down_is_waited_for(bench: Bench) -> None:
    """Longer than every retry: nothing is lost, nothing is read twice, and no more is read than the queue holds."""
    back = threading.Event()
    read: list[int] = []
    read_at_pause: list[int] = []

    class Counting(Numbers):
        upto = 100_000

        def read(self) -> Iterator[Batch | None]:
            for batch in super().read():
                assert batch is not None
                read.append(len(batch))
                yield batch

    def down(batch: Batch) -> None:
        if not back.is_set():
            raise ConnectionError("refused")

    def watch() -> None:
        while bench.run is None or not any(event.what == "paused" for event in bench.run.events):
            back.wait(0.01)
        read_at_pause.append(sum(read))
        back.set()

    bench.source = Counting
    watcher = threading.Thread(target=watch)
    watcher.start()
    stage = sink(bench.sink(down), OnError("dead_letter", retries=3, breaker=10, **QUICK), queue=Queue(rows=500))
    report = bench.go(stage)
    watcher.join()
    assert report.exit_code == 0
    assert bench.written == list(range(100_000))
    assert bench.reasons() == []
    assert [event["event"] for event in report.events if event["event"] in ("paused", "resumed")] == [
        "paused",
        "resumed",
    ]
    assert 0 < read_at_pause[0] <= 500 + 2 * 100  # the queue, one batch in work, and one in the source's hands


def test_a_stop_abandons_what_waits_for_a_sink_that_is_down(bench: Bench) -> None:
    """The rows are neither lost nor given up: they are read again."""

    def down(batch: Batch) -> None:
        bench.commands.put("SIGTERM") if bench.commands.empty() else None
        raise ConnectionError("refused")

    policy = OnError("dead_letter", retries=1, wait=60.0, longest_wait=60.0, breaker=5)
    report = bench.go(sink(bench.sink(down), policy), timeout=0.5)
    assert report.exit_code == 3
    assert report.balance.abandoned == report.balance.read > 0
    assert bench.reasons() == []
    assert bench.store.positions("bench", "numbers") == {}
    assert [event["event"] for event in report.events if event["event"] == "gave up"] == ["gave up"]


def test_what_a_failed_attempt_rejected_is_not_rejected_twice(bench: Bench) -> None:
    seen: set[int] = set()

    class Flaky(Transform):
        def process(self, batch: Batch) -> Batch:
            first, rest = batch.rows[0], batch.rows[1:]
            self.context.reject([first], "the first of a batch")
            if first["n"] not in seen:
                seen.add(first["n"])
                raise ConnectionError("try again")
            return Batch.from_rows(rest)

    stage = Stage(
        "flaky",
        "transform",
        "t",
        Flaky,
        None,
        (Input("numbers"),),
        on_error=replace(OnError("stop"), retries=1, **QUICK),
    )
    out = Stage("out", "sink", "out", bench.sink(lambda batch: None), None, (Input("flaky"),))
    report = bench.go(stage, out)
    assert report.exit_code == 0
    assert report.balance.dead == 10
    assert sorted(bench.written) == [n for n in range(1000) if n % 100]


def test_a_source_rejects_what_it_cannot_read(bench: Bench) -> None:
    class Torn(Numbers):
        def read(self) -> Iterator[Batch | None]:
            for batch in super().read():
                assert batch is not None
                self.context.reject([{"line": "{"}], "no JSON")
                yield batch
            self.context.reject([{"line": "["}, {"line": "]"}], ["first", "second"])

    bench.source = Torn
    report = bench.go(sink(bench.sink(lambda batch: None), OnError()))
    assert report.exit_code == 0
    assert (report.balance.read, report.balance.delivered, report.balance.dead) == (1012, 1000, 12)
    assert bench.reasons() == ["no JSON"] * 10 + ["first", "second"]
    assert bench.store.positions("bench", "numbers") == {"n": 1000}
