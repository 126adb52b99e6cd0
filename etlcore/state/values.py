"""Rows as JSON text and back, keeping what JSON cannot hold readable and, for the usual types, restorable.

A value that JSON lacks becomes an object with one key that names its type: ``{"$bytes": "aGk="}`` (base64),
``{"$datetime": "2024-01-01T00:00:00+00:00"}``, ``$date``, ``$time``, ``{"$timedelta": 1.5}`` (seconds),
``{"$decimal": "1.10"}``, ``$uuid``, ``{"$float": "nan"}``, ``$set``. A mapping whose keys are not all text, or that
would look like one of these, becomes ``{"$items": [[key, value], …]}``. Anything else becomes ``{"$repr": "…"}`` and
comes back as that text. Tuples come back as lists.
"""

from __future__ import annotations

import base64
import json
import math
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any


def encode(value: Any) -> str:
    """The value as JSON text that UTF-8 can hold."""
    return dumps(_tag(value))


def dumps(tagged: Any, indent: int | None = None) -> str:
    """Plain JSON data as text that UTF-8 can hold."""
    text = json.dumps(tagged, ensure_ascii=False, allow_nan=False, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate: only an escape can hold it
        return json.dumps(tagged, allow_nan=False, indent=indent)
    return text


def decode(text: str) -> Any:
    """The value that `encode` was given."""
    return json.loads(text, object_pairs_hook=_untag)


def _tag(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if type(value) in (str, int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": str(float(value))}
    if isinstance(value, Mapping):
        return _tag_mapping(value)
    if isinstance(value, list | tuple):
        return [_tag(v) for v in value]
    for kind, name, write in _WRITERS:
        if isinstance(value, kind):
            return {name: write(value)}
    return {"$repr": repr(value)}


def _tag_mapping(value: Mapping[Any, Any]) -> dict[str, Any]:
    plain = all(type(key) is str for key in value)
    if plain and not (len(value) == 1 and next(iter(value)).startswith("$")):
        return {key: _tag(v) for key, v in value.items()}
    return {"$items": [[_tag(k), _tag(v)] for k, v in value.items()]}


def _untag(pairs: list[tuple[str, Any]]) -> Any:
    if len(pairs) == 1:
        name, value = pairs[0]
        read = _READERS.get(name)
        if read is not None:
            return read(value)
    return dict(pairs)


def _base64(value: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(value).decode("ascii")


def _sorted_set(value: set[Any] | frozenset[Any]) -> list[Any]:
    return sorted((_tag(v) for v in value), key=lambda v: json.dumps(v, sort_keys=True))


def _set(values: list[Any]) -> Any:
    try:
        return set(values)
    except TypeError:  # it held tuples, which have come back as lists
        return values


# In order: a datetime is a date too, and a bool or an enum member may be an int or a str.
_WRITERS: tuple[tuple[Any, str, Callable[[Any], Any]], ...] = (
    (str, "$repr", str),
    (int, "$repr", repr),
    (bytes | bytearray | memoryview, "$bytes", _base64),
    (datetime, "$datetime", datetime.isoformat),
    (date, "$date", date.isoformat),
    (time, "$time", time.isoformat),
    (timedelta, "$timedelta", timedelta.total_seconds),
    (Decimal, "$decimal", str),
    (uuid.UUID, "$uuid", str),
    (set | frozenset, "$set", _sorted_set),
)

_READERS: dict[str, Callable[[Any], Any]] = {
    "$bytes": base64.b64decode,
    "$datetime": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$timedelta": lambda seconds: timedelta(seconds=seconds),
    "$decimal": Decimal,
    "$uuid": uuid.UUID,
    "$float": float,
    "$set": _set,
    "$items": dict,
    "$repr": lambda text: text,
}
