"""A page of log groups becomes batches, each with the positions that its rows end at."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from etlcore import Batch, Position
from etlcore_sls.decode import Row, decode_group
from etlcore_sls.holdings import Page

ROWS = 4096
"""A batch ends with the first log group that takes it to so many rows: as large as pays, as small as a stop likes."""


def batches(partition: str, page: Page, damaged: Callable[[int], None]) -> Iterator[Batch]:
    """The batches of a page, in order; ``damaged`` is told how many logs held text that was not UTF-8.

    A page whose log groups have no positions of their own becomes one batch: half of it could not be committed.
    """
    rows: list[Row] = []
    marks: list[tuple[int, Position]] = []
    each = len(page.ends) == len(page.groups)
    unreadable = 0
    for index, group in enumerate(page.groups):
        unreadable += decode_group(group, rows)
        if each:
            marks.append((len(rows), Position(partition, page.ends[index])))
            if len(rows) >= ROWS and index + 1 < len(page.groups):
                yield Batch.from_rows(rows, marks=marks)
                rows, marks = [], []
    if unreadable:
        damaged(unreadable)
    if not each:
        marks.append((len(rows), Position(partition, page.end)))
    yield Batch.from_rows(rows, marks=marks)
