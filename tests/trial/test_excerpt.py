"""Parts of a pipeline with given rows: any rows, through stages that keep, split and refuse them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from etlcore import Batch, Pipeline, Position, RowTransform, Sink, Transform
from etlcore.trial import TrialError

ROWS = [{"n": n} for n in range(5)]


class Keep(Transform):
    """Gives every row at the drain barrier."""

    buffers = True

    def open(self, context: Any) -> None:
        self.kept: list[Batch] = []

    def process(self, batch: Batch) -> Iterable[Batch]:
        self.kept.append(batch)
        return ()

    def flush(self) -> Iterator[Batch]:
        for batch in self.kept:
            yield Batch.from_rows([{**row, "late": True} for row in batch.rows]).derived_from(batch)


class Split(Transform):
    outputs = ("even", "out", "given")  # two of the names are those that a trial uses for itself

    def process(self, batch: Batch) -> Iterator[Batch | tuple[str, Batch]]:
        yield Batch.from_rows([row for row in batch.rows if row["n"] % 2])
        yield "even", Batch.from_rows([row for row in batch.rows if row["n"] % 2 == 0])
        yield "out", Batch.from_rows([{"n": -1}])


class Where(RowTransform):
    def map(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"directory": self.context.directory, "state": self.context.state_directory}


class Never(Sink):
    def open(self, context: Any) -> None:
        raise AssertionError("a trial opens no sink")

    def write(self, batch: Batch) -> None: ...


def pipeline(directory: Path, transform: Any, **keys: Any) -> Pipeline:
    made = Pipeline("p", directory=directory).source("in", "generate").transform("t", transform, **keys)
    made.sink("out", Never)
    for output in getattr(transform, "outputs", ()):
        made.sink(f"to_{output}", Never, from_=f"t.{output}")
    return made


def same(row: dict[str, Any]) -> dict[str, Any]:
    return row


@pytest.mark.parametrize(
    "rows",
    [
        ROWS,
        tuple(ROWS),
        iter(ROWS),
        Batch.from_rows(ROWS),
        Batch.from_rows(ROWS, position=Position("p", 3)),
        Batch.from_arrow(pa.RecordBatch.from_pylist(ROWS)),
        pa.RecordBatch.from_pylist(ROWS),
        pa.table({"n": pa.chunked_array([[0, 1], [2, 3, 4]])}),
    ],
    ids=lambda rows: type(rows).__name__,
)
def test_rows_in_any_form(tmp_path: Path, rows: Any) -> None:
    assert pipeline(tmp_path, same).step("t", rows).rows == ROWS


@pytest.mark.parametrize("rows", [None, {"n": 1}, [1, 2], "text", 5, [None]], ids=str)
def test_what_are_no_rows(tmp_path: Path, rows: Any) -> None:
    with pytest.raises(TrialError, match=r"stage `t` is given a .* of no rows: give it a list of dicts"):
        pipeline(tmp_path, same).step("t", rows)


@pytest.mark.parametrize("rows", [[], pa.table({"n": pa.array([], pa.int64())})])
def test_no_rows_at_all(tmp_path: Path, rows: Any) -> None:
    step = pipeline(tmp_path, lambda row: None).step("t", rows)
    assert (list(step.rows), len(step.rows.batch)) == ([], 0)
    assert pipeline(tmp_path, same).step("t", step).rows == []


def test_a_stage_that_keeps_rows_gives_them_at_the_end(tmp_path: Path) -> None:
    assert pipeline(tmp_path, Keep).step("t", ROWS).rows == [{**row, "late": True} for row in ROWS]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_stage_that_splits_rows(tmp_path: Path, workers: int) -> None:
    made = pipeline(tmp_path, Split, workers=workers)
    step = made.step("t", ROWS)
    assert step.rows == [{"n": 1}, {"n": 3}]
    assert {name: list(table) for name, table in step.outputs.items()} == {
        "even": [{"n": 0}, {"n": 2}, {"n": 4}],
        "out": [{"n": -1}],
        "given": [],
    }
    outcome = made.try_out({"in": ROWS})
    assert outcome.rows("to_even") == outcome.rows("t", "even") == [{"n": 0}, {"n": 2}, {"n": 4}]
    with pytest.raises(TrialError, match=r"no given row can come to `t\.odd`"):
        outcome.rows("t", "odd")


def test_order_and_keys_are_kept(tmp_path: Path) -> None:
    many = [{"n": n % 7, "at": n} for n in range(200)]
    assert pipeline(tmp_path, same, workers=3, ordered=True, batch=5).step("t", many).rows == many
    kept = pipeline(tmp_path, same, workers=3, key="n", batch=5).step("t", many).rows
    for key in range(7):
        assert [row for row in kept if row["n"] == key] == [row for row in many if row["n"] == key]


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    (row,) = pipeline(tmp_path, Where).step("t", ROWS[:1]).rows
    assert row["directory"] == tmp_path
    assert not row["state"].exists()
    assert list(tmp_path.iterdir()) == []
