"""The transform `dedupe`: the same for rows and for columns."""

from __future__ import annotations

import tracemalloc
from collections import OrderedDict
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import etlcore
from etlcore import Batch
from etlcore.builtin import dedupe
from tests.builtin.forms import agree, outcome, table, tables


def kept(use: Any, *values: list[Any], **options: Any) -> list[int]:
    """The numbers of the rows that pass, of batches with these keys; the same in both forms."""
    batches, number = [], 0
    for keys in values:
        batches.append(table(id=list(range(number, number + len(keys))), k=keys))
        number += len(keys)
    stages = [use("transform", "dedupe", by=["k"], **options) for _ in range(2)]
    return [row["id"] for row in agree(*stages, batches)[0].get(None, [])]


def test_the_first_row_of_each_key_is_kept(use: Any) -> None:
    assert kept(use, ["a", "b", "a"], ["b", "c", "c"]) == [0, 1, 4]


def test_a_row_without_a_key_is_kept(use: Any) -> None:
    assert kept(use, [None, "a", None, "a"], [None, None]) == [0, 1, 2, 4, 5]


def test_a_key_counts_whatever_its_column_s_type(use: Any) -> None:
    assert kept(use, [1, 2], [1.0, 3.0], ["1"], [float("nan")], [float("nan"), -0.0, 0.0]) == [0, 1, 3, 4, 5, 7]


def test_several_columns_make_one_key(use: Any) -> None:
    given_ = table(id=[0, 1, 2, 3, 4], a=["x", "x", "y", "x", None], b=[1, 2, 1, 1, 1])
    stages = [use("transform", "dedupe", by=["a", "b"]) for _ in range(2)]
    assert [row["id"] for row in agree(*stages, [given_, given_])[0][None]] == [0, 1, 2, 4, 4]


def test_a_missing_column_makes_no_key(use: Any) -> None:
    stages = [use("transform", "dedupe", by=["a", "b"]) for _ in range(2)]
    assert len(agree(*stages, [table(a=[1, 1])])[0][None]) == 2


def test_lists_are_keys_too(use: Any) -> None:
    assert kept(use, [[1], [1, 2], [1], None]) == [0, 1, 3]


def test_a_key_is_forgotten_when_enough_others_were_seen_since(use: Any) -> None:
    assert kept(use, ["a", "b", "a", "c", "a", "b"], window=2) == [0, 1, 3, 5]
    assert kept(use, ["a"], ["a", "b"], ["a"], window=1) == [0, 2, 3]


def test_memory_is_bounded_whatever_the_keys(use: Any) -> None:
    stage = use("transform", "dedupe", by=["k"], window=1_000)
    tracemalloc.start()
    try:
        for number in range(30):
            stage.process(Batch.from_rows([{"k": f"{number}.{n} " + "x" * 5_000} for n in range(200)]))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1_000_000, "a thousand keys of 5 kB each would be 5 MB"


def test_what_raises_remembers_nothing(use: Any) -> None:
    """So that rows that are tried again are not taken for repetitions."""

    class Nasty:
        __hash__ = None  # type: ignore[assignment]

        def __repr__(self) -> str:
            raise RuntimeError("not today")

    stage = use("transform", "dedupe", by=["k"])
    with pytest.raises(RuntimeError):
        stage.process(Batch.from_rows([{"k": 1}, {"k": Nasty()}]))
    assert stage.process(Batch.from_rows([{"k": 1}])).rows == [{"k": 1}]


def test_workers_that_share_the_keys_out_see_each_once() -> None:
    built = etlcore.Pipeline("shared")
    out: list[dict[str, Any]] = []
    built.source("made", "generate", {"rows": 2_000, "fields": {"k": "{int:1:40}"}, "batch": 50})
    built.transform("first", "dedupe", {"by": ["k"]}, workers=3, key="k")
    built.sink("out", out)
    assert built.run().ok
    assert sorted(row["k"] for row in out) == sorted({row["k"] for row in out})


def naive(batches: list[pa.RecordBatch], by: list[str], window: int) -> list[Any]:
    """What the words say, done row by row."""
    seen: OrderedDict[Any, None] = OrderedDict()
    found = []
    for row in (row for batch in batches for row in Batch.from_arrow(batch).rows):
        key = tuple(row.get(name) for name in by)
        if None not in key and key in seen:
            seen.move_to_end(key)
            continue
        found.append(row)
        if None not in key:
            seen[key] = None
            if len(seen) > window:
                seen.popitem(last=False)
    return found


small = st.lists(st.sampled_from(["a", "b", "c", "d", "e", None]), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(data=st.lists(small, max_size=4), window=st.integers(1, 6), narrow=st.sampled_from([0, 1_000]))
def test_it_does_what_it_says_row_by_row(
    use: Any, monkeypatch: Any, data: list[list[str | None]], window: int, narrow: int
) -> None:
    """Also where windows far smaller than a batch take the way that is meant for large ones."""
    monkeypatch.setattr(dedupe, "_NARROW", narrow)
    batches = [pa.RecordBatch.from_pydict({"a": pa.array(keys, pa.string())}) for keys in data]
    for one in batches, [batch.slice(0, 3) for batch in batches]:
        stages = [use("transform", "dedupe", by=["a"], window=window) for _ in range(2)]
        assert agree(*stages, one)[0].get(None, []) == naive(one, ["a"], window)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(batches=tables(), by=st.sampled_from([["a"], ["a", "b"], ["c", "a", "b"]]), window=st.sampled_from([2, 5_000]))
def test_rows_and_columns_agree(use: Any, batches: list[pa.RecordBatch], by: list[str], window: int) -> None:
    stages = [use("transform", "dedupe", by=by, window=window) for _ in range(2)]
    agree(*stages, [*batches, *batches])
    assert outcome(stages[0], []) == ({}, [])
