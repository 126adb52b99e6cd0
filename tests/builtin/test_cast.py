"""The transform `cast`: the same for rows and for columns."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etlcore import Batch
from tests.builtin.forms import agree, columns, outcome, table, tables

NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
BAD: Any = object()


@pytest.mark.parametrize(
    ("kind", "value", "made"),
    [
        ("int", "200", 200),
        ("int", "-7", -7),
        ("int", "+7", 7),
        ("int", "7.0", 7),
        ("int", "1e3", 1000),
        ("int", 7.0, 7),
        ("int", True, 1),
        ("int", Decimal("7"), 7),
        ("int", str(2**63 - 1), 2**63 - 1),
        ("int", "0e-999", 0),
        ("int", 1.5, "1.5 is no whole number"),
        ("int", float("nan"), "nan is no whole number"),
        ("int", "0.5", "is no whole number"),
        ("int", "", "'' is no whole number"),
        ("int", " 7", "' 7' is no whole number"),
        ("int", "٣", "is no whole number"),
        ("int", str(2**63), "'9223372036854775808' is beyond 64 bits"),
        ("int", "1e999999999", "is beyond 64 bits"),
        ("int", [1], "a list is no whole number"),
        ("float", "0.1", 0.1),
        ("float", "1e-3", 0.001),
        ("float", 2**53 + 1, float(2**53 + 1)),
        ("float", "nan", "'nan' is no number"),
        ("float", "1e999", "is too large a number"),
        ("float", NOON, "a datetime is no number"),
        ("text", 7, "7"),
        ("text", 7.0, "7.0"),
        ("text", True, "true"),
        ("text", b"\xc3\xa9", "é"),
        ("text", ["a", None], '["a",null]'),
        ("text", {"a": None}, '{"a":null}'),
        ("text", date(2024, 2, 29), "2024-02-29"),
        ("text", NOON, "2024-02-29T12:00:00Z"),
        ("text", b"\xff", "bytes that are not UTF-8"),
        ("bool", "true", True),
        ("bool", "No", False),
        ("bool", "1", True),
        ("bool", 0, False),
        ("bool", 2, "2 is neither true nor false"),
        ("bool", "", "'' is neither true nor false"),
        ("timestamp", "2024-02-29T12:00:00Z", NOON),
        ("timestamp", "2024-02-29 12:00:00", NOON),
        ("timestamp", "2024-02-29T20:00:00+08:00", NOON),
        ("timestamp", "2024-02-29T12:00:00.5", NOON + timedelta(microseconds=500_000)),
        ("timestamp", "2024-02-29", NOON.replace(hour=0)),
        ("timestamp", date(2024, 2, 29), NOON.replace(hour=0)),
        ("timestamp", NOON.replace(tzinfo=None), NOON),
        ("timestamp", 1709208000, NOON),
        ("timestamp", -1, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("timestamp", 1709208000.25, NOON + timedelta(microseconds=250_000)),
        ("timestamp", "1709208000", NOON),
        ("timestamp", "2024-02-30T12:00:00Z", "is no time"),
        ("timestamp", 1709208000000, "is no time: neither ISO 8601 nor seconds since 1970"),
        ("timestamp", True, "True is no time"),
        ("date", "2024-02-29", date(2024, 2, 29)),
        ("date", "2024-02-29T23:30:00-01:00", date(2024, 3, 1)),
        ("date", NOON, date(2024, 2, 29)),
        ("date", "2024-02-30", "is no date"),
        ("date", 19782, "19782 is no date in ISO 8601"),
    ],
)
def test_what_becomes_of_a_value(use: Any, context: Any, kind: str, value: Any, made: Any) -> None:
    """Both alone, where it decides the column's type, and in a batch of rows."""
    stage = use("transform", "cast", columns={"v": kind})
    for batch in (Batch.from_rows([{"v": value}]), Batch.from_arrow(Batch.from_rows([{"v": value}]).arrow)):
        outputs, rejected = outcome(stage, [batch])
        if (isinstance(made, str) and kind != "text") or not outputs:
            ((_, reason),) = rejected
            assert reason.startswith("v: ")
            assert made in reason
        else:
            assert outputs == {None: [{"v": made}]}
            assert type(outputs[None][0]["v"]) is type(made)


