"""The transform `filter`: what its conditions mean, for rows and for columns alike."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from etlcore import Batch

ROWS: list[dict[str, Any]] = [
    {"id": 0, "status": 200, "method": "GET", "uri": "/a", "ok": True, "took": 0.5, "size": "10"},
    {"id": 1, "status": 404, "method": "POST", "uri": "/a/b.png", "ok": False, "took": 1.5, "size": "9"},
    {"id": 2, "status": 500, "method": None, "uri": "/50%_off", "ok": None, "took": None, "size": "x"},
    {"id": 3, "status": None, "method": "get", "uri": None, "ok": True, "took": float("nan"), "size": None},
]


def kept(use: Any, where: str, rows: list[dict[str, Any]] = ROWS) -> list[int]:
    """The ids of the rows that pass, checked to be the same for rows and for columns."""
    stage = use("transform", "filter", where=where)
    of_rows = [row["id"] for row in stage.process(Batch.from_rows(rows)).rows]
    columns = stage.process(Batch.from_arrow(Batch.from_rows(rows).arrow))
    assert columns.columnar
    assert [row["id"] for row in columns.rows] == of_rows
    return of_rows


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ("status = 404", [1]),
        ("status == 404", [1]),
        ("status != 404", [0, 2]),
        ("status <> 404", [0, 2]),
        ("status >= 404", [1, 2]),
        ("404 <= status", [1, 2]),
        ("status < 404.5", [0, 1]),
        ("status = 404.0", [1]),
        ("status = 404.5", []),
        ("status != 404.5", [0, 1, 2]),
        ("status > -1", [0, 1, 2]),
        ("status < 99999999999999999999999", [0, 1, 2]),
        ("status > 99999999999999999999999", []),
        ("took > 1", [1]),
        ("took = took", [0, 1]),
        ("took != took", [3]),
        ("method = 'GET'", [0]),
        ('method = "GET"', [0]),
        ("method < 'P'", [0]),
        ("ok", [0, 3]),
        ("not ok", [1]),
        ("ok = true", [0, 3]),
        ("ok != TRUE", [1]),
        ("ok is null", [2]),
        ("ok is not null", [0, 1, 3]),
        ("status is null or status = 200", [0, 3]),
        ("missing is null", [0, 1, 2, 3]),
        ("missing = 1", []),
        ("not missing = 1", []),
        ("missing = 'x' or id = 2", [2]),
        ("status in (200, 500)", [0, 2]),
        ("status not in (200, 500)", [1]),
        ("status in (200.0, 1.5)", [0]),
        ("method in ('GET', 'PUT',)", [0]),
        ("ok in (false)", [1]),
        ("uri like '/a%'", [0, 1]),
        ("uri like '/_'", [0]),
        ("uri like '%.png'", [1]),
        ("uri like '/50\\%\\_off'", [2]),
        ("uri not like '/a%'", [2]),
        ("uri matches '^/a(/|$)'", [0, 1]),
        ("uri matches '(?i)PNG'", [1]),
        ("uri startswith '/a/'", [1]),
        ("uri not startswith '/a'", [2]),
        ("uri endswith '_off'", [2]),
        ("uri contains '%'", [2]),
        ("number(size) > 9", [0]),
        ("number(size) is null", [2, 3]),
        ("number(status) = 200", [0]),
        ("id = 0 or id = 1 and status = 404", [0, 1]),
        ("(id = 0 or id = 1) and status = 404", [1]),
        ("not id = 0 and not id = 1", [2, 3]),
        ("not not id = 0", [0]),
        ("NOT (id IN (0, 1)) AND uri IS NULL", [3]),
        ("`id` = 3", [3]),
        ("id\n=\n3", [3]),
        ("id = status", []),
        ("id <= status", [0, 1, 2]),
    ],
)
def test_conditions(use: Any, where: str, ids: list[int]) -> None:
    assert kept(use, where) == ids


def test_odd_column_names_stand_in_backticks(use: Any) -> None:
    rows = [{"id": 0, "__tag__:host": "a", "größe": 1}, {"id": 1, "__tag__:host": "b", "größe": 2}]
    assert kept(use, "`__tag__:host` = 'b'", rows) == [1]
    assert kept(use, "größe = 1", rows) == [0]


def test_quotes_and_backslashes_in_texts(use: Any) -> None:
    rows = [{"id": 0, "t": "it's"}, {"id": 1, "t": 'a"b'}, {"id": 2, "t": "a\\d"}, {"id": 3, "t": "a7"}]
    assert kept(use, r"t = 'it\'s'", rows) == [0]
    assert kept(use, 't = "it\'s"', rows) == [0]
    assert kept(use, r't = "a\"b"', rows) == [1]
    assert kept(use, r"t = 'a\d'", rows) == [2], "a backslash stands for itself"
    assert kept(use, r"t matches 'a\d'", rows) == [3], "so that regular expressions read as usual"


def test_whole_numbers_are_compared_exactly(use: Any) -> None:
    big = 2**53
    rows = [{"id": 0, "n": big}, {"id": 1, "n": big + 1}, {"id": 2, "n": 2**63 - 1}, {"id": 3, "n": -(2**63)}]
    assert kept(use, f"n = {big + 1}", rows) == [1]
    assert kept(use, f"n > {big}.0", rows) == [1, 2]
    assert kept(use, f"n < -{2**63}", rows) == []
    assert kept(use, f"n <= {2**63}", rows) == [0, 1, 2, 3]
    assert kept(use, f"n in ({2**63 - 1}, {2**70})", rows) == [2]


def test_regular_expressions_are_re2_for_rows_too(use: Any) -> None:
    rows = [{"id": 0, "t": "a\n"}, {"id": 1, "t": "٣"}, {"id": 2, "t": "3"}]
    assert kept(use, "t matches 'a$'", rows) == []
    assert kept(use, r"t matches '^\d$'", rows) == [2]


def test_what_like_matches_is_the_whole_text_with_its_newlines(use: Any) -> None:
    rows = [{"id": 0, "t": "a\nb"}, {"id": 1, "t": "a\nbc"}, {"id": 2, "t": "a.b"}, {"id": 3, "t": "中"}]
    assert kept(use, "t like 'a_b'", rows) == [0, 2]
    assert kept(use, "t like 'a%'", rows) == [0, 1, 2]
    assert kept(use, "t like 'a.b'", rows) == [2]
    assert kept(use, "t like '_'", rows) == [3]


def test_times_compare_with_times(use: Any) -> None:
    rows = [
        {"id": 0, "a": datetime(2024, 1, 1, tzinfo=UTC), "b": datetime(2024, 1, 2, tzinfo=UTC)},
        {"id": 1, "a": datetime(2024, 1, 3, tzinfo=UTC), "b": None},
    ]
    assert kept(use, "a < b", rows) == [0]


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ("a >= '2024-01-03'", [1]),
        ("a = '2024-01-01T00:00:00Z'", [0]),
        ("a = '2024-01-01T08:00:00+08:00'", [0]),
        ("a < '2024-01-03T00:00:00'", [0]),
        ("a in ('2024-01-03', '2025-01-01T00:00:00Z')", [1]),
        ("n < '2024-01-01T00:00:00.000001'", [0]),
        ("d = '2024-02-29'", [1]),
        ("'2024-02-01' < d", [1]),
    ],
)
def test_times_and_dates_compare_with_iso_texts(use: Any, where: str, ids: list[int]) -> None:
    rows = [
        {"id": 0, "a": datetime(2024, 1, 1, tzinfo=UTC), "n": datetime(2024, 1, 1), "d": date(2024, 1, 1)},
        {"id": 1, "a": datetime(2024, 1, 3, tzinfo=UTC), "n": datetime(2024, 1, 2), "d": date(2024, 2, 29)},
        {"id": 2, "a": None, "n": None, "d": None},
    ]
    assert kept(use, where, rows) == ids


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_every_unit_compare_alike(use: Any, unit: str) -> None:
    stage = use("transform", "filter", where="t > '1970-01-01T00:00:01.5' or t < '0001-01-02'")
    column = pa.array([0, 1, 2], pa.timestamp("s")).cast(pa.timestamp(unit))
    columns = pa.RecordBatch.from_arrays([column, pa.array([0, 1, 2])], names=["t", "id"])
    assert stage.process(Batch.from_arrow(columns)).arrow.column("id").to_pylist() == [2]


def test_nanoseconds_do_not_stop_a_filter(use: Any) -> None:
    columns = pa.RecordBatch.from_pydict({"t": pa.array([1, 1001, None], pa.timestamp("ns")), "id": [0, 1, 2]})
    stage = use("transform", "filter", where="t is not null and id in (0, 1)")
    assert stage.process(Batch.from_arrow(columns)).arrow.column("id").to_pylist() == [0, 1]


def test_dictionaries_and_large_texts(use: Any) -> None:
    texts = pa.array(["a", None, "b"])
    stage = use("transform", "filter", where="t in ('b', 'c') or t startswith 'a'")
    for column in (texts.dictionary_encode(), texts.cast(pa.large_string())):
        columns = pa.RecordBatch.from_arrays([column, pa.array([0, 1, 2])], names=["t", "id"])
        out = stage.process(Batch.from_arrow(columns))
        assert out.arrow.column("id").to_pylist() == [0, 2]
        assert out.arrow.schema == columns.schema


def test_a_row_is_passed_on_as_it_is(use: Any) -> None:
    row = {"a": 1, "deep": {"x": [1]}}
    assert use("transform", "filter", where="a = 1").process(Batch.from_rows([row])).rows[0] is row


# Values that cannot be compared


@pytest.mark.parametrize(
    ("where", "row", "reason"),
    [
        ("a > 5", {"a": "7"}, "column 'a' holds a text and is compared with a number: write number(a)"),
        ("a = 'x'", {"a": 7}, "column 'a' holds a number and is compared with a text"),
        ("a = 1", {"a": True}, "column 'a' holds a truth value and is compared with a number"),
        ("a in (1, 2)", {"a": "1"}, "column 'a' holds a text and is compared with a number: write number(a)"),
        ("a", {"a": 1}, "column 'a' holds a number, which is no condition by itself: compare it"),
        ("a like 'x'", {"a": 1}, "column 'a' holds a number, but like is for texts"),
        ("a matches 'x'", {"a": [1]}, "column 'a' holds a list, but matches is for texts"),
        ("number(a) = 1", {"a": True}, "column 'a' holds a truth value, which number() cannot read"),
        ("a = 1", {"a": {"b": 1}}, "column 'a' holds a dict and is compared with a number"),
        (
            "a = b",
            {"a": 1, "b": "1"},
            "column 'a' holds a number and is compared with column 'b', which holds a text: write number(b)",
        ),
        ("a < b", {"a": True, "b": False}, "column 'a' and column 'b' hold truth values, which have no order"),
        (
            "a < b",
            {"a": datetime(2024, 1, 1), "b": datetime(2024, 1, 1, tzinfo=UTC)},
            "column 'a' holds a datetime and is compared with column 'b', which holds a datetime",
        ),
        (
            "a = 'soon'",
            {"a": date(2024, 1, 1)},
            "column 'a' holds a date and is compared with a text: write it as ISO 8601",
        ),
        (
            "a in ('2024-01-01T00:00:00Z')",
            {"a": datetime(2024, 1, 1)},
            "column 'a' holds a datetime and is compared with a text: write it as ISO 8601 without an offset",
        ),
    ],
)
def test_a_row_that_cannot_be_judged_is_a_dead_letter(
    use: Any, context: Any, where: str, row: dict[str, Any], reason: str
) -> None:
    stage = use("transform", "filter", where=where)
    batch = Batch.from_rows([row])
    for form in (batch, Batch.from_arrow(batch.arrow)):
        context.rejected.clear()
        assert stage.process(form).rows == []
        assert context.rejected == [(row, f"where: {reason}")]


def test_mixed_kinds_are_judged_row_by_row(use: Any, context: Any) -> None:
    rows = [{"a": 7}, {"a": "7"}, {"a": None}, {"a": Decimal("7.5")}, {"a": 7.5}]
    out = use("transform", "filter", where="a > 6").process(Batch.from_rows(rows))
    assert out.rows == [{"a": 7}, {"a": Decimal("7.5")}, {"a": 7.5}]
    assert [row for row, _ in context.rejected] == [{"a": "7"}]


def test_what_the_rest_decides_alone_needs_no_comparison(use: Any, context: Any) -> None:
    rows = [{"kind": "n", "v": 7}, {"kind": "t", "v": "x"}]
    assert use("transform", "filter", where="kind = 'n' and v > 5").process(Batch.from_rows(rows)).rows == rows[:1]
    assert use("transform", "filter", where="v > 5 or kind = 't'").process(Batch.from_rows(rows)).rows == rows
    assert context.rejected == []


def test_a_text_that_no_utf8_can_hold_is_a_dead_letter_to_a_regular_expression(use: Any, context: Any) -> None:
    rows = [{"t": "a\ud800"}, {"t": "a"}]
    assert use("transform", "filter", where="t matches 'a'").process(Batch.from_rows(rows)).rows == [{"t": "a"}]
    assert "lone surrogate" in context.rejected[0][1]


# Errors in the condition


@pytest.mark.parametrize(
    ("where", "at", "message"),
    [
        ("", 1, "there is nothing: write a condition such as `status >= 500`"),
        ("  ", 1, "there is nothing"),
        ("a", None, None),
        ("a =", 4, "expected a column or a constant, found the end"),
        ("a = 1 b", 7, "expected `and`, `or` or the end, found `b`"),
        ("a = 1 and", 10, "expected a column or a constant, found the end"),
        ("(a = 1", 7, "expected `)`, found the end"),
        ("a = 1)", 6, "expected `and`, `or` or the end, found `)`"),
        ("a && b", 3, "`&` is not understood: write `and`"),
        ("a | b", 3, "write `or`"),
        ("!a", 1, "write `not`, or `!=`"),
        ("a = 'x", 5, "the text has no closing quote"),
        ('a = "x', 5, "the text has no closing quote"),
        ("`a = 1", 1, "the column name has no closing backtick"),
        ("request-time > 1", 8, "put column names with such characters in backticks"),
        ("a.b = 1", 2, "backticks"),
        ("a = null", 3, "nothing compares with null: write `is null`"),
        ("a != None", 3, "nothing compares with null: write `is not null`"),
        ("a is 5", 6, "expected `null` (for other values write `=`), found `5`"),
        ("1 < a < 5", 7, "comparisons do not chain: join two of them with `and`"),
        ("1 = 1", 3, "two constants are compared: name a column"),
        ("(a) = 1", 5, "a condition in parentheses cannot be compared"),
        ("true", 5, "expected a comparison such as `= 1`, found the end"),
        ("a < true", 3, "true and false have no order"),
        ("a in ()", 7, "the list is empty"),
        ("a in 1", 6, "expected `(`, found `1`"),
        ("a in (1, 'x')", 10, "the list mixes a number with a text"),
        ("a in (1, null)", 10, "a list holds constants only (for null write `or … is null`)"),
        ("a in (b)", 7, "a list holds constants only"),
        ("a in (1 2)", 9, "expected `,` or `)`, found `2`"),
        ("5 in (1)", 1, "a constant is tested: name a column"),
        ("a not 5", 7, "expected `in` or one of `like`"),
        ("a like b", 8, "expected a text in quotes after `like`, found `b`"),
        ("'x' like 'y'", 1, "`like` looks at a column of texts: name one before it"),
        ("a like 'x\\y'", 8, "a backslash in a `like` pattern stands before `%`, `_` or another backslash"),
        ("a matches '('", 11, "the regular expression is not valid RE2: missing ): ("),
        ("a matches '(?=x)'", 11, "the regular expression is not valid RE2"),
        ("lower(a) = 'x'", 1, "there is no function `lower`: there is only number(column)"),
        ("number(5) = 5", 8, "number(…) takes a column"),
        ("number(a)", 10, "expected a comparison such as `= 1`, found the end"),
        ("number(a) = 'x'", 11, "number(…) is compared with a text"),
        ("and = 1", 1, "expected a column or a constant, found `and`"),
        ("a = 1e999", 5, "1e999 is too large a number"),
        ("a = 12abc", 5, "`1` is not understood: a name that begins with a digit stands in backticks"),
        ("__import__('os')", 1, "there is no function `__import__`"),
        ("(" * 101 + "a" + ")" * 101, 101, "nested more than 100 deep"),
        ("not " * 2000 + "a", 401, "nested more than 100 deep"),
    ],
)
def test_a_wrong_condition_is_refused_at_its_place(use: Any, where: str, at: int | None, message: str | None) -> None:
    if message is None:
        use("transform", "filter", where=where)
        return
    with pytest.raises(ValidationError) as caught:
        use("transform", "filter", where=where)
    (error,) = caught.value.errors()
    assert error["loc"] == ("where",)
    assert f"at character {at} of the expression: " in error["msg"]
    assert message in error["msg"]


@given(st.text(st.sampled_from("ab1'\"`()=<>! ,\\.%-eE") | st.characters(), max_size=12))
@example("a in (1,,2)")
@example("\ud800")
@example("a matches '\ud800'")
def test_any_text_is_a_condition_or_a_placed_error(text: str) -> None:
    from etlcore.builtin.expression import ExpressionError, parse

    offset = 0
    try:
        parse(text)
    except ExpressionError as error:
        offset = error.offset
    assert 0 <= offset <= len(text)


# Rows and columns agree

texts = st.sampled_from(
    ["", "a", "A", "ab", "a.b", "a\nb", "é", "中文", "%", "_", "\\", "10", "-5", "0.5", "1e3", " 1", "+1"]
)
more_texts = texts | st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
edges = st.sampled_from([0, 1, -1, 2**31, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)])
whole = edges | st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)
floats = st.sampled_from(
    [0.0, -0.0, 0.5, 1.0, -1.5, 2.0**53, 2.0**63, 1e300, float("nan"), float("inf"), -float("inf")]
)

moments = st.sampled_from([datetime(2024, 1, 1), datetime(1970, 1, 1, 0, 0, 0, 1)]) | st.datetimes(
    datetime(1900, 1, 1), datetime(2100, 1, 1)
)
columns = st.fixed_dictionaries(
    {
        "i": st.tuples(st.just(pa.int64()), whole),
        "u": st.tuples(st.just(pa.uint8()), st.integers(0, 255)),
        "f": st.tuples(st.just(pa.float64()), floats | st.floats()),
        "g": st.tuples(st.just(pa.float32()), st.floats(width=32)),
        "t": st.tuples(st.sampled_from([pa.string(), pa.large_string()]), more_texts),
        "b": st.tuples(st.just(pa.bool_()), st.booleans()),
        "w": st.tuples(st.just(pa.timestamp("us")), moments),
        "v": st.tuples(st.just(pa.timestamp("us", "UTC")), moments.map(lambda m: m.replace(tzinfo=UTC))),
        "n": st.tuples(st.just(pa.timestamp("ns")), moments),
        "y": st.tuples(st.just(pa.date32()), st.dates(date(1900, 1, 1), date(2100, 1, 1))),
        "l": st.tuples(st.just(pa.list_(pa.int64())), st.lists(st.integers(0, 3), max_size=2)),
        "d": st.tuples(st.just(pa.duration("us")), st.timedeltas(timedelta(-5), timedelta(5))),
        "z": st.tuples(st.just(pa.null()), st.none()),
    }
)


@st.composite
def tables(draw: st.DrawFn) -> pa.RecordBatch:
    count = draw(st.integers(0, 5))
    rows = [draw(columns) for _ in range(max(1, count))]
    arrays = {
        name: pa.array(
            [None if draw(st.booleans()) and draw(st.booleans()) else row[name][1] for row in rows][:count], kind
        )
        for name, (kind, _) in rows[0].items()
    }
    return pa.RecordBatch.from_pydict(arrays)


def quoted(text: str) -> str:
    return "'" + text.replace("'", "\\'") + "'" if not text.endswith("\\") else "'x'"


def like(text: str) -> str:
    return quoted(text.replace("\\", "\\\\"))


name = st.sampled_from(["i", "u", "f", "g", "t", "b", "w", "l", "d", "z", "v", "n", "y", "missing"])
number = (
    st.integers(-(2**64), 2**64).map(str) | whole.map(str) | st.floats(allow_nan=False, allow_infinity=False).map(repr)
)
times = st.sampled_from(
    ["2024-01-01", "2024-01-01T00:00:00Z", "1970-01-01T00:00:00.000001", "2024-01-01T01:00:00+01:00"]
)
constant = number | more_texts.map(quoted) | times.map(quoted)
operator = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
operand = name | name.map(lambda n: f"number({n})")
leaf = st.one_of(
    st.tuples(name, operator, constant).map(" ".join),
    st.tuples(name.map(lambda n: f"number({n})"), operator, number).map(" ".join),
    st.tuples(operand, operator, operand).map(" ".join),
    st.tuples(name, st.sampled_from(["=", "!="]), st.sampled_from(["true", "false"])).map(" ".join),
    st.tuples(operand, st.sampled_from(["is null", "is not null"])).map(" ".join),
    st.tuples(operand, st.sampled_from(["in", "not in"]), st.lists(number, min_size=1, max_size=3).map(", ".join)).map(
        lambda p: f"{p[0]} {p[1]} ({p[2]})"
    ),
    st.tuples(name, st.lists((more_texts | times).map(quoted), min_size=1, max_size=3).map(", ".join)).map(
        lambda p: f"{p[0]} in ({p[1]})"
    ),
    st.tuples(name, st.sampled_from(["startswith", "endswith", "contains"]), more_texts.map(quoted)).map(" ".join),
    st.tuples(name, st.sampled_from(["like", "not like"]), more_texts.map(like)).map(" ".join),
    st.tuples(name, st.just("matches"), st.sampled_from(["'a'", "'^.$'", r"'\d+'", "'(?i)A|é'", "''"])).map(" ".join),
    name,
)
conditions = st.recursive(
    leaf,
    lambda inner: (
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda p: f"({p[0]}) {p[1]} ({p[2]})")
        | inner.map(lambda text: f"not ({text})")
    ),
    max_leaves=4,
)


def same(rows: list[Any]) -> str:
    return repr(rows)  # so that NaN equals itself


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=400)
@given(table=tables(), where=conditions)
def test_rows_and_columns_agree(use: Any, context: Any, table: pa.RecordBatch, where: str) -> None:
    stage = use("transform", "filter", where=where)
    context.rejected.clear()
    of_columns = stage.process(Batch.from_arrow(table)).rows
    rejected_columns = list(context.rejected)
    context.rejected.clear()
    of_rows = stage.process(Batch.from_rows(Batch.from_arrow(table).rows)).rows
    assert same(of_columns) == same(of_rows)
    assert same(rejected_columns) == same(context.rejected)
    assert len(of_rows) + len(context.rejected) <= len(table)
