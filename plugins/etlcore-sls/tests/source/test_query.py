"""Reading what an SPL query or a processor leaves of the logs."""

from __future__ import annotations

from typing import Any

import pytest

QUERY = "* | where kind = 'odd'"


def _fill(store: Any, groups: int, kinds: tuple[str, ...] = ("even", "odd")) -> None:
    rows = [{"n": str(n), "kind": kinds[n % len(kinds)]} for n in range(groups * 10)]
    store.control.put("demo", "logs", rows, shard=0, rows_per_group=10)


@pytest.fixture(params=["query", "processor"])
def asked(request: pytest.FixtureRequest, store: Any) -> dict[str, str]:
    store.create(1)
    if request.param == "query":
        return {"query": QUERY}
    store.sdk()._send(
        "PUT",
        "demo",
        b'{"configuration": {"type": "SPL", "spl": "' + QUERY.encode() + b'"}, "displayName": "odd"}',
        "/consumeprocessors/odd",
        {},
        {"Content-Type": "application/json"},
    )
    return {"processor": "odd"}


def test_the_rows_that_are_left_are_read(store: Any, asked: dict[str, str]) -> None:
    _fill(store, 10)
    member = store.member(until="end", fetch_groups=3, **asked).start().ended()
    assert member.values() == [str(n) for n in range(1, 100, 2)]
    assert store.checkpoints() == {0: 10}


def test_pages_of_which_nothing_is_left_move_the_checkpoint(store: Any, asked: dict[str, str]) -> None:
    """Or the next run would scan them again."""
    _fill(store, 20, kinds=("even",))
    member = store.member(until="end", fetch_groups=1, **asked).start().ended()
    assert member.rows == []
    assert store.checkpoints() == {0: 20}


def test_a_bounded_run_does_not_end_at_a_page_of_which_nothing_is_left(store: Any, asked: dict[str, str]) -> None:
    _fill(store, 5, kinds=("even",))
    _fill(store, 1, kinds=("odd",))
    member = store.member(until="end", fetch_groups=1, **asked).start().ended()
    assert len(member.rows) == 10


def test_a_page_has_one_position(store: Any, asked: dict[str, str]) -> None:
    """Which log group a row came from cannot be told any more."""
    _fill(store, 10)
    member = store.member(until="end", **asked).start().ended()
    assert all(len(batch.marks) == 1 for batch in member.batches)
