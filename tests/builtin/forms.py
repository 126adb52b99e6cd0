"""A transform tried in both forms: batches of rows and of columns must have the same outcome."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from etlcore import Batch

Row = dict[str, Any]
Outcome = tuple[dict[str | None, list[Row]], list[tuple[Row, str]]]
"""The rows of each output, and the rejected ones with their reasons."""


def outcome(stage: Any, batches: Iterable[Batch]) -> Outcome:
    """What a transform makes of batches; that columns stay columns is checked on the way."""
    stage.context.rejected.clear()
    outputs: dict[str | None, list[Row]] = {}
    for batch in batches:
        made = stage.process(batch)
        for item in [made] if isinstance(made, Batch) else made:
            name, out = item if isinstance(item, tuple) else (None, item)
            assert out.columnar == batch.columnar
            outputs.setdefault(name, []).extend(out.rows)
    return {name: rows for name, rows in outputs.items() if rows}, list(stage.context.rejected)


def columns(tables: Iterable[pa.RecordBatch]) -> list[Batch]:
    return [Batch.from_arrow(table) for table in tables]


def rows(tables: Iterable[pa.RecordBatch]) -> list[Batch]:
    """The same rows as plain ones."""
    return [Batch.from_rows(batch.rows) for batch in columns(tables)]


def agree(of_columns: Any, of_rows: Any, tables: Sequence[pa.RecordBatch]) -> Outcome:
    """The outcome of the same rows in both forms, checked to be the same; a transform of its own for each."""
    found, wanted = outcome(of_columns, columns(tables)), outcome(of_rows, rows(tables))
    assert said(found[0]) == said(wanted[0])
    assert sorted(map(said, found[1])) == sorted(map(said, wanted[1]))
    return found


def said(value: Any) -> str:
    """Rows as text, in which NaN equals itself, and UTC is UTC however it is called."""
    return repr(value).replace("zoneinfo.ZoneInfo(key='UTC')", "datetime.timezone.utc")


def table(**arrays: Any) -> pa.RecordBatch:
    """A record batch of columns."""
    return pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in arrays.items()})


texts = st.sampled_from(["", "a", "b", "é", "中文", "👩\u200d👧", "7", "-1.5", "true", "2024-02-29"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=4
)
KINDS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.int64(), st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1)),
    (pa.int32(), st.integers(-3, 3)),
    (pa.float64(), st.integers(-3, 3).map(float) | st.floats()),
    (pa.string(), texts),
    (pa.large_string(), texts),
    (pa.bool_(), st.booleans()),
    (pa.binary(), st.binary(max_size=3)),
    (pa.list_(pa.int64()), st.lists(st.integers(-3, 3), max_size=3)),
    (pa.null(), st.none()),
]


@st.composite
def tables(draw: st.DrawFn, names: Sequence[str] = ("a", "b", "c"), most: int = 6) -> list[pa.RecordBatch]:
    """Batches whose columns come, go and change their type and order, with nulls and without."""
    made = []
    for _ in range(draw(st.integers(1, 3))):
        count = draw(st.integers(0, most))
        present = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
        arrays = {}
        for name in present:
            kind, values = draw(st.sampled_from(KINDS))
            if draw(st.booleans()):
                values |= st.none()
            column = pa.array(draw(st.lists(values, min_size=count, max_size=count)), kind)
            if pa.types.is_string(kind) and draw(st.booleans()):
                column = column.dictionary_encode()
            arrays[name] = column
        made.append(pa.RecordBatch.from_pydict(arrays))
    return made
