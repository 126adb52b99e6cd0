"""A condition evaluated on Arrow columns, wherever that gives exactly what evaluating it on rows would."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from etlcore.builtin.expression.nodes import (
    And,
    Column,
    Compare,
    In,
    IsNull,
    Literal,
    Node,
    Not,
    Number,
    Or,
    TextTest,
    Truth,
    Value,
)
from etlcore.builtin.expression.rows import NUMBER, like_to_regex, read_moment

if TYPE_CHECKING:
    import pyarrow as pa


class Inexact(Exception):
    """These columns need a look at each value: evaluate on rows."""


_FUNCTIONS = {
    "==": "equal",
    "!=": "not_equal",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
}
_EXACT_INTEGER = r"\A-?[0-9]{1,18}\z"  # fits into 64 bits
_EXACT_FLOAT = r"\A-?[0-9]{1,15}(\.[0-9]{1,20})?\z"  # whole numbers of 15 digits are exact as floats


def evaluate_columns(node: Node, record_batch: pa.RecordBatch) -> pa.BooleanArray:
    """The outcome for each row; null where it is null. Raises Inexact where a value may have no outcome."""
    import pyarrow.compute as pc

    match node:
        case And(items):
            joined = evaluate_columns(items[0], record_batch)
            for item in items[1:]:
                joined = pc.and_kleene(joined, evaluate_columns(item, record_batch))
            return joined
        case Or(items):
            joined = evaluate_columns(items[0], record_batch)
            for item in items[1:]:
                joined = pc.or_kleene(joined, evaluate_columns(item, record_batch))
            return joined
        case Not(item):
            return pc.invert(evaluate_columns(item, record_batch))
        case Truth(column):
            return _truth(_column(column, record_batch))
        case IsNull(operand):
            return pc.is_null(_column(operand, record_batch))
        case Compare(operator, left, Literal(value)):
            return _compare(operator, _column(left, record_batch), value)
        case Compare(operator, left, Column() | Number() as right):
            return _compare_columns(operator, _column(left, record_batch), _column(right, record_batch))
        case In(operand, values):
            return _is_in(_column(operand, record_batch), values)
        case TextTest(test, operand, pattern):
            return _text_test(test, _column(operand, record_batch), pattern)
    raise AssertionError(node)


def _column(operand: Column | Number, record_batch: pa.RecordBatch) -> pa.Array:
    import pyarrow as pa

    if isinstance(operand, Number):
        return _numbers(_column(operand.column, record_batch))
    indices = record_batch.schema.get_all_field_indices(operand.name)
    if not indices:
        return pa.nulls(record_batch.num_rows)
    column = record_batch.column(indices[-1])
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _numbers(column: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if _is_number(column.type) or pa.types.is_null(column.type):
        return column
    if not _is_text(column.type):
        raise Inexact
    spelled = pc.if_else(
        pc.match_substring_regex(column, pattern=rf"\A(?:{NUMBER.pattern})\z"), column, pa.scalar(None, column.type)
    )
    for pattern, wanted in ((_EXACT_INTEGER, pa.int64()), (_EXACT_FLOAT, pa.float64())):
        if pc.all(pc.match_substring_regex(spelled, pattern=pattern), min_count=0).as_py():
            return spelled.cast(wanted)
    raise Inexact


def _truth(column: pa.Array) -> pa.BooleanArray:
    import pyarrow as pa

    if _all_null(column):
        return _nulls(column)
    if not pa.types.is_boolean(column.type):
        raise Inexact
    return column


def _compare(operator: str, column: pa.Array, value: Value) -> pa.BooleanArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    if _all_null(column):
        return _nulls(column)
    kind = column.type
    if isinstance(value, bool):
        if not pa.types.is_boolean(kind):
            raise Inexact
        return pc.call_function(_FUNCTIONS[operator], [column, pa.scalar(value)])
    if isinstance(value, str):
        if pa.types.is_timestamp(kind):
            return _compare_times(operator, column, value)
        if not _is_text(kind):
            raise Inexact
        return pc.call_function(_FUNCTIONS[operator], [column, _text_scalar(value, kind)])
    if pa.types.is_integer(kind):
        return _compare_integers(operator, column, value)
    if pa.types.is_floating(kind) and _is_exact_float(value):
        return pc.call_function(_FUNCTIONS[operator], [column.cast(pa.float64()), pa.scalar(float(value))])
    raise Inexact


def _compare_integers(operator: str, column: pa.Array, value: int | float) -> pa.BooleanArray:
    """As whole numbers: through floats the large ones would lose their last digits."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if value != math.floor(value):
        if operator in ("==", "!="):
            return _always(operator == "!=", column)
        # x < 1.5 and x <= 1.5 are x <= 1; x > 1.5 and x >= 1.5 are x > 1.
        operator = "<=" if operator in ("<", "<=") else ">"
    whole = math.floor(value)
    try:
        limit = pa.scalar(whole, column.type)
    except (OverflowError, pa.ArrowInvalid):  # beyond what the column can hold
        return _always(operator in (("!=", "<", "<=") if whole > 0 else ("!=", ">", ">=")), column)
    return pc.call_function(_FUNCTIONS[operator], [column, limit])


