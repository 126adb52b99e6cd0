"""Shards that are split and merged while they are read."""

from __future__ import annotations

from typing import Any

HALF = "80000000000000000000000000000000"


def _both(store: Any, children: list[int], first: int) -> list[str]:
    """Ten logs for each child; their numbers."""
    for index, child in enumerate(children):
        store.put(child, range(first + index * 10, first + index * 10 + 10))
    return [str(n) for n in range(first, first + 10 * len(children))]


def test_new_shards_are_found_and_read(store: Any) -> None:
    store.create(1)
    store.put(0, range(50))
    member = store.member().start().until_rows(50)
    _both(store, store.control.split("demo", "logs", 0), 50)
    member.until_rows(70).stop().ended()
    assert sorted(map(int, member.values())) == list(range(70))


def test_in_order_children_come_after_all_of_their_parent(store: Any) -> None:
    store.create(1)
    store.put(0, range(100))
    pulls = store.control.fault("hang", "pull_logs", shard=0)
    member = store.member(group_in_order=True, fetch_groups=3).start()
    store.hits(pulls)
    children = store.control.split("demo", "logs", 0)
    grandchildren = store.control.split("demo", "logs", children[0])
    rows = _both(store, [*grandchildren, children[1]], 100)
    store.control.release(pulls)
    member.until_rows(130).stop().ended()
    assert member.values()[:100] == [str(n) for n in range(100)]
    assert sorted(member.values()[100:]) == rows


def test_in_order_children_wait_until_their_parent_is_delivered(store: Any) -> None:
    """Read to its end is not enough."""
    store.create(1)
    store.put(0, range(100))
    member = store.member(group_in_order=True).hold().start().until_rows(100)
    children = store.control.split("demo", "logs", 0)
    _both(store, children, 100)
    assert all(beat["assigned"] == [0] for beat in store.after_beats(5))
    assert len(member.rows) == 100
    member.settle()
    member.until_rows(120).stop().ended()


def test_the_children_of_an_empty_parent_are_read(store: Any) -> None:
    """Its checkpoint must be written although no log ever comes from it."""
    store.create(1)
    children = store.control.split("demo", "logs", 0)
    rows = _both(store, children, 0)
    member = store.member(group_in_order=True, until="end").start().ended()
    assert sorted(member.values(), key=int) == rows
    assert [shard["state"] for shard in store.state()["shards"]] == ["over", "already_alloc", "already_alloc"]


def test_the_children_of_a_parent_whose_logs_have_expired_are_read(store: Any) -> None:
    store.create(1)
    store.put(0, range(100))
    children = store.control.split("demo", "logs", 0)
    rows = _both(store, children, 100)
    store.control.trim("demo", "logs", 0, keep=0)
    member = store.member(group_in_order=True, until="end").start().ended()
    assert sorted(member.values(), key=int) == rows


def test_merged_shards_are_read_in_order(store: Any) -> None:
    store.create(2)
    store.put(0, range(50))
    store.put(1, range(50, 100))
    merged = store.control.merge("demo", "logs", 0)
    store.put(merged, range(100, 150))
    member = store.member(group_in_order=True, until="end").start().ended()
    assert sorted(map(int, member.values()[:100])) == list(range(100))
    assert member.values()[100:] == [str(n) for n in range(100, 150)]


def test_in_order_a_merged_shard_waits_until_both_of_its_parents_are_delivered(store: Any) -> None:
    """They are merged while they are read; one of them is done long before the other."""
    store.create(2)
    store.put(0, range(50))
    store.put(1, range(50, 100))
    late = store.control.fault("hang", "pull_logs", shard=0)
    member = store.member(group_in_order=True).start().until_rows(50)
    store.hits(late)
    merged = store.control.merge("demo", "logs", 0)
    store.put(merged, range(100, 150))
    store.wait(lambda state: state["shards"][1]["state"] == "over")
    assert all(merged not in beat["assigned"] for beat in store.after_beats(3))
    assert member.values() == [str(n) for n in range(50, 100)]
    store.control.release(late)
    member.until_rows(150).stop().ended()
    assert member.values() == [str(n) for n in [*range(50, 100), *range(50), *range(100, 150)]]


def test_in_order_the_children_of_a_shard_that_is_split_empty_while_it_is_read_are_read(store: Any) -> None:
    """It has never held a log, and so nothing comes from it that could be committed."""
    store.create(1)
    member = store.member(group_in_order=True).start()
    store.control.wait_for("pull", shard=0)
    children = store.control.split("demo", "logs", 0)
    grandchildren = store.control.split("demo", "logs", children[0])
    rows = _both(store, [*grandchildren, children[1]], 0)
    member.until_rows(30).stop().ended()
    assert sorted(member.values(), key=int) == rows
    states = {shard["shard"]: shard["state"] for shard in store.state()["shards"]}
    assert states[0] == states[children[0]] == "over"


def test_in_order_the_children_of_an_evicted_members_shard_come_after_what_it_did_not_deliver(store: Any) -> None:
    """It had read the parent to its end; the next owner reads it once more, and then the children."""
    store.create(1)
    store.put(0, range(50))
    member = store.member(group_in_order=True).hold().start().until_rows(50)
    children = store.control.split("demo", "logs", 0)
    _both(store, children, 50)
    store.control.evict("demo", "logs", "readers", store.names()[0])
    member.until_rows(100)
    member.settle()
    member.until_rows(120).stop().ended()
    assert member.values()[:100] == [str(n) for n in [*range(50), *range(50)]]
    assert sorted(member.values()[100:]) == [str(n) for n in range(50, 70)]


def test_a_bounded_run_ends_where_the_shards_stood_before_a_split(store: Any) -> None:
    store.create(1)
    store.put(0, range(50))
    pulls = store.control.fault("hang", "pull_logs")
    member = store.member(until="end").start()
    store.hits(pulls)
    _both(store, store.control.split("demo", "logs", 0), 50)
    store.control.release(pulls)
    member.ended()
    assert sorted(map(int, member.values())) == list(range(50))
    rest = store.member(until="end").start().ended()
    assert sorted(map(int, rest.values())) == list(range(50, 70))
