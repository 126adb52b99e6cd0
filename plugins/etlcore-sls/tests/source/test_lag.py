"""How far behind each shard is: seconds since the service received the first log that was not fetched yet."""

from __future__ import annotations

from typing import Any

AT_LEAST = 498  # seconds; the service counts whole ones


def _lag(member: Any, shard: int) -> float:
    return float(member.metrics.gauges.get(("lag_seconds", f"shard {shard}"), -1))


def _behind(store: Any, shard: int) -> None:
    """Two hundred log groups, received long ago."""
    store.control.advance_clock(-500)
    store.put(shard, range(200), per_group=1)
    store.control.advance_clock(500)


def test_the_lag_of_a_shard_that_is_behind_is_told(store: Any) -> None:
    store.create(2)
    _behind(store, 1)
    second_page = store.control.fault("hang", "pull_logs", shard=1, skip=1)
    member = store.member(fetch_groups=100).start()
    member.until(lambda m: _lag(m, 1) >= AT_LEAST)
    assert _lag(member, 0) == 0
    store.control.release(second_page)
    member.until(lambda m: _lag(m, 1) == 0).stop().ended()


def test_the_lag_grows_while_the_worker_waits_for_the_sink(store: Any) -> None:
    """What came was read ahead to its very end, again and again, until there was no more room."""
    store.create(1)
    member = store.member(group_timeout_seconds=10_000).hold().pause_at(10).start()
    store.control.wait_for("pull", shard=0)
    for n in range(5):  # one page for the worker's hands, four ahead
        mark = store.control.last_event()
        store.put(0, range(10 * n, 10 * n + 10))
        store.control.wait_for("pull", shard=0, groups=1, after=mark)
        if n == 0:
            member.until_rows(10)
    look = store.control.fault("hang", "get_cursor", shard=0)
    store.hits(look)
    store.put(0, range(50, 60))
    store.control.advance_clock(500)
    store.control.release(look)
    member.until(lambda m: _lag(m, 0) >= AT_LEAST)
    assert len(member.rows) == 10
    member.settle()
    member.reading.set()
    member.until_rows(60).until(lambda m: _lag(m, 0) == 0).stop().ended()


def test_the_lag_of_a_shard_that_another_has_by_now_is_not_told_any_more(store: Any) -> None:
    store.create(2)
    _behind(store, 1)
    under_way = store.control.fault("hang", "pull_logs", shard=1, skip=1, count=1)
    first = store.member(fetch_groups=100).start().until(lambda m: _lag(m, 1) >= AT_LEAST)
    second = store.member().start().until_rows(100)
    first.until(lambda m: _lag(m, 1) == 0)
    store.control.release(under_way)
    first.stop().ended()
    second.stop().ended()