def test_only_the_rows_that_cannot_be_cast_are_rejected(use: Any, context: Any) -> None:
    stage = use("transform", "cast", columns={"a": "int", "b": "timestamp"})
    given_ = table(
        id=[0, 1, 2, 3], a=["1", "x", None, "4"], b=["2024-02-30T00:00:00", "y", None, "2024-02-29T12:00:00"]
    )
    outputs, rejected = agree(stage, stage, [given_])
    assert outputs[None] == [{"id": 2, "a": None, "b": None}, {"id": 3, "a": 4, "b": NOON}]
    assert [(row["id"], reason.partition(" is ")[0]) for row, reason in rejected] == [
        (0, "b: '2024-02-30T00:00:00'"),
        (1, "a: 'x'"),
    ]
    assert "; b: 'y' is no time" in rejected[1][1]


def test_the_schema_is_the_same_whatever_comes(use: Any) -> None:
    stage = use("transform", "cast", columns={"a": "int", "b": "timestamp", "c": "text"})
    drift = [
        table(a=[1, 2], b=["2024-02-29T12:00:00"] * 2, c=["x", "y"]),
        table(a=["1"], b=[0], c=[True]),
        table(a=[None], c=[0.5]),
        pa.RecordBatch.from_pydict(
            {"a": pa.array([], pa.string()).dictionary_encode(), "c": pa.array([], pa.binary())}
        ),
    ]
    for batch in columns(drift):
        schema = stage.process(batch).arrow.schema
        assert {name: schema.field(name).type for name in "abc"} == {
            "a": pa.int64(),
            "b": pa.timestamp("us", "UTC"),
            "c": pa.string(),
        }


@pytest.mark.parametrize("kind", ["int", "float", "text", "bool", "timestamp", "date"])
@pytest.mark.parametrize(
    "value",
    ["1e99999999999999999999", 10**5000, -(10**5000), "9" * 5000, "\ud800"],
    ids=["exponent", "huge", "negative", "digits", "surrogate"],
)
def test_no_value_breaks_it(use: Any, kind: str, value: Any) -> None:
    stage = use("transform", "cast", columns={"v": kind})
    outputs, rejected = outcome(stage, [Batch.from_rows([{"v": value}])])
    assert outputs == {None: [{"v": value}]} if kind == "text" and isinstance(value, str) else len(rejected) == 1


def test_the_rows_given_are_not_changed(use: Any) -> None:
    rows = [{"a": "1"}]
    use("transform", "cast", columns={"a": "int"}).process(Batch.from_rows(rows))
    assert rows == [{"a": "1"}]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=250)
@given(
    batches=tables(names=("a", "b")),
    types=st.dictionaries(
        st.sampled_from("ab"), st.sampled_from(["int", "float", "text", "bool", "timestamp", "date"]), min_size=1
    ),
)
def test_rows_and_columns_agree(use: Any, batches: list[pa.RecordBatch], types: dict[str, str]) -> None:
    stage = use("transform", "cast", columns=types)
    agree(stage, stage, batches)


spellings = st.from_regex(r"[-+]?[0-9]{0,20}(\.[0-9]{0,3})?([eE][-+]?[0-9]{1,3})?", fullmatch=True)
moments = st.from_regex(
    r"[0-3][0-9]{3}-[01][0-9]-[0-3][0-9]([T ][0-2][0-9]:[0-6][0-9](:[0-6][0-9](\.[0-9]{1,7})?)?(Z|\+08:00)?)?",
    fullmatch=True,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=250)
@given(
    texts=st.lists(spellings | moments | st.none(), max_size=8),
    kind=st.sampled_from(["int", "float", "timestamp", "date"]),
)
def test_texts_in_rows_and_in_columns_agree(use: Any, texts: list[str | None], kind: str) -> None:
    stage = use("transform", "cast", columns={"v": kind})
    agree(stage, stage, [pa.RecordBatch.from_pydict({"v": pa.array(texts, pa.string())})])
