"""Log groups become Arrow columns, straight from the bytes of a response: the columns of `etlcore_sls.decode`.

The bytes are read by ptars, by the SDK's own description of the messages; it gives the pairs of all logs as two long
columns, which `etlcore_sls.pivot` spreads. Where only some columns are wanted, the pairs are left as bytes, and
`etlcore_sls.chosen` takes out of them what is asked for. Where ptars is not installed, and for what cannot become
columns here, the SDK's parser and rows take over (`etlcore_sls.body`).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from etlcore_sls.decode import RENAMED

if TYPE_CHECKING:
    import pyarrow as pa

Reader = Callable[[Any], Any]
Wanted = frozenset[str] | None
"""The names of the columns that are asked for; None for all."""


class Unusual(Exception):
    """This cannot become columns in this way."""


@cache
def reader() -> Reader | None:
    """What reads the bytes of a LogGroupList into one Arrow record of nested lists; None where ptars is missing."""
    from aliyun.log.proto import LogGroupList

    return _reader_of(LogGroupList.DESCRIPTOR)


@cache
def _reader_of_bytes() -> Reader | None:
    """As `reader`, with each Content as the bytes that it is sent as."""
    from aliyun.log.proto import LogGroupList
    from google.protobuf import descriptor_pb2, descriptor_pool  # type: ignore[import-untyped]

    file = descriptor_pb2.FileDescriptorProto()
    LogGroupList.DESCRIPTOR.file.CopyToProto(file)
    log = next(message for message in file.message_type if message.name == "Log")
    contents = next(field for field in log.field if field.name == "Contents")
    contents.type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
    contents.ClearField("type_name")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return _reader_of(pool.FindMessageTypeByName(LogGroupList.DESCRIPTOR.full_name))


def _reader_of(message: Any) -> Reader | None:
    try:
        from ptars import HandlerPool
    except ImportError:
        return None
    handler = HandlerPool([message.file]).get_for_message(message)
    read: Reader = handler.array_to_record_batch
    return read


def read_columns(body: bytes | memoryview, wanted: Wanted = None) -> tuple[pa.RecordBatch, list[int]] | None:
    """The logs of a LogGroupList as columns, and for each group the number of logs up to its end.

    None where they cannot become columns: text that is not UTF-8, bytes that are no LogGroupList, fields that nearly
    every log has different ones of, and a field that only some logs must give another name.
    """
    from etlcore_sls.chosen import choose
    from etlcore_sls.pivot import Sparse

    if wanted is not None:
        try:
            return _columns(_read(_reader_of_bytes(), body), wanted, choose)
        except (Unusual, Sparse):
            pass
    try:
        return _columns(_read(reader(), body), wanted, _contents)
    except (Unusual, Sparse):
        return None


def _read(read: Reader | None, body: bytes | memoryview) -> Any:
    if read is None:
        raise Unusual("ptars is not installed")
    import pyarrow as pa

    ends = pa.py_buffer(array("i", (0, len(body))))
    message = pa.Array.from_buffers(pa.binary(), 1, [None, ends, pa.py_buffer(body)])
    try:
        return read(message)
    except ValueError as error:  # not UTF-8, or not protobuf: the SDK's parser decides
        raise Unusual(str(error)) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of its Rust: a length that does not fit into a number
            raise
        raise Unusual(str(error)) from None


Contents = Callable[[Any, dict[str, bool], Wanted], dict[str, Any]]


def _columns(nested: Any, wanted: Wanted, contents: Contents) -> tuple[pa.RecordBatch, list[int]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    groups = nested.column(0).flatten()
    logs_of = groups.field("Logs")
    ends = pc.cumulative_sum(logs_of.value_lengths()).to_pylist()
    logs, group_of = logs_of.flatten(), pc.list_parent_indices(logs_of)
    by_group, by_log = _of_groups(groups), _of_logs(logs)
    gaps = {name: column.null_count > 0 for name, column in {**by_group, **by_log}.items()}
    columns = {name: column for name, column in by_log.items() if _is_wanted(name, wanted)}
    columns |= {name: column.take(group_of) for name, column in by_group.items() if _is_wanted(name, wanted)}
    if "__time_ns_part__" in columns:
        columns["__time_ns_part__"] = columns.pop("__time_ns_part__")  # it comes last
    columns |= contents(logs, gaps, wanted)
    if not columns:  # a record batch without columns does not know how many rows it has
        raise Unusual("none of the columns is there")
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns)), ends


def _is_wanted(name: str, wanted: Wanted) -> bool:
    return wanted is None or name in wanted


def _of_groups(groups: pa.Array) -> dict[str, pa.Array]:
    """What all logs of a group have in common, one value for each group."""
    import pyarrow.compute as pc

    from etlcore_sls.pivot import pivot

    tags = groups.field("LogTags")
    pairs, owners = tags.flatten(), pc.list_parent_indices(tags)
    keys, values = _text(pairs.field("Key")), _text(pairs.field("Value"))
    return {
        "__topic__": _text(groups.field("Topic")),
        "__source__": _text(groups.field("Source")),
        **pivot(len(groups), owners, keys, values, "__tag__:{}".format),
    }


def _of_logs(logs: pa.Array) -> dict[str, pa.Array]:
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {"__time__": pc.fill_null(logs.field("Time"), 0).cast(pa.int64())}
    nanoseconds = logs.field("Time_ns")
    if nanoseconds.null_count < len(nanoseconds):
        columns["__time_ns_part__"] = nanoseconds.cast(pa.int64())
    return columns


def _contents(logs: pa.Array, gaps: dict[str, bool], wanted: Wanted) -> dict[str, pa.Array]:
    """The fields of logs. ``gaps`` says of each metadata column whether some logs do not have it."""
    import pyarrow.compute as pc

    from etlcore_sls.pivot import pivot

    def name(key: str) -> str | None:
        if gaps.get(key):
            raise Unusual(f"{key} belongs to the service in some logs")
        named = f"{RENAMED}{key}" if key in gaps else key
        return named if _is_wanted(named, wanted) else None

    lists = logs.field("Contents")
    pairs, owners = lists.flatten(), pc.list_parent_indices(lists)
    try:
        return pivot(len(logs), owners, _text(pairs.field("Key")), _text(pairs.field("Value")), name)
    except KeyError as error:
        raise Unusual(f"two fields are called {error}") from None


def _text(column: pa.Array) -> pa.Array:
    """What is absent is empty, as in the SDK's messages."""
    if not column.null_count:
        return column
    import pyarrow.compute as pc

    return pc.fill_null(column, "")
