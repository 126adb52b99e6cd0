"""The unit that moves: rows or Arrow columns, whichever the batch was made from; the other on demand.

pyarrow is imported only when columns are asked for, so a pipeline of plain rows never pays for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]

_SAMPLE = 16  # rows looked at to estimate the size of a batch of rows


@dataclass(frozen=True, slots=True)
class Position:
    """Where a source stands in one partition: *everything before this is in*.

    ``value`` is JSON-able and means something to the source alone; etlcore stores it and hands it back.
    """

    partition: str
    value: Any


class Batch:
    """Many rows on their way through a pipeline.

    Make one with `from_rows` or `from_arrow`. A batch is immutable by agreement: several stages may hold the same
    one (fan-out), so build new rows instead of changing those of a batch that was handed to you.
    """

    __slots__ = ("_arrow", "_bytes", "_rows", "columnar", "derived", "marks")

    def __init__(
        self,
        *,
        rows: list[Row] | None = None,
        arrow: pa.RecordBatch | None = None,
        marks: Sequence[tuple[int, Position]] = (),
    ) -> None:
        if (rows is None) == (arrow is None):
            raise TypeError("a Batch is made by Batch.from_rows or Batch.from_arrow")
        self._rows = rows
        self._arrow = arrow
        self.columnar = arrow is not None
        """True for a batch of columns: `arrow` is at hand, and what is made of it had better be columns too.

        It tells how the batch was made, not whether somebody has asked for the other form since: else the outcome
        of one branch of a fan-out would depend on what the other has done already.
        """
        self._bytes: int | None = None
        self.marks: tuple[tuple[int, Position], ...] = tuple(marks)
        """``(end, position)`` pairs in order: rows before index ``end`` are in once ``position`` is committed."""
        self.derived: tuple[Batch, ...] | None = None
        """The batches that this one was made of, where a buffering transform named them; else None."""

    @classmethod
    def from_rows(
        cls,
        rows: Iterable[Row],
        position: Position | None = None,
        *,
        marks: Sequence[tuple[int, Position]] = (),
    ) -> Batch:
        """A batch of dicts.

        ``position`` is where the source stands once all these rows are in. A source whose batch covers several
        positions may give ``marks`` instead: pairs ``(end, position)`` with rising ``end``, the last one equal to
        the number of rows; a stop or a crash then repeats less. A batch of no rows with a position is allowed: it
        moves the watermark over data that holds nothing of interest.

        Raises ValueError when the marks do not fit the rows.
        """
        listed = rows if isinstance(rows, list) else list(rows)
        return cls(rows=listed, marks=_checked_marks(len(listed), position, marks))

    @classmethod
    def from_arrow(
        cls,
        record_batch: pa.RecordBatch,
        position: Position | None = None,
        *,
        marks: Sequence[tuple[int, Position]] = (),
    ) -> Batch:
        """A batch of Arrow columns; `position` and `marks` as in `from_rows`."""
        return cls(arrow=record_batch, marks=_checked_marks(record_batch.num_rows, position, marks))

    def derived_from(self, *batches: Batch) -> Batch:
        """Name the input batches that this output was made of; only for transforms with ``buffers = True``.

        Returns the batch itself, so that it can be written ``yield Batch.from_rows(rows).derived_from(*kept)``.
        """
        self.derived = batches
        return self

    @property
    def rows(self) -> list[Row]:
        """The rows as a list of dicts, made from the columns at the first call where need be.

        Of several columns with one name the last counts. A map becomes a dict. Times finer than a microsecond are
        cut to it, as Python has none.
        """
        if self._rows is None:
            assert self._arrow is not None
            self._rows = _to_rows(self._arrow)
        return self._rows

    @property
    def arrow(self) -> pa.RecordBatch:
        """The columns as a `pyarrow.RecordBatch`, made from the rows at the first call where need be.

        A key missing from a row is null. Raises pyarrow.ArrowInvalid, with the column's name, when a column holds
        values that no Arrow type can hold together (``1`` and ``"a"``) or that none can hold at all.
        """
        if self._arrow is None:
            assert self._rows is not None
            self._arrow = _to_arrow(self._rows)
        return self._arrow

    @property
    def nbytes(self) -> int:
        """How much memory the batch holds, in bytes: exact for columns, estimated from a sample for rows."""
        if self._bytes is None:
            self._bytes = int(self.arrow.nbytes) if self.columnar else _estimate(self.rows)
        return self._bytes

    def __len__(self) -> int:
        return int(self.arrow.num_rows) if self.columnar else len(self.rows)

    def __bool__(self) -> bool:
        return True  # a batch of no rows may still carry a position

    def __repr__(self) -> str:
        return f"<Batch of {len(self):,} rows{' as columns' if self.columnar else ''}>"

    def slice(self, start: int, stop: int) -> Batch:
        """Rows ``start`` to ``stop`` as a batch without positions; columns are shared, not copied."""
        if self.columnar:
            return Batch(arrow=self.arrow.slice(start, stop - start))
        return Batch(rows=self.rows[start:stop])

    def take(self, indices: Sequence[int]) -> Batch:
        """The rows at ``indices``, in that order, as a batch without positions."""
        if self.columnar:
            import pyarrow as pa

            return Batch(arrow=self.arrow.take(pa.array(indices, type=pa.int64())))
        rows = self.rows
        return Batch(rows=[rows[i] for i in indices])

    @staticmethod
    def concat(batches: Sequence[Batch]) -> Batch:
        """Several batches as one, without positions: columns stay columns when their schemas agree, else rows."""
        if batches and all(batch.columnar for batch in batches):
            columns = [batch.arrow for batch in batches]
            schema = columns[0].schema
            if len(schema) and all(other.schema.equals(schema) for other in columns[1:]):
                import pyarrow as pa

                joined_columns = [pa.concat_arrays(parts) for parts in zip(*columns, strict=True)]
                return Batch(arrow=pa.RecordBatch.from_arrays(joined_columns, schema=schema))
        joined: list[Row] = []
        for batch in batches:
            joined.extend(batch.rows)
        return Batch(rows=joined)


def _checked_marks(
    count: int, position: Position | None, marks: Sequence[tuple[int, Position]]
) -> tuple[tuple[int, Position], ...]:
    if position is not None:
        if marks:
            raise ValueError("a batch has a position or marks, not both")
        return ((count, position),)
    if not marks:
        return ()
    before = 0
    for end, _ in marks:
        if end < before:
            raise ValueError(f"the marks of a batch must rise: {end} comes after {before}")
        before = end
    if before != count:
        raise ValueError(f"the last mark of a batch must be at its end: the mark is at {before}, the rows are {count}")
    return tuple(marks)


def _to_arrow(rows: list[Row]) -> pa.RecordBatch:
    import pyarrow as pa

    names: dict[str, None] = {}
    for row in rows:
        for name in row:
            names.setdefault(name)
    if not names:
        # A record batch without columns cannot say how many rows it has; an empty struct array can.
        return pa.RecordBatch.from_struct_array(pa.array([{}] * len(rows), type=pa.struct([])))
    columns = [_to_column(name, [row.get(name) for row in rows]) for name in names]
    return pa.RecordBatch.from_arrays(columns, names=list(names))


def _to_column(name: str, values: list[Any]) -> pa.Array:
    import pyarrow as pa

    if not isinstance(name, str):
        raise pa.ArrowInvalid(f"column {name!r} has a name that is no text: Arrow cannot hold it")
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        raise pa.ArrowInvalid(f"column {name!r} cannot become an Arrow column: {error}") from error


def _to_rows(record_batch: pa.RecordBatch) -> list[Row]:
    names = record_batch.schema.names
    if not names:
        return [{} for _ in range(record_batch.num_rows)]
    columns = [column_values(column) for column in record_batch.columns]
    return [dict(zip(names, values, strict=False)) for values in zip(*columns, strict=False)]


def column_values(column: pa.Array) -> list[Any]:
    """The values of one column, as they stand in `Batch.rows`."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_map(kind):
        return [None if pairs is None else dict(pairs) for pairs in column.to_pylist()]
    if getattr(kind, "unit", None) == "ns":  # to pyarrow these are values of pandas, or an error without it
        if pa.types.is_timestamp(kind):
            column = column.cast(pa.timestamp("us", kind.tz), safe=False)
        else:
            column = column.cast(pa.duration("us") if pa.types.is_duration(kind) else pa.time64("us"), safe=False)
    values: list[Any] = column.to_pylist()
    return values


def _estimate(rows: list[Row]) -> int:
    if not rows:
        return 0
    step = max(1, len(rows) // _SAMPLE)
    sample = rows[::step][:_SAMPLE]
    total = sum(_size(row) for row in sample)
    return max(1, total * len(rows) // len(sample))


def _size(value: Any) -> int:
    """Bytes of a JSON-like value, near enough for a bound: contents plus CPython's overhead for an object."""
    if isinstance(value, str | bytes):
        return 50 + len(value)
    if isinstance(value, Mapping):
        return 100 + sum(_size(k) // 2 + _size(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return 60 + sum(_size(v) for v in value)
    return 32
