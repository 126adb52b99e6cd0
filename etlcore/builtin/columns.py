"""Single columns of a batch, for the stages that look at some columns and leave the others as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from etlcore.batch import Batch, column_values

if TYPE_CHECKING:
    import pyarrow as pa


def find(record_batch: pa.RecordBatch, name: str) -> int | None:
    """Where a column stands; None where there is none. Of several with one name the last counts, as in a row."""
    indices = record_batch.schema.get_all_field_indices(name)
    return indices[-1] if indices else None


def column_of(record_batch: pa.RecordBatch, name: str) -> pa.Array | None:
    """A column, decoded where it is a dictionary; None where there is none."""
    import pyarrow as pa

    index = find(record_batch, name)
    if index is None:
        return None
    column = record_batch.column(index)
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def values_of(batch: Batch, name: str) -> list[Any]:
    """The values of a column as rows hold them, one for each row; null where it is missing."""
    if not batch.columnar:
        return [row.get(name) for row in batch.rows]
    index = find(batch.arrow, name)
    return [None] * len(batch) if index is None else column_values(batch.arrow.column(index))


def put(record_batch: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    """The batch with a column added, or replaced in its place where there is one of that name."""
    import pyarrow as pa

    index = find(record_batch, name)
    fields, arrays = list(record_batch.schema), list(record_batch.columns)
    if index is None:
        fields.append(pa.field(name, column.type))
        arrays.append(column)
    else:
        fields[index], arrays[index] = pa.field(name, column.type), column
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields, metadata=record_batch.schema.metadata))


def each_once(record_batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with every name once: where the first of that name stands, what the last one holds, as in a row."""
    import pyarrow as pa

    names = record_batch.schema.names
    if len(set(names)) == len(names):
        return record_batch
    last = {name: index for index, name in enumerate(names)}
    fields = [record_batch.schema.field(index) for index in last.values()]
    arrays = [record_batch.column(index) for index in last.values()]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields, metadata=record_batch.schema.metadata))


def without(batch: Batch, indices: Sequence[int] | dict[int, Any]) -> Batch:
    """The batch without some rows."""
    if not indices:
        return batch
    gone = set(indices)
    return batch.take([index for index in range(len(batch)) if index not in gone])
