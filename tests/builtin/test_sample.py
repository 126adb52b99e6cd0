"""The transform `sample`: the same for rows and for columns."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from etlcore import Batch
from tests.builtin.forms import Row, agree, outcome, rows, table, tables


def kept(use: Any, column: str, batches: list[Batch], **options: Any) -> list[Any]:
    stage = use("transform", "sample", **options)
    return [row[column] for row in outcome(stage, batches)[0].get(None, [])]


def test_every_third(use: Any) -> None:
    whole = table(id=list(range(1, 21)))
    assert kept(use, "id", [Batch.from_arrow(whole)], every=3) == [3, 6, 9, 12, 15, 18]
    parts = [Batch.from_arrow(whole.slice(start, 2)) for start in range(0, 20, 2)]
    assert kept(use, "id", parts, every=3) == [3, 6, 9, 12, 15, 18], "whatever the batches"


def test_a_fraction_of_the_rows(use: Any) -> None:
    whole = table(id=list(range(20_000)))
    once = kept(use, "id", [Batch.from_arrow(whole)], fraction=0.1)
    assert 1_700 < len(once) < 2_300
    assert (
        kept(use, "id", [Batch.from_arrow(whole.slice(0, 7)), Batch.from_arrow(whole.slice(7))], fraction=0.1) == once
    )
    assert kept(use, "id", [Batch.from_arrow(whole)], fraction=0.1, seed=1) != once
    assert kept(use, "id", [Batch.from_arrow(whole)], fraction=1) == list(range(20_000))


def test_each_worker_draws_for_itself(use: Any, new_context: Any) -> None:
    drawn = []
    for worker in range(2):
        stage = use("transform", "sample", context=new_context(worker=worker, workers=2), fraction=0.5)
        drawn.append(stage.process(Batch.from_arrow(table(id=list(range(100))))).rows)
    assert drawn[0] != drawn[1]


def test_all_rows_of_a_value_or_none(use: Any) -> None:
    users = [f"u{number % 500}" for number in range(2_000)]
    found = kept(use, "user", [Batch.from_arrow(table(user=users))], fraction=0.2, by="user")
    assert 60 < len(set(found)) < 140
    assert sorted(found) == sorted(user for user in users if user in set(found))
    again = kept(use, "user", rows([table(user=users[::-1])]), fraction=0.2, by="user")
    assert set(again) == set(found), "in every order and every form"
    assert set(kept(use, "user", [Batch.from_arrow(table(user=users))], fraction=0.2, by="user", seed=1)) != set(found)
    more = kept(use, "user", [Batch.from_arrow(table(user=users))], fraction=0.3, by="user")
    assert set(found) < set(more), "a larger share holds the smaller one"


def test_a_number_counts_as_its_text_does(use: Any) -> None:
    numbers = kept(use, "id", [Batch.from_arrow(table(id=list(range(100))))], fraction=0.5, by="id")
    texts = kept(use, "id", [Batch.from_arrow(table(id=[str(n) for n in range(100)]))], fraction=0.5, by="id")
    assert texts == [str(number) for number in numbers]


def test_rows_without_a_value_count_as_one_value(use: Any) -> None:
    for batch in (table(a=[None] * 10), table(other=list(range(10)))):
        stage = use("transform", "sample", fraction=0.5, by="a")
        outputs, _ = agree(stage, stage, [batch])
        assert len(outputs.get(None, [])) in (0, 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "say how much to keep in one way: fraction or every"),
        ({"fraction": 0.5, "every": 2}, "say how much to keep in one way"),
        ({"every": 2, "by": "a"}, "`by` goes with fraction"),
        ({"fraction": 0}, "greater than 0"),
        ({"fraction": 1.5}, "less than or equal to 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(use: Any, options: Row, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        use("transform", "sample", **options)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(
    batches=tables(),
    options=st.sampled_from([{"fraction": 0.5}, {"fraction": 0.5, "by": "a"}, {"every": 2}, {"every": 7}]),
)
def test_rows_and_columns_agree(use: Any, batches: list[pa.RecordBatch], options: Row) -> None:
    agree(use("transform", "sample", **options), use("transform", "sample", **options), batches)