def _compare_times(operator: str, column: pa.Array, value: str) -> pa.BooleanArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.type.unit == "ns":  # finer than the values of a row
        raise Inexact
    moment = read_moment(value, datetime(1970, 1, 1, tzinfo=UTC if column.type.tz else None))
    if moment is None:
        raise Inexact
    kind = pa.timestamp("us", column.type.tz)
    try:
        return pc.call_function(_FUNCTIONS[operator], [column.cast(kind), pa.scalar(moment, kind)])
    except pa.ArrowInvalid:  # too far from 1970 for microseconds
        raise Inexact from None


def _compare_columns(operator: str, left: pa.Array, right: pa.Array) -> pa.BooleanArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    if _all_null(left) or _all_null(right):
        return _nulls(left)
    kind = left.type
    ordered = operator not in ("==", "!=")
    alike = kind.equals(right.type)
    plain = _is_number(kind) or _is_text(kind) or (pa.types.is_boolean(kind) and not ordered)
    if not (alike and (plain or pa.types.is_timestamp(kind) or pa.types.is_date(kind))):
        raise Inexact
    return pc.call_function(_FUNCTIONS[operator], [left, right])


def _is_in(column: pa.Array, values: tuple[Value, ...]) -> pa.BooleanArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    if _is_text(column.type) and isinstance(values[0], str):
        texts = [_text_scalar(value, column.type).as_py() for value in values if isinstance(value, str)]
        found = pc.is_in(column, value_set=pa.array(texts, column.type))
        return pc.if_else(pc.is_valid(column), found, pa.scalar(None, pa.bool_()))
    joined = _compare("==", column, values[0])
    for value in values[1:]:
        joined = pc.or_kleene(joined, _compare("==", column, value))
    return joined


def _text_test(test: str, column: pa.Array, pattern: str) -> pa.BooleanArray:
    import pyarrow.compute as pc

    if _all_null(column):
        return _nulls(column)
    if not _is_text(column.type):
        raise Inexact
    _text_scalar(pattern, column.type)
    match test:
        case "startswith":
            return pc.starts_with(column, pattern=pattern)
        case "endswith":
            return pc.ends_with(column, pattern=pattern)
        case "contains":
            return pc.match_substring(column, pattern=pattern)
        case "like":
            return pc.match_substring_regex(column, pattern=rf"\A{like_to_regex(pattern)}\z")
        case _:
            return pc.match_substring_regex(column, pattern=pattern)


def _text_scalar(value: str, kind: Any) -> Any:
    import pyarrow as pa

    try:
        return pa.scalar(value, kind)
    except UnicodeEncodeError:
        raise Inexact from None


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_exact_float(value: int | float) -> bool:
    try:
        return float(value) == value
    except OverflowError:
        return False


def _all_null(column: pa.Array) -> bool:
    return bool(column.null_count == len(column))


def _nulls(column: pa.Array) -> pa.BooleanArray:
    import pyarrow as pa

    return pa.nulls(len(column), pa.bool_())


def _always(outcome: bool, column: pa.Array) -> pa.BooleanArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(pc.is_valid(column), pa.scalar(outcome), pa.scalar(None, pa.bool_()))
