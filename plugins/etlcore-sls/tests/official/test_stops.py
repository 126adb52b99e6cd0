"""How the official consumer stops, and how ours does. Nothing is timed: polls, requests and heartbeats are counted."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import pytest

PLACE = ("demo", "logs")
OFFICIAL, OURS = "official", "etlcore"


def test_a_drain_that_is_longer_than_the_timeout(bench: Any, gate: threading.Event) -> None:
    bench.create()
    rows = bench.put(range(3))
    held: dict[str, threading.Event] = {OFFICIAL: threading.Event(), OURS: threading.Event()}

    def wait(group: str) -> Any:
        def handle(rows: list[str]) -> None:
            held[group].set()
            assert gate.wait(120)

        return handle

    official = bench.official(wait(OFFICIAL)).start()
    ours = bench.ours(wait(OURS)).start()
    assert held[OFFICIAL].wait(60)
    assert held[OURS].wait(60)
    official.worker.shutdown()
    ours.tell_to_stop()
    official.worker.heart_beat.join(60)  # at once, while its rows are still being processed
    assert official.worker.is_alive()
    for _ in range(2):
        bench.control.advance_clock(40)  # of a timeout of 60
        bench.beats(OURS)
    after: Any = bench.official(name="b").start()
    after.until(rows)  # again, by another
    assert bench.client.heart_beat(*PLACE, OURS, "b", []).get_shards() == []  # it is still ours

    gate.set()
    official.ended()
    report = ours.ended()
    assert Counter(official.rows + after.rows) == Counter(dict.fromkeys(rows, 2))
    assert ours.rows == rows
    assert report.exit_code == 0
    assert bench.checkpoint(OURS) == 3


class CountsPolls:
    """The module `time` as the official worker sees it."""

    def __init__(self) -> None:
        self.polls = 0

    def time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        self.polls += seconds == 0.5
        time.sleep(seconds)


def test_a_stop_with_idle_shards(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = 6
    bench.create(shards)
    clock = CountsPolls()
    monkeypatch.setattr("aliyun.log.consumer.worker.time", clock)

    official = bench.official(data_fetch_interval=1).start()
    for shard in range(shards):
        bench.control.wait_for("pull", shard=shard, timeout=60)
    before = clock.polls
    official.stop()
    assert clock.polls - before > shards  # half a second for each, one after the other

    mark = bench.control.last_event()
    ours = bench.ours(poll_seconds=60).start()
    for shard in range(shards):
        bench.control.wait_for("pull", shard=shard, after=mark, timeout=60)
        bench.until_checkpoint(OURS, 0, shard)
    mark = bench.control.last_event()
    assert ours.stop().exit_code == 0
    assert {event["kind"] for event in bench.control.events(after=mark)} <= {"heartbeat"}  # nothing for any shard
