"""A few fields of many logs, without a look at the others: each Content is the bytes that it was sent as.

A Content is ``0a`` key size, key, ``12`` value size, value, with sizes as varints. So the Contents of one key start
with the same bytes, and one comparison finds them. Protobuf would allow other orders, and parts that come twice; no
encoder writes them. They are refused where they can be seen: in the first byte of any Content, and in every byte of
those that are chosen, other than text. (What is not seen is a Content that names another key first and a wanted one
further behind.)
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from etlcore_sls.columns import Unusual, Wanted
from etlcore_sls.decode import RENAMED
from etlcore_sls.pivot import count_up, of_rows
from etlcore_sls.wire.protobuf import varint

_MOST = 2**14  # sizes of two bytes are below this


def choose(logs: pa.Array, gaps: dict[str, bool], wanted: Wanted) -> dict[str, pa.Array]:
    """The ``wanted`` fields, each of which becomes a column, if only of nulls. Raises `Unusual`.

    ``gaps`` says of each metadata column whether some logs do not have it.
    """
    names = sorted((wanted or frozenset()) - gaps.keys())
    if any(gaps.get(name) for name in wanted or ()) or any(map(_may_be_renamed, names)):
        raise Unusual("a field may have another name in the log")
    lists = logs.field("Contents")
    contents, owners = lists.flatten(), pc.list_parent_indices(lists)
    if contents.null_count or not pc.all(pc.starts_with(contents, pattern=b"\x0a"), min_count=0).as_py():
        raise Unusual("a Content does not start with its key")
    rows = count_up(len(logs))
    columns = {}
    for name in names:
        key = name.encode()
        start = b"".join((b"\x0a", varint(len(key)), key))
        pairs = pc.indices_nonzero(pc.starts_with(contents, pattern=start))
        columns[name] = _values(contents.take(of_rows(rows, pairs, owners.take(pairs))), len(start))
    return columns


def _may_be_renamed(name: str) -> bool:
    return name.startswith(RENAMED) or "\ufffd" in name  # which stands for bytes that are not UTF-8


def _values(contents: pa.Array, start: int) -> pa.Array:
    """The values of Contents (or null), which start behind ``start`` bytes. Raises `Unusual` where there is more."""
    if contents.null_count == len(contents):
        return pa.nulls(len(contents), pa.string())
    if not pc.all(pc.equal(_bytes_at(contents, start), 0x12)).as_py():
        raise Unusual("a Content has something else behind its key")
    start += 1
    rest = pc.subtract(pc.binary_length(contents), start)
    first, second = _bytes_at(contents, start), _bytes_at(contents, start + 1)
    short = pc.less_equal(rest, 128)  # its size takes one byte
    low = pc.subtract(first, 128)
    two = pc.and_(pc.and_(pc.greater_equal(low, 0), pc.less(second, 128)), pc.greater(second, 0))
    long = pc.and_(two, pc.equal(pc.add(pc.add(low, pc.multiply(second, 128)), 2), rest))
    if not pc.all(pc.if_else(short, pc.equal(pc.add(first, 1), rest), long)).as_py():
        raise Unusual("a Content has something else behind its value, or a very long value")
    values = pc.binary_slice(contents, start + 1, start + 1 + _MOST)
    if not pc.all(short).as_py():
        values = pc.if_else(short, values, pc.binary_slice(contents, start + 2, start + 2 + _MOST))
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        raise Unusual("text that is not UTF-8") from None


def _bytes_at(contents: pa.Array, place: int) -> pa.Array:
    """The byte at one place of each (any other byte where it is shorter), as int32."""
    _, offsets, data = contents.buffers()
    starts = pa.Array.from_buffers(pa.int32(), len(contents), [None, offsets], offset=contents.offset)
    everything = pa.Array.from_buffers(pa.uint8(), data.size, [None, data])
    places = pc.min_element_wise(pc.add(starts, place), pa.scalar(data.size - 1, pa.int32()))
    return everything.take(places).cast(pa.int32())
