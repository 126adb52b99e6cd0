"""How the official consumer stops, and how ours does. Nothing is timed: requests, heartbeats and polls are counted."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from .conftest import LOGSTORE, OFFICIAL, OURS, PROJECT, Bench
from .parties import PATIENCE

PLACE = (PROJECT, LOGSTORE)


def test_a_drain_that_is_longer_than_the_timeout(bench: Bench, gate: threading.Event) -> None:
    bench.create()
    rows = bench.put(range(3))
    held = {OFFICIAL: threading.Event(), OURS: threading.Event()}

    def wait(group: str) -> Callable[[list[str]], None]:
        def handle(rows: list[str]) -> None:
            held[group].set()
            assert gate.wait(PATIENCE)

        return handle

    official = bench.official(wait(OFFICIAL)).start()
    ours = bench.ours(wait(OURS)).start()
    assert held[OFFICIAL].wait(PATIENCE)
    assert held[OURS].wait(PATIENCE)
    official.tell_to_stop()
    ours.tell_to_stop()
    official.until_said("heartbeats ended")  # and its rows are still being processed
    assert not official.said("worker ended")
    for _ in range(2):
        bench.control.advance_clock(40)  # of a timeout of 60
        bench.beats(OURS)
    after = bench.official(name="b").start()
    after.until(rows)  # again, by another
    assert bench.client.heart_beat(*PLACE, OURS, "b", []).get_shards() == []  # it is still ours

    gate.set()
    official.until_said("worker ended")
    ours.ended()
    assert Counter(official.rows + after.rows) == Counter(dict.fromkeys(rows, 2))
    assert ours.rows == rows
    assert bench.checkpoint(OURS) == 3


def test_a_stop_with_idle_shards(bench: Bench) -> None:
    shards = 3
    bench.create(shards)

    official = bench.official().start()
    for shard in range(shards):
        bench.control.wait_for("pull", shard=shard, count=3, timeout=PATIENCE)  # until it has a place to commit
    last_ones = bench.control.fault("hang", "update_checkpoint", group=OFFICIAL)
    official.tell_to_stop()
    bench.control.wait_for("fault", fault=last_ones, timeout=PATIENCE)
    official.until_said("poll", official.said("poll") + 3)
    assert len(bench.control.events("fault", fault=last_ones)) == 1  # one shard is let go, the others wait for it
    polls = official.said("poll")
    bench.control.release(last_ones)
    official.until_said("worker ended")
    assert official.said("poll") - polls >= 2 * (shards - 1)  # of half a second: two for each of the others
    assert [bench.checkpoint(OFFICIAL, shard) for shard in range(shards)] == [0] * shards
    official.kill()

    mark = bench.control.last_event()
    ours = bench.ours(poll_seconds=60).start()
    for shard in range(shards):
        bench.control.wait_for("pull", shard=shard, after=mark, timeout=PATIENCE)
        bench.until_checkpoint(OURS, 0, shard)
    every_request = bench.control.fault("delay")  # of no seconds: it makes each request leave an event
    mark = bench.control.last_event()
    ours.tell_to_stop().ended()
    assert {event["operation"] for event in bench.control.events("fault", after=mark)} <= {"heartbeat"}
    assert bench.control.faults()[0]["number"] == every_request
