"""A row becomes a log: its time, where it belongs, and its fields as text. The reverse of `etlcore_sls.decode`.

    time column, __time_ns_part__       the log's time
    __topic__, __source__, __tag__:NAME those of the LogGroup
    __content__:NAME                    the field NAME, where the source had to rename it because of the above
    any other                           a field of that name

Text stays as it is. None leaves the field out. A list, a dict and the like become JSON; whatever else JSON writes as a
text (a time, a Decimal, bytes as URL-safe base64) is that text; numbers and truth values are written as in JSON, NaN
and infinities as ``NaN``, ``Infinity`` and ``-Infinity``.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from importlib import import_module
from typing import Any, NamedTuple

from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from etlcore_sls.decode import RENAMED
from etlcore_sls.wire.protobuf import encode_pair, frame, varint

Row = dict[str, Any]

TIME, TIME_NS, TOPIC, SOURCE, TAG = "__time__", "__time_ns_part__", "__topic__", "__source__", "__tag__:"
_METADATA = frozenset({TIME, TIME_NS, TOPIC, SOURCE})
_GIGA = 1_000_000_000
_SECONDS = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,9})[0-9]*)?")

# The SDK's message whose texts are bytes.
_Log: Any = import_module("aliyun.log.proto").LogRaw


class BadRow(ValueError):
    """A row that cannot become a log; the text says why."""


class Place(NamedTuple):
    """What all logs of one LogGroup have in common."""

    topic: bytes
    source: bytes
    tags: tuple[tuple[bytes, bytes], ...]

    def encode(self) -> bytes:
        """The end of an encoded LogGroup, behind its logs."""
        parts = [
            b"".join((tag, varint(len(text)), text)) for tag, text in ((b"\x1a", self.topic), (b"\x22", self.source))
        ]
        parts.extend(encode_pair(b"\x32", key, value) for key, value in self.tags)
        return b"".join(parts)


class LogMaker:
    """Makes logs; all of one sink are made in the same way."""

    def __init__(self, time_column: str, topic: str, source: str) -> None:
        self.time_column = time_column
        self.topic = topic.encode()
        self.source = source.encode()

    def make(self, row: Row, now: float) -> tuple[bytes, Place]:
        """A log, framed for a LogGroup, and its place; ``now`` is the time of a log that has none. Raises BadRow."""
        time, ns = self._time(row, now)
        log = _Log(Time=time)
        if ns is not None:
            log.Time_ns = ns
        add = log.Contents.add
        topic, source = self.topic, self.source
        tags: list[tuple[bytes, bytes]] = []
        for name, value in row.items():
            if value is None:
                continue
            key = name if isinstance(name, str) else str(name)
            if not key.startswith("__"):
                add(Key=_bytes(key, key), Value=text_of(value, key))
            elif key == TOPIC:
                topic = text_of(value, key)
            elif key == SOURCE:
                source = text_of(value, key)
            elif key.startswith(TAG):
                tags.append((_bytes(key[len(TAG) :], key), text_of(value, key)))
            elif (field := field_of(key)) is not None:
                add(Key=_bytes(field, key), Value=text_of(value, key))
        return frame(log.SerializeToString()), Place(topic, source, tuple(tags))

    def moment(self, value: Any) -> tuple[int, int | None]:
        """Seconds since 1970, and nanoseconds within the second where they are not 0. Raises BadRow."""
        time, ns = _moment(value, self.time_column)
        if not 0 <= time < 2**32:
            raise BadRow(f"{self.time_column}: {value!r} is not in seconds since 1970, up to the year 2106")
        return time, ns

    def _time(self, row: Row, now: float) -> tuple[int, int | None]:
        """Seconds since 1970, and nanoseconds within the second where the row has them."""
        value = row.get(self.time_column)
        if value is None:
            return int(now), None
        time, ns = self.moment(value)
        if self.time_column == TIME and row.get(TIME_NS) is not None:
            ns = nanoseconds(row[TIME_NS])
        return time, ns


def field_of(column: str) -> str | None:
    """The field that a column becomes; None for those that are no fields."""
    if not column.startswith("__"):
        return column
    if column in _METADATA or column.startswith(TAG):
        return None
    name = column.removeprefix(RENAMED)
    return name if name in _METADATA or name.startswith(TAG) else column


def text_of(value: Any, column: str) -> bytes:
    """A value, which is not None, as a log has it: text in UTF-8. Raises BadRow."""
    if isinstance(value, str):
        return _bytes(value, column)
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, float) and not math.isfinite(value):
        return b"NaN" if math.isnan(value) else b"Infinity" if value > 0 else b"-Infinity"
    try:
        if isinstance(value, int):
            return b"%d" % value
        plain = to_jsonable_python(value, inf_nan_mode="null", bytes_mode="base64", timedelta_mode="float")
        return _bytes(plain, column) if isinstance(plain, str) else to_json(plain, inf_nan_mode="null")
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        if isinstance(error, BadRow):
            raise
        raise BadRow(
            f"{column}: a value that has no form as text ({type(value).__name__}: {error}); convert it in a transform "
            "before"
        ) from None


def _bytes(text: str, column: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise BadRow(f"{column!a}: text that UTF-8 cannot hold: {error}") from None


def _moment(value: Any, column: str) -> tuple[int, int | None]:
    if isinstance(value, bool):
        raise BadRow(f"{column}: {value!r} is not a time")
    if isinstance(value, int):
        return value, None
    if isinstance(value, str):
        return _written_moment(value.strip(), column)
    if isinstance(value, datetime):
        return _datetime(value, column)
    try:
        seconds = float(value)  # also a Decimal
        if not math.isfinite(seconds):
            raise ValueError
    except (TypeError, ValueError):
        raise BadRow(f"{column}: {value!r} is not a time") from None
    whole = math.floor(seconds)
    ns = round((value - whole) * _GIGA)
    return (whole + 1, 0) if ns == _GIGA else (whole, ns or None)


def _written_moment(text: str, column: str) -> tuple[int, int | None]:
    seconds = _SECONDS.fullmatch(text)
    if seconds is not None:
        return int(seconds[1]), int((seconds[2] or "0").ljust(9, "0")) or None
    try:
        return _datetime(datetime.fromisoformat(text), column)
    except BadRow:
        raise
    except ValueError:
        raise BadRow(
            f"{column}: {text!r} is not a time; it can be seconds since 1970, or 2024-05-01T08:00:00+08:00"
        ) from None


def _datetime(value: datetime, column: str) -> tuple[int, int | None]:
    if value.tzinfo is None:
        raise BadRow(f"{column}: the time {value.isoformat()} has no zone")
    return math.floor(value.replace(microsecond=0).timestamp()), value.microsecond * 1000 or None


def nanoseconds(value: Any) -> int:
    """A row's nanoseconds within its second. Raises BadRow."""
    try:
        ns = int(value)
    except (TypeError, ValueError, OverflowError):
        ns = -1
    if isinstance(value, bool) or not 0 <= ns < _GIGA:
        raise BadRow(f"{TIME_NS}: {value!r} is not a number of nanoseconds below one second")
    return ns
