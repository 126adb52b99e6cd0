"""Log groups become Arrow columns, straight from the bytes of a response: the columns of `etlcore_sls.decode`.

The bytes are read by ptars, by the SDK's own description of the messages; it gives the pairs of all logs as two long
columns, which `etlcore_sls.pivot` spreads. Where ptars is not installed, and for what cannot become columns here, the
SDK's parser and rows take over (`etlcore_sls.body`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from etlcore_sls.decode import RENAMED

if TYPE_CHECKING:
    import pyarrow as pa

Reader = Callable[[bytes], Any]


@cache
def reader() -> Reader | None:
    """What reads the bytes of a LogGroupList into one Arrow record of nested lists; None where ptars is missing."""
    try:
        from ptars import HandlerPool
    except ImportError:
        return None
    from aliyun.log.proto import LogGroupList

    handler = HandlerPool([LogGroupList.DESCRIPTOR.file]).get_for_message(LogGroupList.DESCRIPTOR)
    return lambda body: handler.list_to_record_batch([body])


def read_columns(body: bytes) -> tuple[pa.RecordBatch, list[int]] | None:
    """The logs of a LogGroupList as columns, and for each group the number of logs up to its end.

    None where they cannot become columns: text that is not UTF-8, bytes that are no LogGroupList, fields that nearly
    every log has different ones of, and a field that only some logs must give another name.
    """
    read = reader()
    nested = _read(read, body) if read is not None else None
    if nested is None:
        return None

    import pyarrow as pa
    import pyarrow.compute as pc

    from etlcore_sls.pivot import Sparse

    groups = nested.column(0).flatten()
    logs_of = groups.field("Logs")
    ends = pc.cumulative_sum(logs_of.value_lengths()).to_pylist()
    logs, group_of = logs_of.flatten(), pc.list_parent_indices(logs_of)
    try:
        columns = _metadata(groups, logs, group_of)
        columns.update(_contents(logs, columns))
    except (Sparse, _Forged, KeyError):
        return None
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns)), ends


class _Forged(Exception):
    """A field has the name of a metadata column that only some logs have."""


def _read(read: Reader, body: bytes) -> Any:
    try:
        return read(body)
    except ValueError:  # not UTF-8, or not protobuf: the SDK's parser decides
        return None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of its Rust: a length that does not fit into a number
            raise
        return None


def _metadata(groups: pa.Array, logs: pa.Array, group_of: pa.Array) -> dict[str, pa.Array]:
    import pyarrow as pa
    import pyarrow.compute as pc

    from etlcore_sls.pivot import pivot

    columns = {
        "__time__": pc.fill_null(logs.field("Time"), 0).cast(pa.int64()),
        "__topic__": _text(groups.field("Topic")).take(group_of),
        "__source__": _text(groups.field("Source")).take(group_of),
    }
    tags = groups.field("LogTags")
    pairs = tags.flatten()
    owners = pc.list_parent_indices(tags)
    named = pivot(len(groups), owners, _text(pairs.field("Key")), _text(pairs.field("Value")), "__tag__:{}".format)
    columns.update({name: column.take(group_of) for name, column in named.items()})
    nanoseconds = logs.field("Time_ns")
    if nanoseconds.null_count < len(nanoseconds):
        columns["__time_ns_part__"] = nanoseconds.cast(pa.int64())
    return columns


def _contents(logs: pa.Array, metadata: dict[str, pa.Array]) -> dict[str, pa.Array]:
    import pyarrow.compute as pc

    from etlcore_sls.pivot import pivot

    def name(key: str) -> str:
        taken = metadata.get(key)
        if taken is None:
            return key
        if taken.null_count:
            raise _Forged(key)
        return f"{RENAMED}{key}"

    contents = logs.field("Contents")
    pairs = contents.flatten()
    owners = pc.list_parent_indices(contents)
    return pivot(len(logs), owners, _text(pairs.field("Key")), _text(pairs.field("Value")), name)


def _text(column: pa.Array) -> pa.Array:
    """What is absent is empty, as in the SDK's messages."""
    if not column.null_count:
        return column
    import pyarrow.compute as pc

    return pc.fill_null(column, "")
