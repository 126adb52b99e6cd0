"""Rows that a component may meet: text of all scripts, nulls, changing shapes, and values of every Arrow type."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from etlcore.batch import Batch, Row

Maker = Callable[[int], Row]
"""A row of a number."""

TEXTS = (
    "plain",
    "",
    " spaces at both ends ",
    "line\nbreak, tab\t, return\r",
    "quotes \" ' ` and \\ backslash",
    "Ünïcödé",
    "中文字符",
    "עברית العربية",
    "🙂 👩\u200d👩\u200d👧 e\u0301",
    "\u2028 \u2029 \ufeff \x7f",
    "null",
    '{"json": [1]}',
    "a,b;c|d",
    "x" * 5_000,
)
"""Texts that are often spoiled on their way."""


def batches(row: Maker, count: int, size: int, first: int = 0) -> list[Batch]:
    """So many batches of so many rows, numbered from ``first``."""
    return [Batch.from_rows([row(first + b * size + n) for n in range(size)]) for b in range(count)]


def shapes(row: Maker) -> list[Batch]:
    """Rows whose columns come and go, within a batch and from one to the next."""
    extra: Sequence[Row] = (
        {},
        {"first": "a"},
        {"second": "b", "first": "c"},
        {},
        {"third": "d"},
        {"first": "e", "third": "f", "fourth": "g"},
    )
    rows = [{**row(number), **more} for number, more in enumerate(extra)]
    return [Batch.from_rows(rows[:3]), Batch.from_rows(rows[3:])]


def nulls(row: Maker) -> list[Batch]:
    """Rows with a null in each column but one in turn, and a column that holds nothing else."""
    rows = []
    for number in range(6):
        made = row(number)
        rows.append({**made, "nothing": None, "sometimes": None if number % 2 else "there"})
    return [Batch.from_rows(rows)]


def typed(row: Maker) -> Iterator[tuple[str, Batch]]:
    """For each Arrow type its name and a batch of columns: those of two rows, and ``value`` of the type."""
    import pyarrow as pa

    for number, (name, values) in enumerate(columns()):
        rows = [row(number * 2), row(number * 2 + 1)]
        plain = Batch.from_rows(rows).arrow
        arrays = [*plain.columns, values]
        yield name, Batch.from_arrow(pa.RecordBatch.from_arrays(arrays, [*plain.schema.names, "value"]))


def columns() -> list[tuple[str, Any]]:
    """``(type, array of two values)`` for the types that Arrow has."""
    import datetime as dt
    import decimal

    import pyarrow as pa

    day, moment = dt.date(2024, 2, 29), dt.datetime(2024, 2, 29, 23, 59, 59, 999999)
    found: list[tuple[str, Any]] = []

    def add(kind: Any, *values: Any) -> None:
        found.append((str(kind), pa.array(values, type=kind)))

    add(pa.bool_(), True, False)
    for size in (8, 16, 32, 64):
        add(getattr(pa, f"int{size}")(), -(2 ** (size - 1)), 2 ** (size - 1) - 1)
        add(getattr(pa, f"uint{size}")(), 0, 2**size - 1)
    add(pa.float32(), 0.5, -0.25)
    add(pa.float64(), 1e300, float("nan"))
    add(pa.decimal128(20, 4), decimal.Decimal("1234567890.1234"), decimal.Decimal("-0.0001"))
    add(pa.string(), "text", "中")
    add(pa.large_string(), "text", "中")
    add(pa.binary(), b"\x00\xff", b"")
    add(pa.binary(2), b"ab", b"\x00\x01")
    add(pa.date32(), day, dt.date(1969, 12, 31))
    add(pa.date64(), day, dt.date(1970, 1, 1))
    add(pa.time32("s"), dt.time(1, 2, 3), dt.time(0))
    add(pa.time64("us"), dt.time(1, 2, 3, 4), dt.time(23, 59, 59, 999999))
    for unit in ("s", "ms", "us", "ns"):
        add(pa.timestamp(unit), moment.replace(microsecond=0), dt.datetime(1970, 1, 1))
    add(pa.timestamp("us", "UTC"), moment.replace(tzinfo=dt.UTC), dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
    add(pa.duration("us"), dt.timedelta(days=1, microseconds=1), dt.timedelta(seconds=-1))
    add(pa.list_(pa.int64()), [1, 2], [])
    add(pa.struct([("a", pa.int64()), ("b", pa.string())]), {"a": 1, "b": "x"}, {"a": 2, "b": "y"})
    add(pa.map_(pa.string(), pa.int64()), [("k", 1)], [])
    found.append(("dictionary", pa.array(["low", "high"]).dictionary_encode()))
    return found
