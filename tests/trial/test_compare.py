"""Rows against rows: what is the same, what is missing, and how that is shown."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etlcore.trial.compare import compare
from etlcore.trial.matching import pair

UTC = dt.timezone.utc  # noqa: UP017 - as a plugin may write it


@pytest.mark.parametrize(
    ("expected", "came"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"t": "2024-05-01T08:00:00Z"}, {"t": dt.datetime(2024, 5, 1, 8, tzinfo=UTC)}),
        ({"d": "2024-05-01", "x": "1.10", "b": "aGk="}, {"d": dt.date(2024, 5, 1), "x": Decimal("1.10"), "b": b"hi"}),
        ({"n": None}, {"n": float("nan")}),
        ({"n": 1e3}, {"n": 1000.0}),
        ({"n": [1, {"x": None, "y": 2}]}, {"n": (1, {"y": 2, "x": None})}),
        ({}, {}),
    ],
)
def test_the_same(expected: dict[str, Any], came: dict[str, Any]) -> None:
    assert compare("out", [expected], [came]) is None
    assert compare("out", [expected], [came], in_order=True, further_columns=True) is None


@pytest.mark.parametrize(
    ("expected", "came", "note"),
    [
        ({"n": 1}, {"n": 1.0}, "`n`: 1 is expected, 1.0 came: a whole number, and a number with a fraction"),
        ({"n": 1}, {"n": "1"}, '`n`: 1 is expected, "1" came: a whole number, and a text'),
        ({"n": 1}, {"n": True}, "`n`: 1 is expected, true came"),
        ({"a": 1, "n": None}, {"a": 1}, "`n`: there is no such column"),
        ({"a": 1}, {"a": 1, "n": None}, "`n`: no such column is expected"),
        (
            {"a": 1, "n": "x", "m": 2},
            {"a": 1, "n": "y", "m": 3},
            '`n`: "x" is expected, "y" came; `m`: 2 is expected, 3',
        ),
        ({"q": {"x": 1}}, {"q": {"x": 2}}, '`q`: {"x": 1} is expected, {"x": 2} came'),
    ],
)
def test_not_the_same(expected: dict[str, Any], came: dict[str, Any], note: str) -> None:
    found = compare("out", [expected], [came])
    assert found is not None
    assert (found.at, found.missing, found.unexpected) == ("out", 1, 1)
    assert [line[0] for line in found.diff] == ["-", "+"]
    assert found.notes[0].startswith(note)


def test_a_row_counts_as_often_as_it_comes() -> None:
    found = compare("out", [{"n": 1}, {"n": 1}, {"n": 2}], [{"n": 1}, {"n": 2}, {"n": 2}])
    assert found is not None
    assert sorted(found.diff) == [' {"n":1}', ' {"n":2}', '+{"n":2}', '-{"n":1}']


def test_the_order_counts_where_it_is_to() -> None:
    one, two, three = {"n": 1}, {"n": 2}, {"n": 3}
    assert compare("out", [one, two, three], [three, one, two]) is None
    assert compare("out", [one, two, three], [one, two, three], in_order=True) is None
    found = compare("out", [one, two, three], [one, three], in_order=True)
    assert found is not None
    assert found.diff == (' {"n":1}', '-{"n":2}', ' {"n":3}')
    found = compare("out", [one, two], [two, one], in_order=True)
    assert found is not None
    assert (found.missing, found.unexpected) == (2, 2)


def test_further_columns() -> None:
    came = [{"a": 1, "b": 2}, {"a": 1, "b": 3}]
    assert compare("out", [{"a": 1}, {"a": 1}], came, further_columns=True) is None
    assert compare("out", [{"a": 1}, {"b": 2}], came, further_columns=True) is None, "the first takes the second row"
    assert compare("out", [{}, {"b": 3}], came, further_columns=True, in_order=True) is None
    assert compare("out", [{"a": 1}], came, further_columns=True) is not None, "rows are counted all the same"
    assert compare("out", [{"c": None}, {"a": 1}], came, further_columns=True) is not None
    assert compare("out", [{"a": 1}, {"a": 1}], came) is not None


def test_long_stretches_that_are_as_expected_are_left_out() -> None:
    rows = [{"n": n} for n in range(1000)]
    found = compare("out", rows, [*rows[:500], {"n": -1}, *rows[501:]])
    assert found is not None
    assert found.diff == (
        " … 498 rows as expected",
        ' {"n":498}',
        ' {"n":499}',
        '-{"n":500}',
        '+{"n":-1}',
        ' {"n":501}',
        ' {"n":502}',
        " … 497 rows as expected",
    )


def test_a_value_that_json_cannot_hold_is_shown_as_python_shows_it() -> None:
    found = compare("out", [{"n": 1, "o": None}], [{"n": 1, "o": Ellipsis}])
    assert found is not None
    assert found.diff[1] == '+{"n":1,"o":"Ellipsis"}'


@given(st.lists(st.lists(st.integers(0, 5), max_size=4, unique=True), max_size=5))
def test_there_are_as_many_pairs_as_there_can_be(candidates: list[list[int]]) -> None:
    found = pair(candidates, alike=False)
    assert len(set(found.values())) == len(found)
    assert all(came in candidates[number] for number, came in found.items())
    most = max(
        sum(came in fitting for came, fitting in zip(order, candidates, strict=False))
        for order in permutations(range(6), len(candidates))
    )
    assert len(found) == most


@given(st.data())
def test_whatever_the_order_the_same_rows_are_the_same(data: st.DataObject) -> None:
    values = st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.text("ab", max_size=2))
    rows = data.draw(st.lists(st.dictionaries(st.sampled_from("xyz"), values, max_size=3), max_size=6))
    shuffled = data.draw(st.permutations(rows))
    assert compare("out", rows, shuffled) is None
    wider = [{**row, "more": 1} for row in shuffled]
    assert compare("out", rows, wider, further_columns=True) is None
    if rows:
        assert compare("out", rows, wider) is not None
        assert compare("out", rows[1:], shuffled) is not None
