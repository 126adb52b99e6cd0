"""Membership: shards that come and go, consumers that vanish, and who may move a checkpoint."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from etlcore_sls.errors import SlsFailure

GROUP = ("demo", "logs", "readers")


def _fill(store: Any, shards: int, rows: int = 100) -> int:
    store.create(shards)
    for shard in range(shards):
        store.put(shard, range(shard * rows, shard * rows + rows))
    return shards * rows


def _all_committed(state: dict[str, Any]) -> bool:
    return bool(state["rows_behind"] == 0 and all(shard["checkpoint"] is not None for shard in state["shards"]))


def _loads(state: dict[str, Any]) -> list[int]:
    owners = Counter(shard["owner"] for shard in state["shards"] if shard["state"] == "already_alloc")
    return sorted(owners.values())


def test_two_members_share_the_shards_and_read_every_row_once(store: Any) -> None:
    rows = _fill(store, 4)
    first = store.member().start().until_rows(rows)
    second = store.member().start()
    store.wait(lambda state: _loads(state) == [2, 2])
    for shard in range(4):
        store.put(shard, range(1000 + shard * 10, 1010 + shard * 10))
    first.until_rows(rows + 20)
    second.until_rows(20)
    first.stop().ended()
    second.stop().ended()
    assert Counter(first.values() + second.values()) == Counter(
        [str(n) for n in range(rows)] + [str(n) for n in range(1000, 1040)]
    )


def test_a_shard_that_moves_is_delivered_and_committed_before_it_is_let_go(store: Any) -> None:
    rows = _fill(store, 2)
    first = store.member().hold().start().until_rows(rows)
    second = store.member().start()
    store.wait(lambda state: any(shard["state"] == "transfer" for shard in state["shards"]))
    giver, taker = store.names()
    # The holder goes on naming the shard that it was asked to hand over: its rows are not delivered yet.
    assert all(beat["held"] == [0, 1] for beat in store.after_beats(5, consumer=giver))
    assert sorted(store.owners().values()) == [giver, giver]

    first.settle()
    store.wait(lambda state: _loads(state) == [1, 1])
    moved = next(shard for shard, owner in store.owners().items() if owner == taker)
    committed = store.control.events("checkpoint", shard=moved, consumer=giver, value=10, accepted=True)
    released = store.control.events("released", shard=moved, consumer=giver)
    assert committed[0]["number"] < released[0]["number"]
    store.put(moved, range(1000, 1010))
    second.until_rows(10)
    assert second.values() == [str(n) for n in range(1000, 1010)]
    assert len(first.stop().ended().rows) == rows


def test_what_was_read_ahead_of_a_shard_that_moves_is_left_to_its_next_owner(store: Any) -> None:
    store.create(2)
    store.put(1, range(1000, 1010))
    first = store.member(fetch_groups=10).hold().pause_at(10).start().until_rows(10)
    under_way = store.control.fault("hang", "pull_logs", shard=1, skip=2, count=1)
    for shard in (0, 1):
        store.put(shard, range(shard * 2000, shard * 2000 + 1000))
    store.hits(under_way)  # the worker is held up; something was read ahead, and more is being asked for
    second = store.member().start()
    store.wait(lambda state: state["shards"][1]["state"] == "transfer")
    store.after_beats(2, consumer=store.names()[0])  # the first has been told
    mark = store.control.last_event()
    store.control.release(under_way)
    store.control.wait_for("pull", shard=1, after=mark)
    store.after_beats(2, consumer=store.names()[0])  # what that pull brought has come
    first.reading.set()
    first.until_rows(1010)
    assert first.values() == [str(n) for n in [*range(1000, 1010), *range(1000)]]
    first.settle()
    second.until_rows(1000)
    store.wait(_all_committed)
    first.stop().ended()
    assert second.stop().ended().values() == [str(n) for n in range(2000, 3000)]


def test_an_evicted_member_forgets_what_it_read_and_registers_again(store: Any) -> None:
    rows = _fill(store, 2)
    member = store.member().hold().start().until_rows(rows)
    store.control.evict(*GROUP, store.names()[0])
    member.until_rows(2 * rows)  # its own again, and read again from the checkpoints
    assert sorted(member.forgotten) == ["shard 0", "shard 1"]
    member.settle()
    store.wait(_all_committed)
    member.stop().ended()
    assert Counter(member.values()) == Counter({str(n): 2 for n in range(rows)})


def test_the_rest_of_a_page_is_dropped_when_its_shard_was_evicted(store: Any) -> None:
    """A large page is handed over in parts; the shard is taken away, and given back, between two of them."""
    store.create(1)
    store.put(0, range(20_000), per_group=1000)
    member = store.member(until="end").hold().pause_at(5000).start().until_rows(5000)
    store.control.evict(*GROUP, store.names()[0])
    store.control.wait_for("heartbeat", held=[0], accepted=True, after=store.control.last_event())
    member.reading.set()
    member.settle()
    member.ended()
    assert member.values() == [str(n) for n in [*range(5000), *range(20_000)]]
    assert store.checkpoints() == {0: 20}


def test_an_answer_that_was_overtaken_by_an_eviction_gives_no_shard(store: Any) -> None:
    """A heartbeat is answered, then the member is evicted and learns it from a commit, then the answer arrives."""
    rows = _fill(store, 1)
    member = store.member().hold().start().until_rows(rows)
    idle = store.control.fault("hang", "pull_logs", count=1)
    store.hits(idle)  # and no more is asked of this shard, until it is given to the member once more
    late = store.control.fault("hang", "heartbeat", point="after", count=1)
    store.hits(late)
    store.control.evict(*GROUP, store.names()[0])
    mark = store.control.last_event()
    member.settle()
    member.until(lambda m: m.forgotten == ["shard 0"])
    store.control.release(late)
    member.until_rows(2 * rows).stop().ended()
    refused = store.control.events("checkpoint", after=mark, accepted=False)[0]
    registered = store.control.events("heartbeat", after=mark)[0]
    assert (registered["held"], registered["accepted"]) == ([], True)
    pulls = store.control.events("pull", after=refused["number"])
    assert registered["number"] < pulls[0]["number"]


def test_an_evicted_member_cannot_move_the_checkpoint_of_the_new_owner(store: Any) -> None:
    """It does not even know that it was evicted: its heartbeats hang."""
    store.create(1)
    store.put(0, range(50))
    old = store.member().hold().pause_at(100).start().until_rows(50)
    name = store.names()[0]
    store.control.fault("hang", "heartbeat", consumer=name)
    store.put(0, range(50, 100))
    old.until_rows(100)
    new = store.member().start()
    store.control.wait_until(lambda event: event["kind"] == "heartbeat" and event["consumer"] != name)
    store.control.evict(*GROUP, name)
    store.put(0, range(100, 150))
    new.until_rows(150)
    store.wait(_all_committed)

    old.settle()
    refused = store.control.wait_for("checkpoint", consumer=name, accepted=False)
    assert refused[0]["value"] == 10
    assert refused[0]["error"] in ("ConsumerNotExist", "ConsumerNotMatch")
    old.until(lambda member: member.forgotten == ["shard 0"]).stop()
    store.control.clear_faults()
    old.ended()
    assert store.checkpoints() == {0: 15}
    assert not store.control.events("checkpoint", consumer=name, accepted=True)
    new.stop().ended()


def test_heartbeats_live_until_the_last_commit(store: Any) -> None:
    """A drain that takes longer than the group's timeout still commits."""
    rows = _fill(store, 2)
    member = store.member(group_timeout_seconds=60).hold().start().until_rows(rows).stop()
    member.until(lambda m: m.read_closed)
    for _ in range(3):
        store.control.advance_clock(40)
        store.after_beats(2)
    member.settle()
    member.ended()
    assert store.checkpoints() == {0: 10, 1: 10}
    assert not member.forgotten


