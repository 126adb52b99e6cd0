"""How rows are written as JSON lines, and read."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etlcore.builtin.jsonlines import BadLine, from_line, to_line, to_lines


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "null"),
        (True, "true"),
        (2**70, str(2**70)),
        (1.5, "1.5"),
        (float("nan"), "null"),
        (float("inf"), "null"),
        (-float("inf"), "null"),
        ([1, float("nan")], "[1,null]"),
        ("é中\u2028", '"é中\u2028"'),
        ('a"\\\n', '"a\\"\\\\\\n"'),
        ("\ud800", '"\\ud800"'),
        (datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), '"2024-01-02T03:04:05Z"'),
        (datetime(2024, 1, 2, 3, 4, 5, 6), '"2024-01-02T03:04:05.000006"'),
        (datetime(2024, 1, 2, tzinfo=timezone(timedelta(hours=8))), '"2024-01-02T00:00:00+08:00"'),
        (date(2024, 1, 2), '"2024-01-02"'),
        (time(1, 2, 3), '"01:02:03"'),
        (timedelta(minutes=1, milliseconds=500), "60.5"),
        (Decimal("1.10"), '"1.10"'),
        (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (b"\xff\xfe", '"__4="'),
        ((1, 2), "[1,2]"),
        ({"a": {"b": b"x"}}, '{"a":{"b":"eA=="}}'),
        ({1: "x"}, '{"1":"x"}'),
    ],
)
def test_values(value: Any, written: str) -> None:
    assert to_line({"v": value}).decode() == f'{{"v":{written}}}'


def test_a_surrogate_does_not_change_how_the_rest_of_the_row_is_written() -> None:
    row = {"s": "\ud800", "t": datetime(2024, 1, 1, tzinfo=UTC), "n": float("nan"), "b": b"\xff"}
    line = to_line(row)
    assert json.loads(line) == {"s": "\ud800", "t": "2024-01-01T00:00:00Z", "n": None, "b": "_w=="}


def test_lines_end_with_a_newline_and_hold_none() -> None:
    assert to_lines([{"a": "x\ny"}, {}]) == b'{"a":"x\\ny"}\n{}\n'
    assert to_lines([]) == b""


def test_keys_keep_their_order() -> None:
    assert to_line({"z": 1, "a": 2}) == b'{"z":1,"a":2}'


def test_a_value_without_a_form_is_an_error_that_names_its_column() -> None:
    with pytest.raises(
        TypeError, match=r"column 'bad' holds a value that JSON cannot \(list: .*convert it in a transform"
    ):
        to_line({"good": 1, "bad": [object()]})


def test_endless_nesting_is_an_error_that_names_its_column() -> None:
    row: dict[str, Any] = {"bad": []}
    row["bad"].append(row["bad"])
    with pytest.raises(TypeError, match="column 'bad'"):
        to_line(row)


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (b'{"a":1}', {"a": 1}),
        (b' \t{"a" : [1, {"b": null}]} \r', {"a": [1, {"b": None}]}),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b'{"a":123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
        (b'{"a":"\\ud800"}', {"a": "\ud800"}),
        (b'{"a":Infinity}', {"a": float("inf")}),
    ],
)
def test_reading(line: bytes, row: dict[str, Any]) -> None:
    assert from_line(line) == row


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"[1]", "not a JSON object but an array"),
        (b"5", "not a JSON object but a number"),
        (b"1.5", "not a JSON object but a number"),
        (b'"x"', "not a JSON object but a text"),
        (b"true", "not a JSON object but a truth value"),
        (b"null", "not a JSON object but null"),
        (b'{"a":\xff}', "not UTF-8: byte 0xff at byte 6"),
        (b'{"a"', "not JSON: expecting ':' delimiter (column 5)"),
        (b'{"a":1} x', "not JSON: extra data (column 9)"),
        (b"hello", "not JSON: expecting value (column 1)"),
        (b'{"a":"\x01"}', "not JSON: invalid control character at (column 7)"),
        (b'{"a":' + b"[" * 100_000, "not readable: nested too deeply"),
        (b'{"a":' + b"9" * 5000 + b"", "not "),
    ],
)
def test_lines_that_are_no_rows(line: bytes, message: str) -> None:
    with pytest.raises(BadLine) as caught:
        from_line(line)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 300


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), values, max_size=4))
def test_rows_of_json_values_come_back(row: dict[str, Any]) -> None:
    line = to_line(row)
    line.decode("utf-8")
    assert b"\n" not in line
    assert from_line(line) == row
