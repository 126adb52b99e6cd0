"""Transforms that each break one rule of the contract; the honest ones break none."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from etlcore import Batch, RowTransform, Transform


class Honest(RowTransform):
    """Adds a column; a row without an id is rejected."""

    def map(self, row: dict[str, Any]) -> dict[str, Any] | None:
        from etlcore import Reject

        if row.get("id") is None:
            raise Reject("no id")
        return {**row, "twice": row["id"] * 2}


class ChangesRows(Honest):
    """The row that it gives is the one that it was handed."""

    def map(self, row: dict[str, Any]) -> dict[str, Any] | None:
        row["seen"] = True
        return super().map(row)


class WrongResult(Honest):
    """Not what its examples say."""

    def map(self, row: dict[str, Any]) -> dict[str, Any] | None:
        return {**row, "twice": row.get("id")}


class Dice(Honest):
    """It does not say deterministic = False."""

    def map(self, row: dict[str, Any]) -> dict[str, Any] | None:
        return {**row, "dice": random.random()}


class KeepsOneRow(Honest):
    """The last row of a batch comes with the next one; it does not say buffers = True."""

    _kept: tuple[dict[str, Any], ...] = ()

    def process(self, batch: Batch) -> Batch:
        rows = [*self._kept, *batch.rows]
        self._kept = (rows.pop(),)
        return Batch.from_rows(rows)


class KnowsBatches(Transform):
    """A batch that comes again is taken for done."""

    def open(self, context: Any) -> None:
        self._done: set[int] = set()

    def process(self, batch: Batch) -> Batch | None:
        if id(batch) in self._done:
            return None
        self._done.add(id(batch))
        return batch


class RowsOnly(Transform):
    """Columns are nothing to it."""

    def process(self, batch: Batch) -> Batch | None:
        return None if batch.columnar else batch


class RejectsAndGives(Transform):
    """A row that is rejected goes on all the same."""

    def process(self, batch: Batch) -> Batch:
        for row in batch.rows:
            if row.get("id") is None:
                self.context.reject([row], "no id")
        return batch


class NeverRecovers(Transform):
    """After a row that it cannot process, it processes none."""

    _broken = False

    def process(self, batch: Batch) -> Batch:
        self._broken = self._broken or any(row.get("id") is None for row in batch.rows)
        if self._broken:
            raise ValueError("no id")
        return batch


class CutsHugeBatches(Transform):
    """What is beyond its limit is left out."""

    def process(self, batch: Batch) -> Batch:
        return batch.slice(0, 1000)


class WorkersDiffer(Honest):
    """What it gives depends on the worker."""

    def map(self, row: dict[str, Any]) -> dict[str, Any] | None:
        return {**row, "shift": row["id"] + self.context.workers} if row.get("id") is not None else None


class HonestBuffer(Transform):
    """Gives three batches as one."""

    buffers = True

    def open(self, context: Any) -> None:
        self._kept: list[Batch] = []

    def process(self, batch: Batch) -> Iterable[Batch]:
        self._kept.append(batch)
        if len(self._kept) == 3:
            yield from self._joined()

    def _joined(self) -> Iterable[Batch]:
        if self._kept:
            yield Batch.concat(self._kept).derived_from(*self._kept)
            self.context.release(*self._kept)
            self._kept = []

    def flush(self) -> Iterable[Batch]:
        if self._kept:
            yield Batch.concat(self._kept).derived_from(*self._kept)


class ForgetsToFlush(HonestBuffer):
    """What it keeps at the end is lost."""

    def flush(self) -> Iterable[Batch]:
        return ()


class HasNoDescription(Honest):
    """Nobody knows what its option is for."""

    class Config(BaseModel):
        mystery: int = 0
