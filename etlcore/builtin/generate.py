"""The source that makes rows up."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from etlcore.batch import Batch, Position
from etlcore.builtin import templates
from etlcore.builtin.options import Options
from etlcore.components import Source

if TYPE_CHECKING:
    import pyarrow as pa

_PATIENCE = 0.5  # seconds between two signs of life while waiting
_DEBT = 1.0  # seconds: a source that was held up makes good for no more than this

DEFAULT_FIELDS: dict[str, str | int | float | bool | None] = {
    "id": "{id}",
    "time": "{time}",
    "uri": "/item/{int:1:500}?user={int:1:9000}&q={word}",
    "text": "{word} {word} {word}",
}


class Generate(Source):
    """Makes rows up: for trying a pipeline out, for tests and for measuring.

    The same seed gives the same rows, whatever the workers and batches. Rows are shared out among the workers of the
    stage; a later run goes on behind what was delivered, also with another number of workers. Columnar batches are
    made without a Python object per row.
    """

    example = """
        stages:
          requests:
            source: generate
            with: {rows: 5, fields: {id: "{id}", status: "{choice:200|404}", uri: "/item/{int:1:500}?q={word}"}}
          out: {sink: console}
    """

    class Config(Options):
        rows: int | None = Field(1000, ge=0, description="How many rows in all; null goes on for ever.")
        rate: float | None = Field(
            None, gt=0, allow_inf_nan=False, description="Rows a second over all workers; null is as fast as possible."
        )
        seed: int = Field(0, description="Another seed gives other values.")
        batch: int = Field(1000, ge=1, le=1_000_000, description="The most rows in one batch.")
        columnar: bool = Field(False, description="Make Arrow columns instead of Python rows.")
        fields: dict[str, str | int | float | bool | None] = Field(
            DEFAULT_FIELDS,
            min_length=1,
            description="Column name to template, such as '/item/{id}?q={word}', or to a constant. Placeholders: "
            + ", ".join(f"{{{name}}}" for name in templates.PLACEHOLDERS)
            + ".",
        )

        @field_validator("fields")
        @classmethod
        def _well_formed(cls, fields: dict[str, Any]) -> dict[str, Any]:
            for name, template in fields.items():
                try:
                    templates.parse(template)
                except ValueError as error:
                    raise ValueError(f"field {name!r}: {error}") from None
            return fields

    config: Config

    def read(self) -> Iterator[Batch | None]:
        worker, workers = self.context.worker, self.context.workers
        fields = [(name, templates.parse(template)) for name, template in self.config.fields.items()]
        lane = _lane(worker, workers)
        done = _Done(self.context.positions)
        following = done.first(worker, workers)
        end = self.config.rows
        for count in self._pace(workers):
            if count is None:
                yield None
                continue
            if end is not None:
                count = min(count, len(range(following, end, workers)))
                if count == 0:
                    return
            ids = done.remove(templates.count_up(following, workers, count), lane)
            following += count * workers
            made = templates.columns(fields, ids, self.config.seed)
            position = Position(lane, following)
            if self.config.columnar:
                yield Batch.from_arrow(made, position)
            else:
                yield Batch.from_rows(made.to_pylist(), position)

    def _pace(self, workers: int) -> Iterator[int | None]:
        """How many rows to make next, each time at its moment; None for a sign of life while waiting."""
        if self.config.rate is None:
            while True:
                yield self.config.batch
        rate = self.config.rate / workers
        count = min(self.config.batch, max(1, int(rate / 10)))
        due = time.monotonic()
        while True:
            due = max(due, time.monotonic() - _DEBT)
            while (wait := due - time.monotonic()) > 0:
                if self.context.stopping.wait(min(wait, _PATIENCE)):
                    return
                yield None
            yield count
            due += count / rate


_LANE = "worker "


def _lane(worker: int, workers: int) -> str:
    """The partition that one of so many workers makes."""
    return f"{_LANE}{worker}/{workers}"


class _Done:
    """Which ids earlier runs have delivered.

    The partition ``"worker 2/4"`` at position ``n`` says: of the ids that leave 2 when divided by 4, those below
    ``n`` are in. A run with another number of workers has other partitions; the old ones stay true.
    """

    def __init__(self, positions: Mapping[str, Any]) -> None:
        self._lanes: dict[tuple[int, int], int] = {}
        for name, following in positions.items():
            remainder, _, divisor = name.removeprefix(_LANE).partition("/")
            self._lanes[int(remainder), int(divisor)] = int(following)

    def first(self, worker: int, workers: int) -> int:
        """The id at which this worker starts: the first of its own that may be missing."""
        first = self._lanes.get((worker, workers), worker)
        for divisor in {divisor for _, divisor in self._lanes}:
            # Below the slowest lane of a whole set of lanes, everything is in.
            slowest = min(self._lanes.get((remainder, divisor), 0) for remainder in range(divisor))
            if slowest > first:
                first = slowest + (worker - slowest) % workers
        return first

    def remove(self, ids: pa.UInt64Array, lane: str) -> pa.UInt64Array:
        """The ids that other lanes than this one have not delivered yet."""
        import pyarrow as pa
        import pyarrow.compute as pc

        for (remainder, divisor), following in self._lanes.items():
            if _lane(remainder, divisor) == lane or not len(ids) or following <= ids[0].as_py():
                continue
            limit = pa.scalar(divisor, pa.uint64())
            left = pc.subtract(ids, pc.multiply(pc.divide(ids, limit), limit))
            missing = pc.or_(
                pc.not_equal(left, pa.scalar(remainder, pa.uint64())),
                pc.greater_equal(ids, pa.scalar(following, pa.uint64())),
            )
            ids = ids.filter(missing)
        return ids
