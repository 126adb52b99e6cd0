"""Rows as JSON lines: one object a line, UTF-8, compact, keys in the order of the row.

What JSON lacks is written like this: NaN and infinities as null; dates and times as ISO 8601 text (UTC as ``Z``); a
duration as seconds; a Decimal and a UUID as text; bytes as base64 (the URL-safe alphabet of RFC 4648 §5); tuples and
sets as arrays; keys that are not text as their text. A lone surrogate keeps its escape (``\\ud800``), as UTF-8 has no
form for it. A value of any other type is an error that names its column.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json, to_jsonable_python

from etlcore.batch import Row

_fast = partial(to_json, inf_nan_mode="null", bytes_mode="base64", timedelta_mode="float")
_plain = partial(to_jsonable_python, inf_nan_mode="null", bytes_mode="base64", timedelta_mode="float")


def to_line(row: Row) -> bytes:
    """One row as JSON, without the newline. Raises TypeError when a value has no form in JSON."""
    try:
        return _fast(row)
    except (PydanticSerializationError, ValueError, RecursionError):
        return _slow(row)


def to_lines(rows: Iterable[Row]) -> bytes:
    """Rows as JSON lines, each ended by a newline. Raises TypeError when a value has no form in JSON."""
    lines = [to_line(row) for row in rows]
    lines.append(b"")
    return b"\n".join(lines)


def _slow(row: Row) -> bytes:
    plain = {}
    for name, value in row.items():
        try:
            plain[name if isinstance(name, str) else str(name)] = _plain(value)
        except (PydanticSerializationError, ValueError, RecursionError) as error:
            raise TypeError(
                f"column {name!r} holds a value that JSON cannot ({type(value).__name__}: {error}): convert it in a "
                "transform before"
            ) from None
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(plain, separators=(",", ":")).encode("ascii")


class BadLine(ValueError):
    """A line that is no JSON object; the text says why."""


def from_line(line: bytes) -> Row:
    """The row of one line. Raises BadLine.

    NaN, Infinity and numbers of any size are read; of a key given twice the last one counts.
    """
    try:
        value = from_json(line)
    except ValueError:
        value = _read_slowly(line)
    if type(value) is not dict:
        raise BadLine(f"not a JSON object but {_KINDS.get(type(value), 'a number')}")
    return value


_KINDS = {list: "an array", str: "a text", bool: "a truth value", type(None): "null"}


def _read_slowly(line: bytes) -> Any:
    # For the message, and for escapes of lone surrogates, which the fast reader refuses.
    try:
        return json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadLine(f"not UTF-8: byte 0x{line[error.start]:02x} at byte {error.start + 1}") from None
    except json.JSONDecodeError as error:
        raise BadLine(f"not JSON: {error.msg[:1].lower()}{error.msg[1:]} (column {error.colno})") from None
    except RecursionError:
        raise BadLine("not readable: nested too deeply") from None
    except ValueError as error:
        raise BadLine(f"not readable: {error}") from None