def test_nothing_is_fetched_after_the_stop(store: Any) -> None:
    rows = _fill(store, 2)
    member = store.member().hold().start().until_rows(rows).stop()
    member.until(lambda m: m.read_closed)
    store.after_beats(2)  # a pull that was under way is over
    mark = store.control.last_event()
    store.put(0, range(1000, 1010))
    store.after_beats(5)
    assert not store.control.events("pull", after=mark)
    member.settle()
    assert len(member.ended().rows) == rows


def test_the_next_run_on_this_machine_has_the_name_and_the_shards_of_the_last(store: Any) -> None:
    """So it need not wait until the group has given up the one that is gone."""
    rows = _fill(store, 2)
    store.member(group_timeout_seconds=100_000).hold().start().until_rows(rows).abandon().ended()
    again = store.member(until="end").start().ended()
    assert len(again.rows) == rows
    assert len(store.names()) == 1


def test_members_at_the_same_time_have_different_names(store: Any) -> None:
    store.create(4)
    members = [store.member(worker=n, workers=2).start() for n in range(2)]
    store.wait(lambda state: _loads(state) == [2, 2])
    assert len(set(store.names())) == 2
    for member in members:
        member.stop().ended()


def test_a_name_of_ones_own(store: Any) -> None:
    store.create(1)
    store.put(0, range(10))
    store.member(consumer="reader-7", until="end").start().ended()
    assert store.names() == ["reader-7"]


