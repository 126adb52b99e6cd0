"""A batch as SQLite takes it: columns of the five types that it knows.

Texts, whole numbers up to 64 bits, fractions, bytes and null stay what they are; true and false become 1 and 0. What
SQLite lacks becomes text, in the form that JSON lines have for it: dates and times as ISO 8601, Decimals and UUIDs as
their digits, lists and mappings as JSON; a duration becomes its seconds. NaN is stored as null, by SQLite itself. A row
with a whole number of more than 64 bits is refused: nothing that SQLite has for it would still be that number.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from etlcore.batch import Batch, Row, column_values

_PLAIN = {int, float, str, bytes, bool, type(None)}
_LEAST, _MOST = -(2**63), 2**63 - 1
_CANNOT = (PydanticSerializationError, TypeError, ValueError, RecursionError)

_to_json = partial(to_json, inf_nan_mode="null", bytes_mode="base64", timedelta_mode="float")
_to_plain = partial(to_jsonable_python, inf_nan_mode="null", bytes_mode="base64", timedelta_mode="float")


def fold(name: str) -> str:
    """What SQLite compares names by: it ignores the case of A to Z, and of nothing else."""
    return name.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")


@dataclass(slots=True)
class Columns:
    """The values of a batch by column, and the rows that cannot be stored."""

    rows: int
    values: dict[str, list[Any]] = field(default_factory=dict)
    """For each column, under the name that it came with."""
    bad: dict[int, str] = field(default_factory=dict)

    def refuse(self, rows: Iterable[int], reason: str) -> None:
        """These rows cannot be stored; the first reason for a row counts."""
        for row in rows:
            self.bad.setdefault(row, reason)

    def refuse_surrogates(self) -> None:
        """Find the texts that have no form in UTF-8, after SQLite has met one."""
        for name, values in self.values.items():
            found = (i for i, value in enumerate(values) if type(value) is str and not _may_be_encoded(value))
            self.refuse(found, f"column `{name}` holds a text that has no form in UTF-8 (a lone surrogate)")


def to_columns(batch: Batch) -> Columns:
    """The columns of a batch. Of two names that are one to SQLite, a row may have one."""
    columns = Columns(len(batch))
    for name, values in _of_arrow(batch, columns) if batch.columnar else _of_rows(batch.rows, columns):
        columns.values[name] = _storable(name, values, columns)
    return columns


def type_for(values: Iterable[Any]) -> str:
    """The type of a new column that holds these values as they are; none for values of several types."""
    kinds = set(map(type, values)) - {type(None)}
    if kinds and kinds <= {int, bool}:
        return "INTEGER"
    if kinds and kinds <= {int, bool, float}:
        return "REAL" if kinds == {float} else "NUMERIC"
    if kinds == {str}:
        return "TEXT"
    return "BLOB" if kinds == {bytes} else ""


def _of_arrow(batch: Batch, columns: Columns) -> Iterator[tuple[str, list[Any]]]:
    names = batch.arrow.schema.names
    if len(set(map(fold, names))) < len(names) or any("\0" in name for name in names):
        yield from _of_rows(batch.rows, columns)  # which row has which of them is told row by row
        return
    for name, column in zip(names, batch.arrow.columns, strict=True):
        yield name, column_values(column)


def _of_rows(rows: list[Row], columns: Columns) -> Iterator[tuple[str, list[Any]]]:
    spellings: dict[str, list[Any]] = {}
    for key in dict.fromkeys(chain.from_iterable(rows)):
        spellings.setdefault(fold(key if isinstance(key, str) else str(key)), []).append(key)
    for keys in spellings.values():
        name = keys[0] if isinstance(keys[0], str) else str(keys[0])
        if "\0" in name or not _may_be_encoded(name):
            columns.refuse(_having(rows, keys), f"SQLite cannot have a column with the name {name!r}")
        elif len(keys) == 1:
            yield name, [row.get(keys[0]) for row in rows]
        else:
            yield name, [_only_one(row, keys, index, columns) for index, row in enumerate(rows)]


def _only_one(row: Row, keys: list[Any], index: int, columns: Columns) -> Any:
    found = [key for key in keys if row.get(key) is not None]
    if len(found) > 1:
        names = " and ".join(f"`{key}`" for key in found)
        columns.refuse([index], f"{names} are one column to SQLite, which ignores case")
    return row[found[0]] if found else None


def _having(rows: list[Row], keys: list[Any]) -> Iterator[int]:
    return (index for index, row in enumerate(rows) if any(key in row for key in keys))


def _may_be_encoded(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _storable(name: str, values: list[Any], columns: Columns) -> list[Any]:
    """The values of one column as SQLite can hold them."""
    kinds = set(map(type, values))
    if not kinds <= _PLAIN:
        values = [value if type(value) in _PLAIN else _plain(name, value, i, columns) for i, value in enumerate(values)]
        kinds = set(map(type, values))
    if int in kinds:
        _refuse_large(name, values, columns)
    return values


def _refuse_large(name: str, values: list[Any], columns: Columns) -> None:
    numbers = [value for value in values if type(value) is int]
    if min(numbers) >= _LEAST and max(numbers) <= _MOST:
        return
    for index, value in enumerate(values):
        if type(value) is int and not _LEAST <= value <= _MOST:
            columns.refuse([index], f"column `{name}` holds a whole number of more than 64 bits, which SQLite lacks")


def _plain(name: str, value: Any, index: int, columns: Columns) -> Any:
    """A value of a type that SQLite does not know."""
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    try:
        plain = _to_plain(value)
        if plain is None or isinstance(plain, int | float | str):
            return _exactly(plain)
        return _json(value, plain)
    except _CANNOT as error:
        kind = type(value).__name__
        columns.refuse([index], f"column `{name}` holds a value that SQLite cannot store ({kind}: {error})")
        return None


def _exactly(value: Any) -> Any:
    """Without what a subclass of int, float or str may add."""
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _json(value: Any, plain: Any) -> str:
    try:
        return _to_json(value).decode()
    except _CANNOT:  # a lone surrogate, which keeps its escape
        return json.dumps(plain, separators=(",", ":"))
