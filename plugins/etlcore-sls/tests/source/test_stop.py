"""Stopping: nothing is fetched any more, nothing is done for each shard, what was read is committed."""

from __future__ import annotations

import itertools
import threading
from typing import Any

SHARDS = 32


def test_a_stop_with_idle_shards_asks_nothing_of_any_of_them(store: Any) -> None:
    """No commit, no pull, no lookup: the work of a stop does not grow with the shards."""
    store.create(SHARDS)
    member = store.member().start()
    store.wait(lambda state: all(shard["checkpoint"] is not None for shard in state["shards"]))
    for shard in range(SHARDS):  # each has been found empty, and is idle
        store.control.wait_for("pull", shard=shard)
    pulls = store.control.fault("hang", "pull_logs")  # what is under way at the stop is not waited for
    store.hits(pulls)
    mark = store.control.last_event()
    member.stop().ended()
    assert member.read_closed
    store.control.release(pulls)
    kinds = {event["kind"] for event in store.control.events(after=mark) if event["kind"] != "fault"}
    assert kinds <= {"heartbeat", "pull"}
    asked = list(store.control.events("fault", after=mark))
    assert len(asked) <= member.config.fetch_threads


def test_the_number_of_threads_does_not_grow_with_the_shards(store: Any) -> None:
    store.create(SHARDS)
    before = _threads()
    member = store.member(fetch_threads=3).start()
    store.wait(lambda state: all(shard["checkpoint"] is not None for shard in state["shards"]))
    assert len(_threads() - before) <= 3 + 1 + 8  # fetchers, heartbeats, and commits side by side
    member.stop().ended()
    for thread in _threads() - before:
        thread.join(60)
        assert not thread.is_alive()


def _threads() -> set[threading.Thread]:
    return {
        thread for thread in threading.enumerate() if thread.name.startswith("sls-") and "emulator" not in thread.name
    }


def test_a_stop_before_the_first_page(store: Any) -> None:
    store.create(4)
    store.put(0, range(100))
    beats = store.control.fault("hang", "heartbeat")
    member = store.member().start()
    store.hits(beats)
    member.stop().ended()
    assert member.rows == []
    assert store.checkpoints() == dict.fromkeys(range(4))


def test_what_was_read_ahead_is_read_again_by_the_next_run(store: Any) -> None:
    store.create(1)
    store.put(0, range(1000))
    member = store.member(fetch_groups=5).pause_at(1).start().until_rows(1)
    store.control.wait_for("pull", count=3)
    member.stop().ended()
    read = member.values()
    assert len(read) == 50
    rest = store.member(until="end").start().ended().values()
    assert read + rest == [str(n) for n in range(1000)]
    assert rest


def test_idle_shards_are_not_asked_more_often_than_said(store: Any) -> None:
    """Between two pulls of an idle shard lies at least `poll_seconds`."""
    store.create(3)
    member = store.member(poll_seconds=0.5).start()
    for shard in range(3):
        pulls = store.control.wait_for("pull", shard=shard, count=4)
        times = [pull["time"] for pull in pulls]
        assert all(later - earlier >= 0.45 for earlier, later in itertools.pairwise(times))
    member.stop().ended()
