"""LogGroups become rows: one dict for each log, with the columns that SLS users know.

    __time__          seconds since 1970, an int                __topic__       the LogGroup's topic
    __time_ns_part__  nanoseconds within the second, an int,    __source__      the LogGroup's source
                      where the log has them                    __tag__:NAME    the LogGroup's tags

These belong to the service: a log cannot forge them. A field of a log with such a name keeps its value under
``__content__:NAME``. Where a log has a field twice, the last one counts, as in the official SDK. Text that is not UTF-8
is decoded with U+FFFD in place of what cannot be read, because a row must be writable as JSON.
"""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]

RENAMED = "__content__:"


def decode_group(group: Any, rows: list[Row]) -> int:
    """Append the rows of one LogGroup (the SDK's protobuf class); the number of logs with text that is not UTF-8."""
    base = _metadata(group)
    width = len(base) + 1
    damaged = 0
    for log in group.Logs:
        contents = log.Contents
        row = {"__time__": log.Time, **base}
        expected = width + len(contents)
        if log.HasField("Time_ns"):
            row["__time_ns_part__"] = log.Time_ns
            expected += 1
        for content in contents:
            row[content.Key] = content.Value
        # protobuf gives text that is not UTF-8 as bytes.
        if len(row) != expected or bytes in map(type, row.values()) or bytes in map(type, row):
            row, readable = _careful(log, base)
            damaged += not readable
        rows.append(row)
    return damaged


def _metadata(group: Any) -> Row:
    base: Row = {"__topic__": _text(group.Topic), "__source__": _text(group.Source)}
    for tag in group.LogTags:
        base[f"__tag__:{_text(tag.Key)}"] = _text(tag.Value)
    return base


def _careful(log: Any, base: Row) -> tuple[Row, bool]:
    """The row of a log that is not as simple as most, and whether all of it is UTF-8."""
    row = {"__time__": log.Time, **base}
    if log.HasField("Time_ns"):
        row["__time_ns_part__"] = log.Time_ns
    metadata = frozenset(row)
    readable = True
    for content in log.Contents:
        key, value = content.Key, content.Value
        readable = readable and isinstance(key, str) and isinstance(value, str)
        key = _text(key)
        row[f"{RENAMED}{key}" if key in metadata else key] = _text(value)
    return row, readable


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
