"""The distinct values of columns, so that what costs an object is paid for each value and not for each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from etlcore.batch import column_values

if TYPE_CHECKING:
    import pyarrow as pa


def encoded(column: pa.Array) -> tuple[pa.Array, list[Any]]:
    """``(codes, values)``: for each row the place of its value among the distinct ones, null where it is null.

    The values are as rows hold them, in the order in which they first come; some may be equal to each other.
    """
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), pa.int32()), []
    try:
        dictionary = column.dictionary_encode()
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):  # of lists and the like each counts as its own
        values = column_values(column.filter(column.is_valid()))
        places = iter(range(len(values)))
        return pa.array(
            [next(places) if valid else None for valid in column.is_valid().to_pylist()], pa.int32()
        ), values
    return dictionary.indices, column_values(dictionary.dictionary)


def combined(columns: Sequence[pa.Array]) -> tuple[pa.Array, list[tuple[Any, ...]]]:
    """As `encoded` for several columns: the values are tuples, null where one of their parts is."""
    import pyarrow as pa
    import pyarrow.compute as pc

    codes, values = encoded(columns[0])
    tuples: list[tuple[Any, ...]] = [(value,) for value in values]
    for column in columns[1:]:
        more, parts = encoded(column)
        width = max(1, len(parts))
        pairs = pc.add(pc.multiply(codes.cast(pa.int64()), width), more.cast(pa.int64())).dictionary_encode()
        codes = pairs.indices
        tuples = [(*tuples[pair // width], parts[pair % width]) for pair in pairs.dictionary.to_pylist()]
    return codes, tuples


def first_rows(codes: pa.Array) -> pa.BooleanArray:
    """Which rows are the first of their code; codes count up in the order in which they come."""
    import pyarrow as pa
    import pyarrow.compute as pc

    codes = pc.fill_null(codes.cast(pa.int64()), -1)
    most = pc.cumulative_max(codes)
    before = pa.concat_arrays([pa.array([-1], pa.int64()), most.slice(0, max(0, len(most) - 1))]).slice(0, len(codes))
    return pc.greater(codes, before)
