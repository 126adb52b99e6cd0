"""A batch: rows or columns, whichever it was made from, and the other on demand."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etlcore import Batch, Position


def test_rows_become_columns_on_demand() -> None:
    batch = Batch.from_rows([{"a": 1}, {"b": "x"}])
    assert not batch.columnar
    assert batch.arrow.to_pydict() == {"a": [1, None], "b": [None, "x"]}
    assert batch.rows == [{"a": 1}, {"b": "x"}], "the rows stay as they were made"


def test_columns_become_rows_on_demand() -> None:
    batch = Batch.from_arrow(pa.RecordBatch.from_pydict({"a": [1, 2], "b": [None, "x"]}))
    assert batch.columnar
    assert batch.rows == [{"a": 1, "b": None}, {"a": 2, "b": "x"}]
    assert batch.rows is batch.rows, "converted once"


def test_asking_for_the_other_form_changes_nothing_else() -> None:
    """One branch of a fan-out may ask for it while another works with the batch as it was made."""
    columns = pa.RecordBatch.from_pydict({"a": pa.array([1, 2, 3], pa.int8())})
    of_columns, of_rows = Batch.from_arrow(columns), Batch.from_rows([{"a": 1}, {"a": 2.5}])
    _ = of_columns.rows, of_rows.arrow
    for made in (of_columns, of_columns.slice(0, 1), of_columns.take([0]), Batch.concat([of_columns, of_columns])):
        assert made.columnar
        assert made.arrow.schema == columns.schema
    for made in (of_rows, of_rows.slice(0, 1), of_rows.take([0]), Batch.concat([of_rows, of_rows])):
        assert not made.columnar
        assert type(made.rows[0]["a"]) is int


def test_rows_of_any_iterable_are_taken() -> None:
    assert Batch.from_rows({"n": n} for n in range(3)).rows == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_rows_alone_import_no_pyarrow() -> None:
    code = (
        "import sys; from etlcore import Batch; b = Batch.from_rows([{'a': 1}] * 5);"
        "b.nbytes, len(b), b.slice(0, 2), b.take([1]), Batch.concat([b, b]), b.rows, repr(b);"
        "print('pyarrow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_rows_without_columns_keep_their_number() -> None:
    batch = Batch.from_rows([{}, {}])
    assert batch.arrow.num_rows == 2
    assert Batch.from_arrow(batch.arrow).rows == [{}, {}]


def test_a_map_becomes_a_dict() -> None:
    column = pa.array([[("x", "1"), ("y", "2")], None, []], pa.map_(pa.string(), pa.string()))
    batch = Batch.from_arrow(pa.RecordBatch.from_arrays([column], names=["query"]))
    assert [row["query"] for row in batch.rows] == [{"x": "1", "y": "2"}, None, {}]


def test_nanoseconds_are_cut_to_microseconds() -> None:
    columns = {
        "when": pa.array([1_001, None], pa.timestamp("ns", "UTC")),
        "naive": pa.array([1_999, None], pa.timestamp("ns")),
        "lasted": pa.array([2_001, None], pa.duration("ns")),
        "at": pa.array([3_001, None], pa.time64("ns")),
    }
    rows = Batch.from_arrow(pa.RecordBatch.from_pydict(columns)).rows
    assert rows[0] == {
        "when": datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
        "naive": datetime(1970, 1, 1, 0, 0, 0, 1),
        "lasted": timedelta(microseconds=2),
        "at": time_of_day(0, 0, 0, 3),
    }
    assert set(rows[1].values()) == {None}


def test_of_several_columns_with_one_name_the_last_counts() -> None:
    columns = pa.RecordBatch.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    assert Batch.from_arrow(columns).rows == [{"a": 2}]


@pytest.mark.parametrize(
    "rows",
    [
        [{"bad": 1}, {"bad": "x"}],
        [{"bad": 1}, {"bad": True}],
        [{"bad": 2**70}],
        [{"bad": "\ud800"}],
        [{"bad": object()}],
    ],
    ids=["mixed", "bool-and-int", "too-large", "surrogate", "object"],
)
def test_what_arrow_cannot_hold_is_an_error_that_names_the_column(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(pa.ArrowInvalid, match="column 'bad' cannot become an Arrow column"):
        _ = Batch.from_rows([{"good": 1}, *rows]).arrow


def test_a_column_name_that_is_no_text_is_an_error() -> None:
    with pytest.raises(pa.ArrowInvalid, match="column 7 has a name that is no text"):
        _ = Batch.from_rows([{7: 1}]).arrow  # type: ignore[dict-item]


def test_a_batch_is_made_by_its_constructors_only() -> None:
    with pytest.raises(TypeError, match=r"made by Batch\.from_rows or Batch\.from_arrow"):
        Batch()
    with pytest.raises(TypeError, match=r"made by Batch\.from_rows or Batch\.from_arrow"):
        Batch(rows=[], arrow=pa.RecordBatch.from_pydict({"a": []}))


def test_a_batch_of_no_rows_may_carry_a_position_and_is_true() -> None:
    batch = Batch.from_rows([], Position("p", 7))
    assert batch
    assert len(batch) == 0
    assert batch.marks == ((0, Position("p", 7)),)


def test_marks_are_kept_in_order() -> None:
    marks = [(1, Position("p", 10)), (1, Position("p", 11)), (3, Position("p", 30))]
    assert Batch.from_rows([{}] * 3, marks=marks).marks == tuple(marks)
    columns = pa.RecordBatch.from_pydict({"a": [1, 2, 3]})
    assert Batch.from_arrow(columns, marks=marks).marks == tuple(marks)


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ([2, 1], "must rise: 1 comes after 2"),
        ([1], "must be at its end: the mark is at 1, the rows are 2"),
        ([3], "must be at its end: the mark is at 3, the rows are 2"),
        ([-1, 2], "must rise: -1 comes after 0"),
    ],
)
def test_marks_that_do_not_fit_are_refused(marks: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Batch.from_rows([{}, {}], marks=[(end, Position("p", end)) for end in marks])


def test_a_position_and_marks_together_are_refused() -> None:
    with pytest.raises(ValueError, match="a position or marks, not both"):
        Batch.from_rows([{}], Position("p", 1), marks=[(1, Position("p", 1))])


def test_slice_and_take_leave_the_positions_behind() -> None:
    for batch in both([{"n": n} for n in range(5)]):
        assert [row["n"] for row in batch.slice(1, 3).rows] == [1, 2]
        assert [row["n"] for row in batch.take([4, 0, 0]).rows] == [4, 0, 0]
        assert batch.take([]).rows == []
        assert batch.slice(1, 3).marks == ()
        assert batch.slice(1, 3).columnar == batch.columnar
        assert batch.take([1]).columnar == batch.columnar


def test_concat_keeps_columns_whose_schemas_agree() -> None:
    one = Batch.from_arrow(pa.RecordBatch.from_pydict({"a": [1]}))
    other = Batch.from_arrow(pa.RecordBatch.from_pydict({"a": ["x"]}))
    assert Batch.concat([one, one]).columnar
    assert Batch.concat([one, one]).rows == [{"a": 1}, {"a": 1}]
    assert not Batch.concat([one, other]).columnar
    assert Batch.concat([one, other]).rows == [{"a": 1}, {"a": "x"}]
    assert Batch.concat([one]).columnar
    assert Batch.concat([one, Batch.from_rows([{"b": 2}])]).rows == [{"a": 1}, {"b": 2}]
    assert Batch.concat([]).rows == []


def test_concat_leaves_the_positions_behind() -> None:
    batch = Batch.from_rows([{}], Position("p", 1))
    assert Batch.concat([batch]).marks == ()
    assert Batch.concat([batch, batch]).marks == ()


def test_the_size_of_columns_is_exact_and_of_a_slice_its_own() -> None:
    batch = Batch.from_arrow(pa.RecordBatch.from_pydict({"a": pa.array(range(1000), pa.int64())}))
    assert batch.nbytes == 8000
    assert batch.slice(0, 10).nbytes == 80


def test_the_size_of_rows_follows_their_contents() -> None:
    small = Batch.from_rows([{"text": "x" * 10}] * 100)
    large = Batch.from_rows([{"text": "x" * 10_000, "more": [{"deep": b"y" * 10_000}]}] * 100)
    assert 10 * 100 <= small.nbytes <= 1000 * 100
    assert 20_000 * 100 <= large.nbytes <= 25_000 * 100
    assert Batch.from_rows([]).nbytes == 0
    assert Batch.from_rows([{}]).nbytes >= 1


def test_one_large_row_among_few_is_seen() -> None:
    rows = [{"text": "x"}] * 15 + [{"text": "x" * 1_000_000}]
    assert Batch.from_rows(rows).nbytes >= 1_000_000


def test_derived_from_names_the_inputs() -> None:
    first, second = Batch.from_rows([{}]), Batch.from_rows([{}])
    joined = Batch.from_rows([{}, {}]).derived_from(first, second)
    assert joined.derived == (first, second)
    assert first.derived is None


def both(rows: list[dict[str, Any]]) -> list[Batch]:
    """The same rows as a batch of rows and as a batch of columns."""
    return [Batch.from_rows(rows), Batch.from_arrow(Batch.from_rows(rows).arrow)]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
values = {
    "n": st.none() | st.integers(-(2**63), 2**63 - 1),
    "f": st.none() | st.floats(allow_nan=False),
    "t": st.none() | texts,
    "b": st.none() | st.booleans(),
    "y": st.none() | st.binary(max_size=5),
    "w": st.none() | st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)),
    "l": st.none() | st.lists(st.integers(-5, 5), max_size=3),
}


@given(st.lists(st.fixed_dictionaries(values), max_size=5))
def test_rows_survive_being_columns(rows: list[dict[str, Any]]) -> None:
    assert Batch.from_arrow(Batch.from_rows(rows).arrow).rows == rows
