"""The transform `select`: the same for rows and for columns."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from etlcore import Batch


def test_columns_are_kept_in_order_and_renamed(use: Any) -> None:
    select = use("transform", "select", columns={"uri": "request_uri", "when": "__time__"})
    out = select.process(Batch.from_rows([{"__time__": 1, "request_uri": "/a", "other": 2}]))
    assert out.rows == [{"uri": "/a", "when": 1}]
    assert list(out.rows[0]) == ["uri", "when"]


def test_a_list_keeps_names(use: Any) -> None:
    select = use("transform", "select", columns=["b", "a"])
    assert list(select.process(Batch.from_rows([{"a": 1, "b": 2}])).rows[0].items()) == [("b", 2), ("a", 1)]


def test_a_missing_column_is_null(use: Any) -> None:
    select = use("transform", "select", columns=["a", "b"])
    assert select.process(Batch.from_rows([{"a": 1}, {"b": 2}])).rows == [{"a": 1, "b": None}, {"a": None, "b": 2}]
    columns = pa.RecordBatch.from_pydict({"a": [1]})
    assert select.process(Batch.from_arrow(columns)).rows == [{"a": 1, "b": None}]


def test_columns_stay_columns_and_are_not_copied(use: Any) -> None:
    select = use("transform", "select", columns={"x": "a"})
    columns = pa.RecordBatch.from_pydict({"a": pa.array([1, 2, 3])})
    out = select.process(Batch.from_arrow(columns))
    assert out.columnar
    assert out.arrow.column("x").buffers()[1].address == columns.column("a").buffers()[1].address


def test_a_column_may_be_used_twice(use: Any) -> None:
    select = use("transform", "select", columns={"x": "a", "y": "a"})
    assert select.process(Batch.from_rows([{"a": 1}])).rows == [{"x": 1, "y": 1}]


@pytest.mark.parametrize("columns", [[], {}])
def test_nothing_to_select_is_refused(use: Any, columns: Any) -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        use("transform", "select", columns=columns)


def test_a_name_listed_twice_is_refused(use: Any) -> None:
    with pytest.raises(ValidationError, match="'a' is listed twice: name each column once"):
        use("transform", "select", columns=["a", "b", "a"])


names = st.sampled_from(["a", "b", "c", "é"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    columns=st.dictionaries(names, st.lists(st.none() | st.integers(-5, 5), min_size=3, max_size=3), min_size=1),
    wanted=st.dictionaries(names, names, min_size=1),
)
def test_rows_and_columns_agree(use: Any, columns: dict[str, list[int | None]], wanted: dict[str, str]) -> None:
    select = use("transform", "select", columns=wanted)
    made = pa.RecordBatch.from_pydict({name: pa.array(values, pa.int64()) for name, values in columns.items()})
    assert select.process(Batch.from_arrow(made)).rows == select.process(Batch.from_rows(made.to_pylist())).rows
