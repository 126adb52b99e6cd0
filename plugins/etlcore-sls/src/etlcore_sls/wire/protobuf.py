"""The protobuf messages of SLS, by hand: LogGroupList, LogGroup, Log, Content and LogTag (proto2).

    LogGroupList  1 LogGroup*
    LogGroup      1 Log*, 2 Category, 3 Topic, 4 Source, 5 MachineUUID, 6 LogTag*
    Log           1 Time (uint32, required), 2 Content*, 4 Time_ns (fixed32)
    Content       1 Key, 2 Value (both required)
    LogTag        1 Key, 2 Value (both required)

A LogGroupList is nothing but its groups, each framed by a tag and a length. So a server that keeps framed groups
answers a pull by joining bytes, and no log is ever looked at.

Text stays bytes here: SLS does not promise UTF-8, and what to do with other bytes is the reader's choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {FIXED64: 8, FIXED32: 4}
_CONTENT_TAG = 0x12  # field 2 of a Log
_GROUP_TAG = b"\x0a"  # field 1, length-delimited: one LogGroup of a LogGroupList


class ProtobufError(ValueError):
    """Bytes that are not the message they should be."""


@dataclass(slots=True)
class Log:
    """One log: seconds since 1970, key and value pairs in order, and nanoseconds within the second if it has any."""

    time: int
    contents: list[tuple[bytes, bytes]]
    time_ns: int | None = None


@dataclass(slots=True)
class LogGroup:
    """What one PutLogs call stores, and what a cursor counts."""

    logs: list[Log] = field(default_factory=list)
    topic: bytes = b""
    source: bytes = b""
    machine_uuid: bytes = b""
    category: bytes = b""
    tags: list[tuple[bytes, bytes]] = field(default_factory=list)


# --- writing ---------------------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    """A non-negative integer as a protobuf varint."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def frame(group: bytes) -> bytes:
    """One encoded LogGroup as an element of a LogGroupList."""
    return b"".join((_GROUP_TAG, varint(len(group)), group))


def encode_pair(tag: bytes, key: bytes, value: bytes) -> bytes:
    """A Content (``tag`` 0x12 in a Log) or LogTag (0x32 in a LogGroup), framed."""
    body = b"".join((b"\x0a", varint(len(key)), key, b"\x12", varint(len(value)), value))
    return b"".join((tag, varint(len(body)), body))


def encode_log(log: Log) -> bytes:
    """One Log, framed as field 1 of a LogGroup."""
    parts = [b"\x08", varint(log.time)]
    parts.extend(encode_pair(b"\x12", key, value) for key, value in log.contents)
    if log.time_ns is not None:
        parts.append(b"\x25" + log.time_ns.to_bytes(4, "little"))
    body = b"".join(parts)
    return b"".join((b"\x0a", varint(len(body)), body))


def encode_log_group(group: LogGroup) -> bytes:
    """One LogGroup, not framed (``frame`` does that). Empty strings are left out."""
    parts = [encode_log(log) for log in group.logs]
    parts.extend(
        b"".join((tag, varint(len(text)), text))
        for tag, text in (
            (b"\x12", group.category),
            (b"\x1a", group.topic),
            (b"\x22", group.source),
            (b"\x2a", group.machine_uuid),
        )
        if text
    )
    parts.append(encode_tags(group.tags))
    return b"".join(parts)


def encode_tags(tags: Iterable[tuple[bytes, bytes]]) -> bytes:
    """LogTags, framed as field 6 of a LogGroup: append them to an encoded group to add tags to it."""
    return b"".join(encode_pair(b"\x32", key, value) for key, value in tags)


