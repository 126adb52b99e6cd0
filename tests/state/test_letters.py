"""Which dead letters are meant, and what becomes of them; and what is known of each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from etlcore.state import DeadLetter, Selection, StateStore

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    with StateStore(tmp_path / ".etl") as opened:
        yield opened


def letter(**about: Any) -> DeadLetter:
    return DeadLetter(**{"pipeline": "p", "stage": "s", "reason": "bad", "row": {"a": 1}, "run": "r1", **about})


def ids(store: StateStore, selection: Selection, **about: Any) -> list[int | None]:
    return [found.id for found in store.letters(selection, **about)]


def test_what_is_known_of_a_letter_comes_back(store: StateStore) -> None:
    store.add_dead_letters([letter(version="abc", attempts=3, replayed_from=17), letter()])
    first, second = store.letters(Selection())
    assert (first.version, first.attempts, first.replayed_from) == ("abc", 3, 17)
    assert (second.version, second.attempts, second.replayed_from) == (None, 1, None)


@pytest.mark.parametrize(
    ("selection", "meant"),
    [
        (Selection(), [1, 2, 3, 4, 5]),
        (Selection(pipeline="p"), [1, 2, 3, 4]),
        (Selection(stage="t"), [3, 5]),
        (Selection(reason="NO number"), [1, 3]),
        (Selection(reason="100%"), [4]),
        (Selection(reason="a_b"), [5]),
        (Selection(reason="back\\slash"), [2]),
        (Selection(since=NOON), [3, 4, 5]),
        (Selection(before=NOON), [1, 2]),
        (Selection(since=NOON - timedelta(hours=1), before=NOON + timedelta(hours=1)), [2, 3]),
        (Selection(ids=[5, 1, 99]), [1, 5]),
        (Selection(ids=[]), []),
        (Selection(upto=2), [1, 2]),
        (Selection(pipeline="p", stage="t", reason="no number", since=NOON, ids=[3], upto=3), [3]),
        (Selection(pipeline="q", stage="s"), []),
    ],
    ids=str,
)
def test_filters(store: StateStore, selection: Selection, meant: list[int]) -> None:
    hour = timedelta(hours=1)
    store.add_dead_letters(
        [
            letter(reason="no number: x", time=NOON - 2 * hour),
            letter(reason="back\\slash", time=NOON - hour),
            letter(stage="t", reason="No Number", time=NOON),
            letter(reason="100% wrong", time=NOON + hour),
            letter(pipeline="q", stage="t", reason="a_b", time=NOON + 2 * hour),
        ]
    )
    store.add_dead_letters([])
    assert ids(store, selection) == meant
    assert sum(store.count_letters(selection).values()) == len(meant)
    assert sum(count for _, _, count in store.count_reasons(selection, 9)) == len(meant)
    assert store.delete_letters(selection) == len(meant)
    assert ids(store, Selection()) == [number for number in range(1, 6) if number not in meant]


def test_times_are_compared_as_times_whatever_their_zone(store: StateStore) -> None:
    from datetime import timezone

    store.add_dead_letters([letter(time=NOON)])
    east = timezone(timedelta(hours=8))
    assert ids(store, Selection(since=NOON.astimezone(east))) == [1]
    assert ids(store, Selection(since=NOON.astimezone(east) + timedelta(microseconds=1))) == []


def test_the_newest_ones_oldest_first(store: StateStore) -> None:
    store.add_dead_letters([letter(stage="st"[n % 2]) for n in range(1300)])
    assert ids(store, Selection(), newest=3) == [1298, 1299, 1300]
    assert ids(store, Selection(stage="s"), newest=2) == [1297, 1299]
    assert ids(store, Selection(), newest=9999) == list(range(1, 1301))
    assert ids(store, Selection(stage="x"), newest=2) == []


def test_counts_and_reasons(store: StateStore) -> None:
    store.add_dead_letters([letter(reason="a"), letter(reason="b"), letter(reason="b"), letter(pipeline="q")])
    assert store.count_letters(Selection()) == {("p", "s"): 3, ("q", "s"): 1}
    assert store.count_reasons(Selection(pipeline="p"), 1) == [("s", "b", 2)]
    assert store.pipelines() == ["p", "q"]


def test_ids_are_never_used_again(store: StateStore) -> None:
    """A letter that says what it was replayed from must not point at another one some day."""
    store.add_dead_letters([letter(), letter()])
    store.delete_letters(Selection())
    assert store.last_letter() == 0
    store.add_dead_letters([letter()])
    assert store.last_letter() == 3


def test_what_came_from_a_letter_that_is_still_there_is_deleted(store: StateStore) -> None:
    store.add_dead_letters(
        [letter(), letter(), letter(replayed_from=1), letter(replayed_from=2), letter(replayed_from=77), letter()]
    )
    assert store.delete_descendants(Selection(ids=[1])) == 1
    assert ids(store, Selection()) == [1, 2, 4, 5, 6]
    assert store.delete_descendants(Selection()) == 1
    assert ids(store, Selection()) == [1, 2, 5, 6]
    assert store.delete_descendants(Selection()) == 0


def test_nothing_is_made_where_nothing_is(store: StateStore) -> None:
    assert store.delete_letters(Selection()) == 0
    assert store.delete_descendants(Selection()) == 0
    assert store.last_letter() == 0
    assert store.count_letters(Selection()) == {}
    assert store.count_reasons(Selection(), 3) == []
    assert store.pipelines() == []
    assert store.stored_positions("p") == []
    assert store.runs("p") == []
    store.delete_positions("p", "s", [])
    store.close()
    assert not store.directory.exists()


def test_secrets_are_taken_out_before_they_are_stored(tmp_path: Path) -> None:
    with StateStore(tmp_path, mask=lambda text: text.replace("hush", "***")) as store:
        store.add_dead_letters([letter(reason="key hush", traceback="at hush\nhush", row={"a": "hush"})])
        (found,) = store.letters(Selection())
    assert (found.reason, found.traceback) == ("key ***", "at ***\n***")
    assert found.row == {"a": "hush"}, "the row is kept as it was"
