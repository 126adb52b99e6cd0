"""Directories by the values of columns, as Hive has them: ``day=2026-01-31/country=de/``."""

from __future__ import annotations

import datetime
import decimal
import re
import uuid
from collections.abc import Sequence

from etlcore.batch import Row

_NULL = "__HIVE_DEFAULT_PARTITION__"
_UNSAFE = re.compile(r"""[\x00-\x1f\x7f"#%'*/:=?\\{}\[\]^<>|]""")
_LONGEST = 255  # bytes of a name in a directory
_PLAIN = (str, int, float, decimal.Decimal, datetime.date, datetime.time, uuid.UUID)


class NoPartition(ValueError):
    """A value that no directory can be named after; the text says why."""


def directory_of(row: Row, columns: Sequence[str]) -> str:
    """The directory of a row, one part for each column; empty for no columns. Raises NoPartition."""
    return "/".join(_part(column, row.get(column)) for column in columns)


def split(rows: Sequence[Row], columns: Sequence[str]) -> tuple[dict[str, list[int]], dict[int, str]]:
    """The rows of each directory, by their index; and those that have none, each with the reason."""
    if not columns:
        return {"": list(range(len(rows)))} if rows else {}, {}
    groups: dict[str, list[int]] = {}
    refused: dict[int, str] = {}
    for index, row in enumerate(rows):
        try:
            groups.setdefault(directory_of(row, columns), []).append(index)
        except NoPartition as error:
            refused[index] = str(error)
    return groups, refused


def _part(column: str, value: object) -> str:
    part = f"{_escaped(column)}={_text(column, value)}"
    try:
        length = len(part.encode())
    except UnicodeEncodeError:
        raise NoPartition(
            f"column {column!r} holds a text that is no Unicode: no directory can have its name"
        ) from None
    if length > _LONGEST:
        raise NoPartition(f"column {column!r} holds a value too long for a directory's name ({length} bytes)")
    return part


def _text(column: str, value: object) -> str:
    if value is None:
        return _NULL
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, _PLAIN):
        raise NoPartition(f"column {column!r} holds {type(value).__name__}: a directory is named by a text or a number")
    text = value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)
    if text == _NULL:
        raise NoPartition(f"column {column!r} holds {_NULL}, which would be read as null")
    return _escaped(text)


def _escaped(text: str) -> str:
    """Percent escapes for what has a meaning in paths, in Hive or in a shell; other scripts stay as they are."""
    return _UNSAFE.sub(lambda match: f"%{ord(match[0]):02X}", text)
