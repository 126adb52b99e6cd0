"""The transform `rename`: the same for rows and for columns."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from etlcore import Batch
from tests.builtin.forms import Row, columns, outcome, rows, table, tables


def renamed(use: Any, row: Row, **names: str) -> Row:
    """What a row becomes, the same in both forms."""
    stage = use("transform", "rename", columns=names)
    (made,) = stage.process(Batch.from_rows([row])).rows
    assert outcome(stage, columns([Batch.from_rows([row]).arrow]))[0] == {None: [made]}
    return made


def test_the_columns_that_are_not_named_stay_in_their_places(use: Any) -> None:
    made = renamed(use, {"a": 1, "b": 2, "c": 3}, b="x", missing="y")
    assert list(made.items()) == [("a", 1), ("x", 2), ("c", 3)]


def test_names_may_be_exchanged(use: Any) -> None:
    assert list(renamed(use, {"a": 1, "b": 2}, a="b", b="a").items()) == [("b", 1), ("a", 2)]


def test_a_column_of_the_new_name_is_replaced(use: Any) -> None:
    assert renamed(use, {"new": 1, "old": 2}, old="new") == {"new": 2}


def test_except_where_the_renamed_one_is_null(use: Any) -> None:
    assert renamed(use, {"new": 1, "old": None}, old="new") == {"new": 1}


def test_a_column_that_its_makers_renamed_in_the_middle_is_one_again(use: Any) -> None:
    stage = use("transform", "rename", columns={"old": "new"})
    mixed = Batch.from_arrow(table(old=[1, 2, None], new=[None, None, 3]))
    batches = [Batch.from_arrow(table(old=[0])), mixed, Batch.from_arrow(table(new=[4]))]
    assert [row["new"] for row in outcome(stage, batches)[0][None]] == [0, 1, 2, 3, 4]


def test_no_value_is_copied(use: Any) -> None:
    given_ = table(a=[1, 2], b=[3, 4])
    (out,) = use("transform", "rename", columns={"a": "x"}).process(Batch.from_arrow(given_))
    assert out.arrow.column("x").buffers()[1].address == given_.column("a").buffers()[1].address


def test_two_columns_with_one_new_name_are_refused(use: Any) -> None:
    with pytest.raises(ValidationError, match="two columns would be called 'x'"):
        use("transform", "rename", columns={"a": "x", "b": "x"})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(
    batches=tables(names=("a", "b", "c", "é")),
    names=st.dictionaries(
        st.sampled_from("abcé"), st.sampled_from(["a", "b", "c", "é", "new"]), min_size=1, max_size=3
    ).filter(lambda names: len(set(names.values())) == len(names)),
)
def test_rows_and_columns_agree(use: Any, batches: list[pa.RecordBatch], names: dict[str, str]) -> None:
    stage = use("transform", "rename", columns=names)
    for batch in batches:  # one that falls into two parts changes the order of its rows
        found, wanted = (outcome(stage, form([batch]))[0].get(None, []) for form in (columns, rows))
        assert sorted(map(repr, found)) == sorted(map(repr, wanted))
