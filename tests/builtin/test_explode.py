"""The transform `explode`: the same for rows and for columns."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from etlcore import Batch
from tests.builtin.forms import Row, agree, outcome, table, tables

ROWS = table(id=[1, 2, 3, 4], tags=[["a", "b"], [], None, ["c"]])


def exploded(use: Any, given_: pa.RecordBatch = ROWS, **options: Any) -> list[Row]:
    """What comes out, the same in both forms."""
    stage = use("transform", "explode", column="tags", **options)
    outputs, rejected = agree(stage, stage, [given_])
    assert not rejected
    return outputs.get(None, [])


def test_a_row_for_each_element(use: Any) -> None:
    assert [(row["id"], row["tags"]) for row in exploded(use)] == [(1, "a"), (1, "b"), (2, None), (3, None), (4, "c")]


def test_empty_lists_may_be_dropped(use: Any) -> None:
    assert [row["id"] for row in exploded(use, empty="drop")] == [1, 1, 4]


def test_the_element_and_its_index_have_names(use: Any) -> None:
    made = exploded(use, into="tag", index="at")
    assert made[:3] == [
        {"id": 1, "tag": "a", "at": 0},
        {"id": 1, "tag": "b", "at": 1},
        {"id": 2, "tag": None, "at": None},
    ]


def test_a_missing_column_is_null(use: Any) -> None:
    assert exploded(use, table(id=[1])) == [{"id": 1, "tags": None}]
    assert exploded(use, table(id=[1]), empty="drop") == []
    assert exploded(use, table(id=[1]), into="tag") == [{"id": 1, "tag": None}]


@pytest.mark.parametrize("kind", [pa.list_(pa.int32()), pa.large_list(pa.int32()), pa.list_(pa.int32(), 2)])
def test_lists_of_every_make(use: Any, kind: pa.DataType) -> None:
    lists = pa.array([[0, 0], [1, 2], None, [3, None]], kind).slice(1)
    given_ = pa.RecordBatch.from_pydict({"tags": lists})
    assert [row["tags"] for row in exploded(use, given_)] == [1, 2, None, 3, None]
    (out,) = use("transform", "explode", column="tags").process(Batch.from_arrow(given_))
    assert out.arrow.schema.field("tags").type == pa.int32()


def test_what_is_no_list_is_a_dead_letter(use: Any, context: Any) -> None:
    stage = use("transform", "explode", column="tags")
    outputs, rejected = agree(stage, stage, [table(tags=["a", None])])
    assert outputs == {None: [{"tags": None}]}
    assert rejected == [({"tags": "a"}, "column 'tags' holds a text, not a list")]
    outputs, rejected = outcome(stage, [Batch.from_rows([{"tags": [1]}, {"tags": {"a": 1}}, {"tags": (2,)}])])
    assert [row["tags"] for row in outputs[None]] == [1, 2]
    assert [reason for _, reason in rejected] == ["column 'tags' holds a dict, not a list"]


def test_long_lists_come_in_several_batches(use: Any) -> None:
    stage = use("transform", "explode", column="tags", index="at")
    given_ = table(tags=[list(range(100_000)), [], [1]])
    for batch in (Batch.from_arrow(given_), Batch.from_rows(given_.to_pylist())):
        made = list(stage.process(batch))
        assert max(map(len, made)) < 70_000
        assert [at for out in made for at in out.arrow.column("at").to_pylist()] == [*range(100_000), None, 0]


def test_two_columns_of_one_name_are_refused(use: Any) -> None:
    with pytest.raises(ValidationError, match="would both be called 'tags'"):
        use("transform", "explode", column="tags", index="tags")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(
    batches=tables(),
    options=st.fixed_dictionaries(
        {"column": st.just("a")},
        optional={
            "into": st.sampled_from(["b", "new"]),
            "index": st.sampled_from(["c", "at"]),
            "empty": st.just("drop"),
        },
    ),
)
def test_rows_and_columns_agree(use: Any, batches: list[pa.RecordBatch], options: Row) -> None:
    stage = use("transform", "explode", **options)
    agree(stage, stage, batches)
