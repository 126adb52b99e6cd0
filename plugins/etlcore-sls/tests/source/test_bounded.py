"""Runs that end by themselves: at the end of what is there, or at a time; alone and with others."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

GROUP = ("demo", "logs", "readers")


def _fill(store: Any, shards: int, groups: int = 5) -> int:
    """Ten rows to a log group."""
    store.create(shards)
    for shard in range(shards):
        store.put(shard, range(shard * 1000, shard * 1000 + groups * 10))
    return shards * groups * 10


def _shared_out(state: dict[str, Any]) -> bool:
    owners = Counter(shard["owner"] for shard in state["shards"] if shard["state"] == "already_alloc")
    return sorted(owners.values()) == [len(state["shards"]) // 2] * 2


def _apart(store: Any, member: Any, settling: bool = True, given_up_after: int | None = None, **options: Any) -> Any:
    """A second member; both have their share of the shards before any is read.

    ``given_up_after`` becomes the group's timeout once the first member has seen another.
    """
    pulls = store.control.fault("hang", "pull_logs")
    member.start()
    store.control.wait_until(lambda event: event["kind"] == "heartbeat" and event["held"] == list(store.owners()))
    if given_up_after is not None:
        store.sdk().update_consumer_group(*GROUP, timeout=given_up_after)
    second = store.member(**options).start()
    store.wait(_shared_out)
    if not settling:
        second.hold()
    store.control.release(pulls)
    return second


@pytest.mark.parametrize("shards", [1, 3, 32])
def test_empty_shards_end_at_once_and_count_as_read(store: Any, shards: int) -> None:
    store.create(shards)
    member = store.member(until="end").start().ended()
    assert member.at_end
    assert member.rows == []
    assert store.checkpoints() == dict.fromkeys(range(shards), 0)


def test_the_end_is_where_the_shards_stood_at_the_start(store: Any) -> None:
    rows = _fill(store, 2)
    pulls = store.control.fault("hang", "pull_logs")
    member = store.member(until="end").start()
    store.control.wait_for("heartbeat")
    store.put(0, range(5000, 5100))
    store.control.release(pulls)
    member.ended()
    assert len(member.rows) == rows
    assert store.checkpoints() == {0: 5, 1: 5}
    assert store.member(until="end").start().ended().values() == [str(n) for n in range(5000, 5100)]


def test_a_page_that_would_go_beyond_the_end_is_cut_there(store: Any) -> None:
    rows = _fill(store, 1, groups=7)
    pulls = store.control.fault("hang", "pull_logs", skip=1)
    member = store.member(until="end", fetch_groups=5).start().until_rows(50)
    store.put(0, range(5000, 5100))
    store.control.release(pulls)
    assert len(member.ended().rows) == rows


def test_two_members_end_when_both_have_read_their_shards(store: Any) -> None:
    rows = _fill(store, 4)
    first = store.member(until="end")
    second = _apart(store, first, until="end")
    values = first.ended().values() + second.ended().values()
    assert first.at_end
    assert second.at_end
    assert first.rows
    assert second.rows
    assert Counter(values) == Counter(Counter(values).keys())
    assert len(values) == rows


def test_two_members_with_empty_shards(store: Any) -> None:
    store.create(4)
    store.put(0, range(10))
    first = store.member(until="end")
    second = _apart(store, first, until="end")
    assert sorted(first.ended().values() + second.ended().values()) == [str(n) for n in range(10)]


def test_a_member_that_is_done_waits_for_the_others(store: Any) -> None:
    rows = _fill(store, 2)
    first = store.member(until="end")
    second = _apart(store, first, settling=False)
    first.until_said("waiting for shard 1, held by other consumers")
    assert not first.at_end
    second.settle()
    first.ended()
    assert first.at_end
    assert len(first.rows) + len(second.stop().ended().rows) == rows


def test_a_member_that_is_done_takes_over_what_a_crashed_one_left(store: Any) -> None:
    _fill(store, 2)
    first = store.member(until="end")
    second = _apart(store, first, settling=False)
    first.until_said("waiting for shard 1")
    name = store.owners()[1]
    second.until_rows(50).abandon().ended()
    store.control.evict(*GROUP, name)
    first.ended()
    assert len(first.rows) == 100
    assert store.checkpoints() == {0: 5, 1: 5}


def test_a_shard_that_its_holder_does_not_finish_is_left_to_it(store: Any) -> None:
    """The group would have given it to us by now if its holder were dead."""
    _fill(store, 2)
    first = store.member(until="end", group_timeout_seconds=1)
    second = _apart(store, first, settling=False, given_up_after=3600)
    first.until_said("shard 1: left to the consumers that hold them").ended()
    assert len(first.rows) == 50
    second.settle()
    second.stop().ended()


def test_members_that_know_different_ends_do_not_wait_for_each_other(store: Any) -> None:
    """The first wants more of the second's shard than the second itself does, and the other way round.

    One of them reads on; that satisfies the other, which ends, and whose shard then comes to the one that is left.
    """
    _fill(store, 2)
    pulls = store.control.fault("hang", "pull_logs")
    cursor = store.control.fault("hang", "get_cursor", shard=1, count=1)
    first = store.member(consumer="first", until="end").start()
    store.hits(cursor, 1)
    store.put(0, range(100, 150))  # beyond the first member's end of shard 0
    beats = store.control.fault("hang", "heartbeat", consumer="second")
    second = store.member(consumer="second", until="end").start()
    store.hits(beats, 1)
    store.put(1, range(1100, 1150))  # beyond the second member's end of shard 1
    store.control.release(cursor)
    store.control.wait_for("heartbeat", consumer="first", held=[0, 1])
    store.control.release(beats)
    store.wait(_shared_out)
    assert store.owners() == {0: "first", 1: "second"}
    store.control.release(pulls)
    store.one_ended(first, second)
    store.control.advance_clock(61)
    values = first.ended().values() + second.ended().values()
    assert sorted(map(int, values)) == [*range(50), *range(100, 150), *range(1000, 1050), *range(1100, 1150)]


def test_the_workers_of_a_stage_know_the_same_ends(store: Any) -> None:
    """One that ends keeps its shards until the group gives it up; no other may want more of them."""
    _fill(store, 2)
    first = store.member(worker=0, workers=2, until="end")
    second = store.member(worker=1, workers=2, until="end")
    second.stopping = first.stopping
    pulls = store.control.fault("hang", "pull_logs")
    first.start()
    store.control.wait_for("heartbeat", held=[0, 1])
    for shard in (0, 1):
        store.put(shard, range(5000, 5010))
    second.start()
    store.wait(_shared_out)
    store.control.release(pulls)
    assert len(first.ended().rows) + len(second.ended().rows) == 100


def test_a_run_ends_at_a_time_of_receipt(store: Any) -> None:
    store.create(2)
    store.control.advance_clock(-1000)
    store.put(0, range(10))
    store.control.advance_clock(500)
    moment = int(store.emulator.service.now())
    store.put(0, range(10, 20))
    store.control.advance_clock(500)
    member = store.member(until=moment).start().ended()
    assert member.at_end
    assert member.values() == [str(n) for n in range(10)]