# --- reading ---------------------------------------------------------------------------------------------------------


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The varint at a position, and the position behind it."""
    value = shift = 0
    try:
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position
            shift += 7
            if shift > 63:
                raise ProtobufError("varint is longer than ten bytes")
    except IndexError:
        raise ProtobufError("message ends within a varint") from None


def _field(data: bytes, position: int, end: int) -> tuple[int, int, int, int, int]:
    """The field at a position: number, wire type, start and end of its payload, and the position behind it."""
    key, position = read_varint(data, position)
    number, kind = key >> 3, key & 7
    if not number:
        raise ProtobufError("field number 0")
    if kind == VARINT:
        value, position = read_varint(data, position)
        start, stop = value, value
    elif kind in _FIXED_SIZES:
        start, stop = position, position + _FIXED_SIZES[kind]
        position = stop
    elif kind == BYTES:
        size, start = read_varint(data, position)
        stop = position = start + size
    else:
        raise ProtobufError(f"wire type {kind} is not used by SLS")
    if position > end:
        raise ProtobufError("message ends within a field")
    return number, kind, start, stop, position


def fields(data: bytes, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """The fields of a message: number, wire type, then start and end of a payload, or the value of a varint twice.

    Raises ProtobufError where the bytes are not a message.
    """
    while position < end:
        number, kind, start, stop, position = _field(data, position, end)
        yield number, kind, start, stop


def split_group_list(data: bytes) -> list[bytes]:
    """The encoded LogGroups of a LogGroupList. Raises ProtobufError."""
    groups = []
    for number, kind, start, end in fields(data, 0, len(data)):
        if number == 1 and kind == BYTES:
            groups.append(data[start:end])
    return groups


def group_ends(data: bytes) -> Iterator[int]:
    """Where each framed LogGroup of a LogGroupList ends. Raises ProtobufError where it holds anything else."""
    position = 0
    while position < len(data):
        if data[position] != _GROUP_TAG[0]:
            raise ProtobufError("a LogGroupList holds something that is no LogGroup")
        size, position = read_varint(data, position + 1)
        position += size
        if position > len(data):
            raise ProtobufError("message ends within a field")
        yield position


def decode_log_group(data: bytes) -> LogGroup:
    """A LogGroup from its bytes, every log in it. Raises ProtobufError, also when a required field is missing."""
    group = LogGroup()
    for number, kind, start, end in fields(data, 0, len(data)):
        if kind != BYTES:
            continue
        if number == 1:
            group.logs.append(_decode_log(data, start, end))
        elif number == 2:
            group.category = data[start:end]
        elif number == 3:
            group.topic = data[start:end]
        elif number == 4:
            group.source = data[start:end]
        elif number == 5:
            group.machine_uuid = data[start:end]
        elif number == 6:
            group.tags.append(_decode_pair(data, start, end, "LogTag"))
    return group


def _decode_log(data: bytes, position: int, end: int) -> Log:
    time, time_ns, contents = None, None, []
    while position < end:
        # Nearly every field is a Content below 128 bytes, or one below 16 kB: read those without a call for each part.
        if data[position] == _CONTENT_TAG and position + 1 < end:
            size, position = data[position + 1], position + 2
            if size >= 0x80:
                size, position = read_varint(data, position - 1)
            last = position + size
            if last > end:
                raise ProtobufError("message ends within a field")
            contents.append(_decode_pair(data, position, last, "Content"))
            position = last
            continue
        number, kind, first, last, position = _field(data, position, end)
        if number == 1 and kind == VARINT:
            time = first
        elif number == 2 and kind == BYTES:
            contents.append(_decode_pair(data, first, last, "Content"))
        elif number == 4 and kind == FIXED32:
            time_ns = int.from_bytes(data[first:last], "little")
    if time is None:
        raise ProtobufError("a Log has no Time")
    return Log(time, contents, time_ns)


def _decode_pair(data: bytes, position: int, end: int, what: str) -> tuple[bytes, bytes]:
    # The usual form first: Key, then Value, each shorter than 128 bytes, and nothing else.
    if end - position >= 4 and data[position] == 0x0A and data[position + 1] < 0x80:
        middle = position + 2 + data[position + 1]
        rest = end - middle - 2
        if 0 <= rest < 0x80 and data[middle] == 0x12 and data[middle + 1] == rest:
            return data[position + 2 : middle], data[middle + 2 : end]
    return _decode_any_pair(data, position, end, what)


def _decode_any_pair(data: bytes, position: int, end: int, what: str) -> tuple[bytes, bytes]:
    key = value = None
    for number, kind, first, last in fields(data, position, end):
        if number == 1 and kind == BYTES:
            key = data[first:last]
        elif number == 2 and kind == BYTES:
            value = data[first:last]
    if key is None or value is None:
        raise ProtobufError(f"a {what} has no {'Key' if key is None else 'Value'}")
    return key, value


def check_log_group(data: bytes) -> int:
    """The number of logs in an encoded LogGroup. Raises ProtobufError when any part of it is malformed."""
    return len(decode_log_group(data).logs)


def log_times(data: bytes) -> list[int]:
    """The times of the logs in an encoded LogGroup, in order, without decoding the rest. Raises ProtobufError."""
    times = []
    for number, kind, start, end in fields(data, 0, len(data)):
        if number == 1 and kind == BYTES:
            found = [first for field, wire, first, _ in fields(data, start, end) if field == 1 and wire == VARINT]
            if not found:
                raise ProtobufError("a Log has no Time")
            times.append(found[-1])
    return times
