"""A page of log groups becomes batches, each with the positions that its rows end at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from etlcore import Batch, Position
from etlcore_sls.body import Columns, Piece
from etlcore_sls.columns import Wanted
from etlcore_sls.decode import Row, decode_group

if TYPE_CHECKING:
    import pyarrow as pa

    from etlcore_sls.holdings import Page

ROWS = 4096
"""A batch ends with the first log group that takes it to so many rows: as large as pays, as small as a stop likes."""

Marks = list[tuple[int, Position]]
Damaged = Callable[[int], None]


def batches(partition: str, page: Page, damaged: Damaged, wanted: Wanted = None) -> Iterator[Batch]:
    """The batches of a page, in order; ``damaged`` is told how many logs held text that was not UTF-8.

    Rows are made with the ``wanted`` columns alone; columns were chosen when they were read.
    A page whose log groups have no positions of their own becomes one batch: half of it could not be committed.
    """
    pieces = page.pieces
    if len(page.ends) == sum(map(len, pieces)) and pieces:
        positions = [Position(partition, end) for end in page.ends]
        start = 0
        for piece in pieces:
            own = positions[start : start + len(piece)]
            start += len(piece)
            yield from _in_columns(piece, own) if isinstance(piece, Columns) else _in_rows(piece, own, damaged, wanted)
    else:
        yield _whole(pieces, Position(partition, page.end), damaged, wanted)


def _in_columns(piece: Columns, positions: Sequence[Position]) -> Iterator[Batch]:
    total = piece.logs.num_rows
    start = 0
    marks: Marks = []
    for end, position in zip(piece.ends, positions, strict=True):
        marks.append((end - start, position))
        # A small rest is not worth a batch of its own.
        if end - start >= ROWS and total - end >= ROWS // 2:
            yield Batch.from_arrow(piece.logs.slice(start, end - start), marks=marks)
            start, marks = end, []
    yield Batch.from_arrow(piece.logs.slice(start), marks=marks)


def _in_rows(groups: Sequence[Any], positions: Sequence[Position], damaged: Damaged, wanted: Wanted) -> Iterator[Batch]:
    rows: list[Row] = []
    marks: Marks = []
    unreadable = 0
    for index, (group, position) in enumerate(zip(groups, positions, strict=True)):
        unreadable += decode_group(group, rows)
        marks.append((len(rows), position))
        if len(rows) >= ROWS and index + 1 < len(groups):
            yield Batch.from_rows(_only(wanted, rows), marks=marks)
            rows, marks = [], []
    if unreadable:
        damaged(unreadable)
    yield Batch.from_rows(_only(wanted, rows), marks=marks)


def _whole(pieces: Sequence[Piece], position: Position, damaged: Damaged, wanted: Wanted) -> Batch:
    columns = _joined(pieces)
    if columns is not None:
        return Batch.from_arrow(columns, position)
    rows: list[Row] = []
    unreadable = 0
    for piece in pieces:
        if isinstance(piece, Columns):
            rows.extend(Batch.from_arrow(piece.logs).rows)
        else:
            unreadable += sum(decode_group(group, rows) for group in piece)
    if unreadable:
        damaged(unreadable)
    return Batch.from_rows(_only(wanted, rows), position)


def _joined(pieces: Sequence[Piece]) -> pa.RecordBatch | None:
    """Columns one after the other, null where a piece does not have one; None where they do not fit together."""
    columns = [piece.logs for piece in pieces if isinstance(piece, Columns)]
    if not columns or len(columns) < len(pieces):
        return None
    if len(columns) == 1:
        return columns[0]
    import pyarrow as pa

    try:
        table = pa.concat_tables([pa.Table.from_batches([one]) for one in columns], promote_options="default")
    except pa.ArrowTypeError:  # a field called __time_ns_part__ is text, the service's own is a number
        return None
    return pa.RecordBatch.from_arrays([column.combine_chunks() for column in table.columns], schema=table.schema)


def _only(wanted: Wanted, rows: list[Row]) -> list[Row]:
    if wanted is None:
        return rows
    return [{name: value for name, value in row.items() if name in wanted} for row in rows]