def test_the_shards_of_a_vanished_consumer_are_taken_over(store: Any) -> None:
    rows = _fill(store, 2)
    store.member(group_timeout_seconds=60, directory="other").hold().start().until_rows(rows).abandon().ended()
    member = store.member(until="end").start()
    store.control.wait_until(lambda event: event["kind"] == "heartbeat" and event["assigned"] == [])
    store.control.advance_clock(61)
    assert len(member.ended().rows) == rows
    assert store.checkpoints() == {0: 10, 1: 10}


def test_an_existing_group_is_left_as_it_is(store: Any) -> None:
    store.create(1)
    store.put(0, range(10))
    store.sdk().create_consumer_group(*GROUP, 33, True)
    member = store.member(until="end", group_timeout_seconds=60, group_in_order=False).start().ended()
    assert len(member.rows) == 10
    state = store.state()
    assert (state["timeout"], state["order"]) == (33, True)


def test_a_group_that_is_made_has_the_timeout_and_order_asked_for(store: Any) -> None:
    store.create(1)
    store.member(until="end", group_timeout_seconds=44, group_in_order=True).start().ended()
    state = store.state()
    assert (state["timeout"], state["order"]) == (44, True)


def test_a_group_that_is_deleted_while_it_is_in_use_stops_the_source(store: Any) -> None:
    _fill(store, 1)
    member = store.member().start().until_rows(100)
    store.wait(_all_committed)
    store.sdk().delete_consumer_group(*GROUP)
    error = member.ended(SlsFailure).error
    assert "readers was deleted while it was in use" in str(error)


def test_a_group_that_is_deleted_during_the_drain_fails_the_source_without_a_wait(store: Any) -> None:
    rows = _fill(store, 1)
    member = store.member().hold().start().until_rows(rows).stop()
    member.until(lambda m: m.read_closed)
    store.sdk().delete_consumer_group(*GROUP)
    member.settle()
    error = member.ended(SlsFailure).error
    assert "could not be committed" in str(error)
    assert member.forgotten == ["shard 0"]


def test_heartbeats_that_fail_for_a_while_cost_nothing(store: Any) -> None:
    rows = _fill(store, 2)
    fault = store.control.fault("error", "heartbeat", skip=3, count=5, status=503, code="ServerBusy")
    member = store.member().start().until_rows(rows)
    store.hits(fault, 5)
    store.put(0, range(1000, 1010))
    member.until_rows(rows + 10).stop().ended()
    assert not member.forgotten


def test_a_member_that_is_not_answered_reads_no_further(store: Any) -> None:
    """Beyond the group's timeout its shards may be another's. It goes on when it is answered."""
    rows = _fill(store, 1)
    member = store.member(group_timeout_seconds=1).start().until_rows(rows)
    store.sdk().update_consumer_group(*GROUP, timeout=3600)  # the emulator will not give it up
    fault = store.control.fault("error", "heartbeat", status=500)
    store.hits(fault, 15)  # at least a tenth of a second apart
    store.put(0, range(1000, 1010))
    store.hits(fault, 20)
    assert len(member.rows) == rows
    store.control.clear_faults()
    member.until_rows(rows + 10).stop().ended()
    assert store.checkpoints() == {0: 11}


@pytest.mark.parametrize(
    "code", ["ConsumerNotExist", "ConsumerNotExsit", "ConsumerNotMatch", "NotExistConsumerWithBody"]
)
def test_a_refused_commit_is_not_tried_again(store: Any, code: str) -> None:
    rows = _fill(store, 1)
    member = store.member().hold().start().until_rows(rows)
    store.control.fault("error", "update_checkpoint", status=400, code=code, count=1)
    member.settle()
    member.until(lambda m: m.forgotten == ["shard 0"])
    member.until_rows(2 * rows)
    store.wait(_all_committed)
    member.stop().ended()
    assert not member.commit_errors
