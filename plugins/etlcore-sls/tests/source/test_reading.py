"""What the source reads, where it starts, and what a next run reads."""

from __future__ import annotations

from typing import Any

import pytest


def test_all_shards_are_read_to_their_ends(store: Any) -> None:
    store.create(4)
    for shard in range(4):
        store.put(shard, range(shard * 100, shard * 100 + 100))
    member = store.member(until="end").start().ended()
    assert member.at_end
    assert sorted(map(int, member.values())) == list(range(400))
    assert store.checkpoints() == {0: 10, 1: 10, 2: 10, 3: 10}


def test_a_second_run_reads_nothing_and_ends(store: Any) -> None:
    store.create(2)
    store.put(0, range(50))
    store.member(until="end").start().ended()
    again = store.member(until="end").start().ended()
    assert again.at_end
    assert again.rows == []


def test_a_second_run_under_another_name_does_not_wait_for_the_first_ones_timeout(store: Any) -> None:
    store.create(2)
    store.put(0, range(50))
    store.member(until="end", consumer="first", group_timeout_seconds=100_000).start().ended()
    assert store.member(until="end", consumer="second").start().ended().rows == []


def test_rows_of_a_shard_keep_their_order(store: Any) -> None:
    store.create(2)
    store.put(0, range(5000), per_group=3)
    member = store.member(until="end", fetch_groups=100).start().ended()
    assert member.values() == [str(n) for n in range(5000)]


def test_each_log_group_ends_at_a_position_of_its_own(store: Any) -> None:
    store.create(1)
    store.put(0, range(25), per_group=10)
    member = store.member(until="end").start().ended()
    batch = next(batch for batch in member.batches if batch.rows)
    assert [end for end, _ in batch.marks] == [10, 20, 25]
    assert {position.partition for _, position in batch.marks} == {"shard 0"}


def test_large_pages_become_several_batches(store: Any) -> None:
    store.create(1)
    store.put(0, range(20_000), per_group=1000)
    member = store.member(until="end").start().ended()
    assert member.values() == [str(n) for n in range(20_000)]
    assert max(len(batch) for batch in member.batches) == 5000  # the first group that takes it to 4,096


def test_the_next_run_starts_behind_what_was_settled(store: Any) -> None:
    store.create(1)
    store.put(0, range(100))
    first = store.member().start().until_rows(100)
    store.wait(lambda state: state["rows_committed"] == 100)
    first.hold()
    store.put(0, range(100, 150))
    first.until_rows(150).abandon().ended()
    assert store.checkpoints() == {0: 10}
    second = store.member(until="end").start().ended()
    assert second.values() == [str(n) for n in range(100, 150)]


@pytest.mark.parametrize("start", ["begin", "end"])
def test_without_a_checkpoint_reading_starts_at(store: Any, start: str) -> None:
    store.create(1)
    store.put(0, range(10))
    member = store.member(start=start).start()
    store.wait(lambda state: all(shard["checkpoint"] is not None for shard in state["shards"]))
    store.put(0, range(10, 20))
    member.until_rows(20 if start == "begin" else 10).stop().ended()
    assert member.values() == [str(n) for n in range(0 if start == "begin" else 10, 20)]


def test_reading_starts_at_a_time_of_receipt(store: Any) -> None:
    store.create(1)
    store.put(0, range(10))
    store.control.advance_clock(100)
    moment = int(store.emulator.service.now())
    store.put(0, range(10, 20))
    member = store.member(start=moment, until="end").start().ended()
    assert member.values() == [str(n) for n in range(10, 20)]


def test_start_end_means_the_same_place_in_the_next_run(store: Any) -> None:
    """Also when the first run saw no log at all: what came between the runs is read."""
    store.create(2)
    store.put(0, range(10))
    store.member(start="end", until="end").start().ended()
    store.put(0, range(10, 20))
    store.put(1, range(20, 30))
    member = store.member(start="end", until="end").start().ended()
    assert sorted(member.values()) == [str(n) for n in range(10, 30)]


def test_logs_that_arrive_while_it_runs_are_read(store: Any) -> None:
    store.create(2)
    member = store.member().start()
    for n in range(5):
        store.put(n % 2, range(n * 10, n * 10 + 10))
        member.until_rows(n * 10 + 10)
    member.stop().ended()
    assert not member.at_end
    assert sorted(map(int, member.values())) == list(range(50))


@pytest.mark.parametrize("compression", ["lz4", "zstd", "none"])
def test_compressions(store: Any, compression: str) -> None:
    store.create(1)
    store.put(0, range(1000))
    member = store.member(until="end", compression=compression).start().ended()
    assert len(member.rows) == 1000


def test_reading_ahead_is_bounded(store: Any) -> None:
    """While the worker is held up, fetchers stop at the bound; they go on when there is room again."""
    store.create(4)
    for shard in range(4):
        rows = [{"n": str(n), "x": "x" * 1000} for n in range(200)]
        store.control.put("demo", "logs", rows, shard=shard, rows_per_group=1)
    member = store.member(until="end", fetch_bytes=20_000, fetch_groups=5, fetch_threads=2).pause_at(1)
    member.start().until_rows(5)
    store.after_beats(5)
    pulled = sum(event["groups"] for event in store.control.events("pull"))
    assert 1 <= pulled <= 20 + 2 * 5 + 5  # the bound, one response for each thread, and a page in the worker's hands
    member.reading.set()
    member.ended()
    assert len(member.rows) == 800
