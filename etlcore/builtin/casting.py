"""Values of one type made from values of another, singly and as whole columns.

What a single value becomes defines the meaning. A column goes through Arrow where that gives exactly the same; the
values that need a look are looked at singly.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal

from etlcore.batch import column_values
from etlcore.builtin.expression.rows import NUMBER

if TYPE_CHECKING:
    import pyarrow as pa

TypeName = Literal["int", "float", "text", "bool", "timestamp", "date"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_SECOND = 253_402_300_799  # of the year 9999
_EXACT = 2**53  # whole numbers up to here are exact as floats
_SHOWN = 60
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

_INTEGER_TEXT = r"\A-?[0-9]{1,18}\z"
_FLOAT_TEXT = r"\A-?[0-9]{1,40}(\.[0-9]{1,40})?\z"
_DAY_TEXT = r"[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_MOMENT_TEXT = rf"\A{_DAY_TEXT}[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{{1,6}})?Z?\z"


class Impossible(ValueError):
    """A value that cannot become one of the type; the text says why."""


def spelled(value: Any) -> str:
    """A value as text: texts as they are, bytes as UTF-8, everything else as JSON writes it. Raises Impossible."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        try:
            return repr(value)
        except ValueError:
            raise Impossible("a whole number of too many digits") from None
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise Impossible("bytes that are not UTF-8") from None
    from etlcore.builtin.jsonlines import to_line

    try:
        line = to_line({"": value}).decode()[len('{"":') : -1]
    except TypeError:
        raise Impossible(f"holds {type(value).__name__}, which has no form as text") from None
    return str(json.loads(line)) if line.startswith('"') else line


def _whole(value: Any) -> int:
    spelled_well = not isinstance(value, str) or NUMBER.fullmatch(value)
    if not spelled_well or not isinstance(value, str | int | float | Decimal):
        raise _refused(value, "is no whole number")
    try:
        number = Decimal(value)
    except InvalidOperation:  # an exponent beyond what a Decimal has
        raise _refused(value, "is beyond 64 bits") from None
    if not number.is_finite() or (number and number.adjusted() < 0):
        raise _refused(value, "is no whole number")
    if number.adjusted() > 19 or not -(2**63) <= int(number) < 2**63:
        raise _refused(value, "is beyond 64 bits")
    if number != int(number):
        raise _refused(value, "is no whole number")
    return int(number)


def _floating(value: Any) -> float:
    if isinstance(value, str) and not NUMBER.fullmatch(value):
        raise _refused(value, "is no number")
    if not isinstance(value, str | int | float | Decimal):
        raise _refused(value, "is no number")
    try:
        number = float(value)
    except (OverflowError, ValueError):
        raise _refused(value, "is too large a number") from None
    if number in (float("inf"), -float("inf")) and not isinstance(value, float):
        raise _refused(value, "is too large a number")
    return number


def _truth(value: Any) -> bool:
    if isinstance(value, str):
        found = _WORDS.get(value.lower())
        if found is not None:
            return found
    elif isinstance(value, int | float | Decimal) and value in (0, 1):
        return bool(value)
    raise _refused(value, "is neither true nor false")


def _moment(value: Any) -> datetime:
    try:
        if isinstance(value, str):
            if NUMBER.fullmatch(value):
                return _after_epoch(Decimal(value))
            return _in_utc(datetime.fromisoformat(value))
        if isinstance(value, date):
            return _in_utc(value if isinstance(value, datetime) else datetime(value.year, value.month, value.day))
        if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            return _after_epoch(Decimal(value))
    except (ValueError, OverflowError, InvalidOperation):
        pass
    raise _refused(value, "is no time: neither ISO 8601 nor seconds since 1970")


def _after_epoch(seconds: Decimal) -> datetime:
    if not abs(seconds) <= _LAST_SECOND:
        raise ValueError("beyond the years that there are")
    return _EPOCH + timedelta(microseconds=round(seconds * 1_000_000))


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _day(value: Any) -> date:
    try:
        if isinstance(value, str) and not NUMBER.fullmatch(value):
            return date.fromisoformat(value) if len(value) <= 10 else _in_utc(datetime.fromisoformat(value)).date()
        if isinstance(value, date):
            return _in_utc(value).date() if isinstance(value, datetime) else value
    except (ValueError, OverflowError):
        pass
    raise _refused(value, "is no date in ISO 8601")


def _refused(value: Any, why: str) -> Impossible:
    try:
        shown = repr(value) if isinstance(value, str | int | float | bytes) else f"a {type(value).__name__}"
    except ValueError:  # Python refuses to write whole numbers of thousands of digits
        shown = "a very long number"
    return Impossible(f"{shown if len(shown) <= _SHOWN else shown[: _SHOWN - 3] + '...'} {why}")


