"""The transform that makes a row of each element of a list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from etlcore.batch import Batch, Row
from etlcore.builtin.columns import column_of, each_once, put, values_of, without
from etlcore.builtin.expression.rows import describe
from etlcore.builtin.options import Options
from etlcore.components import Transform

if TYPE_CHECKING:
    import pyarrow as pa

_SIZE = 65_536  # the most rows of a batch that comes out: long lists need not be in memory all at once


class Explode(Transform):
    """Makes a row of each element of a list; the other columns are repeated beside it.

    A list that is empty or null gives one row with null, or with ``empty: drop`` none. A row that holds something
    else there goes to the dead letters with the reason. Columnar batches stay columnar.
    """

    class Config(Options):
        column: str = Field(min_length=1, description="The column of lists.")
        into: str | None = Field(
            None, min_length=1, description="Name of the column for the element; left out, it takes the list's place."
        )
        index: str | None = Field(
            None, min_length=1, description="Name of a further column: the element's place in the list, from 0."
        )
        empty: Literal["keep", "drop"] = Field(
            "keep", description="What becomes of a row whose list is empty or null: it is kept with null, or filtered."
        )

        @model_validator(mode="after")
        def _two_names(self) -> Explode.Config:
            if self.index == (self.into or self.column):
                raise ValueError(f"the element and its index would both be called {self.index!r}: rename one")
            return self

    config: Config
    example: ClassVar[str] = """
        name: explode_example
        stages:
          searches:
            source: generate
            with: {rows: 3, fields: {id: "{id}", request_uri: "/search?tag={word}&tag={word}"}}
          tags:
            transform: parse_uri
            with: {path: null, params: {tags: tag}, repeated: list}
          each:
            transform: explode
            with: {column: tags, into: tag, index: number}
          out:
            sink: console
    """

    def process(self, batch: Batch) -> Iterator[Batch]:
        batch = self._lists_only(batch)
        if batch.columnar:
            yield from self._columns(batch.arrow)
        else:
            yield from self._rows(batch.rows)

    def _lists_only(self, batch: Batch) -> Batch:
        """The batch without the rows that hold something else, which are rejected."""
        name = self.config.column
        if batch.columnar:
            column = column_of(batch.arrow, name)
            if column is None or _is_list(column.type) or column.null_count == len(column):
                return batch
        odd = {i: value for i, value in enumerate(values_of(batch, name)) if not isinstance(value, list | tuple | None)}
        if odd:
            reasons = [f"column {name!r} holds {describe(value)}, not a list" for value in odd.values()]
            self.context.reject(batch.take(list(odd)), reasons)
        return without(batch, odd)

    def _rows(self, rows: list[Row]) -> Iterator[Batch]:
        made: list[Row] = []
        for row in rows:
            for index, element in enumerate(row.get(self.config.column) or ()):
                made.append(self._row(row, element, index))
                if len(made) >= _SIZE:
                    yield Batch.from_rows(made)
                    made = []
            if not row.get(self.config.column) and self.config.empty == "keep":
                made.append(self._row(row, None, None))
        yield Batch.from_rows(made)

    def _row(self, row: Row, element: Any, index: int | None) -> Row:
        config = self.config
        made = dict(row)
        if config.into is not None:
            made.pop(config.column, None)
        made[config.into or config.column] = element
        if config.index is not None:
            made[config.index] = index
        return made

    def _columns(self, record_batch: pa.RecordBatch) -> Iterator[Batch]:
        import pyarrow as pa

        config = self.config
        record_batch = each_once(record_batch)
        column = column_of(record_batch, config.column)
        if column is None or not _is_list(column.type):
            column = pa.nulls(record_batch.num_rows, pa.list_(pa.null()))
        elements, places = column.flatten(), _places(column, config.empty == "keep")
        if config.column not in record_batch.schema.names:
            pass
        elif config.into is not None:
            record_batch = record_batch.drop_columns([config.column])
        else:  # a whole list is not repeated beside each of its elements
            record_batch = put(record_batch, config.column, pa.nulls(record_batch.num_rows))
        for start in range(0, max(1, places.num_rows), _SIZE):
            part = places.slice(start, _SIZE)
            made = put(
                record_batch.take(part.column("row")),
                config.into or config.column,
                elements.take(part.column("element")),
            )
            yield Batch.from_arrow(made if config.index is None else put(made, config.index, part.column("index")))


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    of_lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_one(kind) for is_one in of_lists)


def _places(column: pa.Array, keep: bool) -> pa.RecordBatch:
    """For each row to come: the row that it comes from, and the place of its element among all and in its list.

    With ``keep`` a list without elements gives one row, whose element is null.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.fill_null(pc.list_value_length(column), 0).cast(pa.int64())
    row = pc.list_parent_indices(column).cast(pa.int64())
    element = pa.array(range(len(row)), pa.int64())
    index = pc.subtract(element, pc.subtract(pc.cumulative_sum(lengths), lengths).take(row))
    empty = pc.indices_nonzero(pc.equal(lengths, 0)).cast(pa.int64()) if keep else pa.nulls(0, pa.int64())
    places = pa.RecordBatch.from_arrays([row, element, index], names=["row", "element", "index"])
    if not len(empty):
        return places
    nothing = pa.nulls(len(empty), pa.int64())
    joined = [pa.concat_arrays(pair) for pair in zip(places.columns, (empty, nothing, nothing), strict=True)]
    order = pc.array_sort_indices(joined[0])  # which is stable
    return pa.RecordBatch.from_arrays([one.take(order) for one in joined], names=places.schema.names)
