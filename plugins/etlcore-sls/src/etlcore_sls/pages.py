"""A page of log groups becomes batches, each with the positions that its rows end at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from etlcore import Batch, Position
from etlcore_sls.body import Columns, Piece
from etlcore_sls.decode import Row, decode_group

if TYPE_CHECKING:
    from etlcore_sls.holdings import Page

ROWS = 4096
"""A batch ends with the first log group that takes it to so many rows: as large as pays, as small as a stop likes."""

Marks = list[tuple[int, Position]]
Damaged = Callable[[int], None]


def batches(partition: str, page: Page, damaged: Damaged) -> Iterator[Batch]:
    """The batches of a page, in order; ``damaged`` is told how many logs held text that was not UTF-8.

    A page whose log groups have no positions of their own becomes one batch: half of it could not be committed.
    """
    pieces = page.pieces
    if len(page.ends) == sum(map(len, pieces)) and pieces:
        positions = [Position(partition, end) for end in page.ends]
        start = 0
        for piece in pieces:
            own = positions[start : start + len(piece)]
            start += len(piece)
            yield from _in_columns(piece, own) if isinstance(piece, Columns) else _in_rows(piece, own, damaged)
    else:
        yield _whole(pieces, Position(partition, page.end), damaged)


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


def _in_rows(groups: Sequence[Any], positions: Sequence[Position], damaged: Damaged) -> Iterator[Batch]:
    rows: list[Row] = []
    marks: Marks = []
    unreadable = 0
    for index, (group, position) in enumerate(zip(groups, positions, strict=True)):
        unreadable += decode_group(group, rows)
        marks.append((len(rows), position))
        if len(rows) >= ROWS and index + 1 < len(groups):
            yield Batch.from_rows(rows, marks=marks)
            rows, marks = [], []
    if unreadable:
        damaged(unreadable)
    yield Batch.from_rows(rows, marks=marks)


def _whole(pieces: Sequence[Piece], position: Position, damaged: Damaged) -> Batch:
    columns = [piece.logs for piece in pieces if isinstance(piece, Columns)]
    if columns and len(columns) == len(pieces):
        return Batch.from_arrow(_joined(columns), position)
    rows: list[Row] = []
    unreadable = 0
    for piece in pieces:
        if isinstance(piece, Columns):
            rows.extend(Batch.from_arrow(piece.logs).rows)
        else:
            unreadable += sum(decode_group(group, rows) for group in piece)
    if unreadable:
        damaged(unreadable)
    return Batch.from_rows(rows, position)


def _joined(parts: Sequence[Any]) -> Any:
    """Columns one after the other; a column that a part does not have is null there."""
    if len(parts) == 1:
        return parts[0]
    import pyarrow as pa

    tables = [pa.Table.from_batches([part]) for part in parts]
    table = pa.concat_tables(tables, promote_options="default").combine_chunks()
    return pa.RecordBatch.from_arrays([column.combine_chunks() for column in table.columns], schema=table.schema)
