"""Key and value pairs become columns: one for each key, null where a row has no such key.

No Python object is made for a pair; the loop is over keys.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

FREE_COLUMNS = 64
MOST_COLUMNS = 1000
MOST_CELLS = 8
"""More than `FREE_COLUMNS` may have so many cells for each pair that fills one; never more than `MOST_COLUMNS`."""


class Sparse(Exception):
    """Columns would be nearly empty, or too many: rows are the smaller form."""


def count_up(length: int) -> pa.Array:
    """The numbers from 0 to ``length`` - 1."""
    one = pa.scalar(1, pa.int64())
    return pc.subtract(pc.cumulative_sum(pa.repeat(one, length)), one)


def pivot(
    length: int, owners: pa.Array, keys: pa.Array, values: pa.Array, rename: Callable[[str], str | None] = str
) -> dict[str, pa.Array]:
    """Columns of ``length`` rows, in the order in which their keys first appear.

    Pair ``i`` belongs to row ``owners[i]`` (int64, rising). Of a key that a row has twice, the last value counts.
    ``rename`` gives the name of a key's column, or None where the column is not wanted. Raises `Sparse`, and KeyError
    when two keys get one name.
    """
    encoded = keys.dictionary_encode()
    found = encoded.dictionary.to_pylist()
    if len(found) > MOST_COLUMNS or (len(found) > FREE_COLUMNS and len(found) * length > MOST_CELLS * len(keys)):
        raise Sparse(f"{len(found)} different keys in {length} rows")
    order = pc.array_sort_indices(encoded.indices)  # stable: the pairs of one key stay in the order of their rows
    counts = pc.value_counts(encoded.indices).field("counts").to_pylist()  # in the order of the dictionary
    rows = count_up(length)
    columns: dict[str, pa.Array] = {}
    start = 0
    for key, count in zip(found, counts, strict=True):
        pairs = order.slice(start, count)
        start += count
        name = rename(key)
        if name is None:
            continue
        if name in columns:
            raise KeyError(name)
        columns[name] = values.take(of_rows(rows, pairs, owners.take(pairs)))
    return columns


def of_rows(rows: pa.Array, pairs: pa.Array, owners: pa.Array) -> pa.Array:
    """For each row the pair that fills it: of its ``pairs`` the last, or null. ``owners`` are the rows of the pairs."""
    if owners.equals(rows):
        return pairs
    if len(pairs) > 1:
        last = pc.not_equal(owners.slice(1), owners.slice(0, len(owners) - 1))
        last = pa.concat_arrays([last, pa.array([True])])
        pairs, owners = pairs.filter(last), owners.filter(last)
    return pairs.take(pc.index_in(rows, value_set=owners))