# Columns: each gives nulls where a value needs a look, and None where all of them do


def _quick_whole(column: pa.Array) -> pa.Array | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        return column.cast(pa.int64())
    if pa.types.is_boolean(kind):
        return column.cast(pa.int64())
    if pa.types.is_floating(kind):
        column = column.cast(pa.float64())
        whole = pc.and_(pc.equal(column, pc.trunc(column)), pc.less_equal(pc.abs(column), float(_EXACT)))
        return _where(whole, column).cast(pa.int64())
    return _matching(column, _INTEGER_TEXT).cast(pa.int64()) if _is_text(kind) else None


def _quick_floating(column: pa.Array) -> pa.Array | None:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return column.cast(pa.float64(), safe=False)
    return _matching(column, _FLOAT_TEXT).cast(pa.float64()) if _is_text(kind) else None


def _quick_text(column: pa.Array) -> pa.Array | None:
    import pyarrow as pa

    kind = column.type
    simple = pa.types.is_integer(kind) or pa.types.is_boolean(kind) or _is_text(kind) or pa.types.is_binary(kind)
    return column.cast(pa.string()) if simple else None


def _quick_truth(column: pa.Array) -> pa.Array | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not _is_text(column.type):
        return None
    lower = pc.ascii_lower(column)
    words = {truth: pa.array([word for word, it in _WORDS.items() if it is truth], column.type) for truth in _TRUTHS}
    known = pc.or_(pc.is_in(lower, words[True]), pc.is_in(lower, words[False]))
    return _where(known, pc.is_in(lower, words[True]))


_TRUTHS = (True, False)


def _quick_moment(column: pa.Array) -> pa.Array | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind, utc = column.type, pa.timestamp("us", "UTC")
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("us", kind.tz), safe=kind.unit != "ns").cast(utc)
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        seconds = column.cast(pa.int64())
        within = pc.and_(pc.greater_equal(seconds, 0), pc.less_equal(seconds, _LAST_SECOND))
        return _where(within, seconds).cast(pa.timestamp("s")).cast(utc)
    if not _is_text(kind):
        return None
    return pc.utf8_rtrim(_matching(column, _MOMENT_TEXT), characters="Z").cast(pa.timestamp("us")).cast(utc)


def _quick_day(column: pa.Array) -> pa.Array | None:
    import pyarrow as pa

    return _matching(column, rf"\A{_DAY_TEXT}\z").cast(pa.date32()) if _is_text(column.type) else None


def _where(mask: pa.Array, column: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(mask, column, pa.scalar(None, column.type))


def _matching(column: pa.Array, pattern: str) -> pa.Array:
    import pyarrow.compute as pc

    return _where(pc.match_substring_regex(column, pattern=pattern), column)


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


@dataclass(frozen=True, slots=True)
class Target:
    """A type to cast to."""

    value: Callable[[Any], Any]
    """A value that is not null as one of the type; raises Impossible."""
    quick: Callable[[pa.Array], pa.Array | None]
    alias: str
    """The Arrow type's name."""

    def column(self, column: pa.Array) -> tuple[pa.Array, dict[int, str]]:
        """A column as one of the type, null where a value cannot be; and by index why it cannot."""
        import pyarrow as pa
        import pyarrow.compute as pc

        kind = pa.timestamp("us", "UTC") if self.alias == "timestamp" else pa.type_for_alias(self.alias)
        if column.type == kind or column.null_count == len(column):
            return column.cast(kind) if column.type == kind else pa.nulls(len(column), kind), {}
        try:
            made = self.quick(column)
        except pa.ArrowInvalid:  # one value that looked well and is not, such as February 30
            made = None
        made = pa.nulls(len(column), kind) if made is None else made
        if made.null_count == column.null_count:
            return made, {}
        odd = pc.and_(made.is_null(), column.is_valid())
        found, refused = self._singly(column, pc.indices_nonzero(odd))
        return pc.replace_with_mask(made, odd, pa.array(found, kind)), refused

    def _singly(self, column: pa.Array, indices: pa.Array) -> tuple[list[Any], dict[int, str]]:
        found: list[Any] = []
        refused: dict[int, str] = {}
        for index, value in zip(indices.to_pylist(), column_values(column.take(indices)), strict=True):
            try:
                found.append(self.value(value))
            except Impossible as error:
                found.append(None)
                refused[index] = str(error)
        return found, refused


TARGETS: dict[TypeName, Target] = {
    "int": Target(_whole, _quick_whole, "int64"),
    "float": Target(_floating, _quick_floating, "float64"),
    "text": Target(spelled, _quick_text, "string"),
    "bool": Target(_truth, _quick_truth, "bool"),
    "timestamp": Target(_moment, _quick_moment, "timestamp"),
    "date": Target(_day, _quick_day, "date32"),
}
