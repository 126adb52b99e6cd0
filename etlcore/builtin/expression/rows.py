"""A condition evaluated on Python values, a column at a time. This is what defines its meaning."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import reduce
from typing import Any

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
    Operand,
    Or,
    TextTest,
    Truth,
)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A condition that has no outcome for a row, with the reason."""

    reason: str


Outcome = bool | None | Mismatch
Columns = Callable[[str], list[Any]]
"""The values of a column by its name; nulls where it is missing."""

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?[0-9]+")


def evaluate_rows(node: Node, columns: Columns) -> list[Outcome]:
    """The outcome for each row."""
    match node:
        case And(items):
            return _join(_and, [evaluate_rows(item, columns) for item in items])
        case Or(items):
            return _join(_or, [evaluate_rows(item, columns) for item in items])
        case Not(item):
            return [not o if o.__class__ is bool else o for o in evaluate_rows(item, columns)]
        case Truth(column):
            return [v if v.__class__ is bool else _no_truth(column, v) for v in columns(column.name)]
        case IsNull(operand):
            return [v if v.__class__ is Mismatch else v is None for v in _values(operand, columns)]
        case Compare():
            return _compare(node, columns)
        case In(operand, values):
            return _is_in(operand, values, columns)
        case TextTest():
            return _text_test(node, columns)


def _join(both: Callable[[Outcome, Outcome], Outcome], results: list[list[Outcome]]) -> list[Outcome]:
    joined = results[0]
    for result in results[1:]:
        joined = [both(a, b) for a, b in zip(joined, result, strict=True)]
    return joined


def _and(a: Outcome, b: Outcome) -> Outcome:
    if a is False or b is False:
        return False
    if a.__class__ is Mismatch:
        return a
    if b.__class__ is Mismatch:
        return b
    return None if a is None or b is None else True


def _or(a: Outcome, b: Outcome) -> Outcome:
    if a is True or b is True:
        return True
    if a.__class__ is Mismatch:
        return a
    if b.__class__ is Mismatch:
        return b
    return None if a is None or b is None else False


def _no_truth(column: Column, value: Any) -> Outcome:
    if value is None:
        return None
    return Mismatch(f"column {column.name!r} holds {describe(value)}, which is no condition by itself: compare it")


def _values(operand: Column | Number, columns: Columns) -> list[Any]:
    if isinstance(operand, Column):
        return columns(operand.name)
    return [_number(operand.column, value) for value in columns(operand.column.name)]


def _number(column: Column, value: Any) -> Any:
    if isinstance(value, str):
        if not NUMBER.fullmatch(value):
            return None
        try:
            return int(value) if _INTEGER.fullmatch(value) else float(value)
        except ValueError:  # more digits than Python reads as a whole number
            return float(value)
    if value is None or kind(value) == "number":
        return value
    return Mismatch(f"column {column.name!r} holds {describe(value)}, which number() cannot read")


def _compare(node: Compare, columns: Columns) -> list[Outcome]:
    compare = _COMPARE[node.operator]
    left = _values(node.left, columns)
    if not isinstance(node.right, Literal):
        right = _values(node.right, columns)
        return [_compared(compare, node, a, b) for a, b in zip(left, right, strict=True)]
    constant = node.right.value
    usual = _USUAL[kind(constant)]
    return [
        compare(value, constant) if value.__class__ in usual else _compared(compare, node, value, constant)
        for value in left
    ]


def _compared(compare: Callable[[Any, Any], bool], node: Compare, a: Any, b: Any) -> Outcome:
    for value in (a, b):
        if value.__class__ is Mismatch:
            return value
    if a is None or b is None:
        return None
    if isinstance(node.right, Literal) and isinstance(b, str) and isinstance(a, date):
        moment = read_moment(b, a)
        if moment is None:
            return _mismatch(node.left, node.right, a, b)
        b = moment
    if kind(a) != kind(b) or kind(a) == "other":
        return _mismatch(node.left, node.right, a, b)
    if kind(a) == "truth" and node.operator not in ("==", "!="):
        return Mismatch(f"{_name(node.left)} and {_name(node.right)} hold truth values, which have no order")
    try:
        return bool(compare(a, b))
    except (TypeError, ArithmeticError):  # an aware and a naive time; a signalling NaN
        return _mismatch(node.left, node.right, a, b)


def _is_in(operand: Column | Number, values: tuple[Any, ...], columns: Columns) -> list[Outcome]:
    usual = _USUAL[kind(values[0])]
    wanted = frozenset(values)
    out: list[Outcome] = []
    for value in _values(operand, columns):
        if value.__class__ in usual:
            out.append(value in wanted)
        elif value is None or value.__class__ is Mismatch:
            out.append(value)
        else:
            each = [_compared(operator.eq, Compare("==", operand, Literal(one)), value, one) for one in values]
            out.append(reduce(_or, each))
    return out


def read_moment(text: str, like: date) -> date | None:
    """An ISO 8601 text as a date or date-time, whichever it is compared with; None when it is nothing such.

    Without an offset it counts as UTC against a time that has one. With an offset it does not compare with a time
    that has none.
    """
    try:
        if not isinstance(like, datetime):
            return date.fromisoformat(text)
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if like.tzinfo is not None and moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    return moment if (like.tzinfo is None) == (moment.tzinfo is None) else None


def _text_test(node: TextTest, columns: Columns) -> list[Outcome]:
    values = columns(node.operand.name)
    if node.test == "matches":
        return _matches(node, values)
    test = _TEXT_TESTS[node.test](node.pattern)
    return [test(value) if value.__class__ is str else _no_text(node, value, test) for value in values]


def _no_text(node: TextTest, value: Any, test: Callable[[str], bool]) -> Outcome:
    if value is None:
        return None
    if isinstance(value, str):
        return test(value)
    return Mismatch(f"column {node.operand.name!r} holds {describe(value)}, but {node.test} is for texts")


def _matches(node: TextTest, values: list[Any]) -> list[Outcome]:
    # RE2 for rows too: Python's own regular expressions differ in syntax and in meaning.
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = [value if isinstance(value, str) else None for value in values]
    try:
        column = pa.array(texts, pa.large_string())
    except UnicodeEncodeError:
        texts = [None if text is None or _lone_surrogate(text) else text for text in texts]
        column = pa.array(texts, pa.large_string())
    found = pc.match_substring_regex(column, pattern=node.pattern).to_pylist()
    return [
        outcome if text is not None else _no_match(node, value)
        for outcome, text, value in zip(found, texts, values, strict=True)
    ]


def _no_match(node: TextTest, value: Any) -> Outcome:
    if isinstance(value, str):
        return Mismatch(f"column {node.operand.name!r} holds a text with a lone surrogate, which no UTF-8 can hold")
    return _no_text(node, value, bool)


def _lone_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def like_to_regex(pattern: str) -> str:
    """A `like` pattern as a regular expression for a whole text, without its ends; the same for RE2 and Python."""
    out = []
    escaped = False
    for character in pattern:
        if not escaped and character == "\\":
            escaped = True
            continue
        if not escaped and character in "%_":
            out.append(".*" if character == "%" else ".")
        else:
            out.append(re.escape(character))
        escaped = False
    return "(?s)" + "".join(out)


def _like(pattern: str) -> Callable[[str], bool]:
    match = re.compile(like_to_regex(pattern)).fullmatch
    return lambda text: match(text) is not None


_TEXT_TESTS: dict[str, Callable[[str], Callable[[str], bool]]] = {
    "like": _like,
    "startswith": lambda pattern: lambda text: text.startswith(pattern),
    "endswith": lambda pattern: lambda text: text.endswith(pattern),
    "contains": lambda pattern: lambda text: pattern in text,
}

# Classes that compare among themselves without a further look.
_USUAL: dict[str, tuple[type, ...]] = {"number": (int, float), "text": (str,), "truth": (bool,)}

_KINDS: tuple[tuple[Any, str], ...] = (
    (bool, "truth"),
    (int | float | Decimal, "number"),
    (str, "text"),
    (bytes, "bytes"),
    (datetime, "datetime"),
    (date, "date"),
    (time, "time of day"),
    (timedelta, "duration"),
)


def kind(value: Any) -> str:
    """What a value compares with: its like."""
    for types, name in _KINDS:
        if isinstance(value, types):
            return name
    return "other"


def describe(value: Any) -> str:
    """A value's kind in a message."""
    name = kind(value)
    if name == "other":
        return f"a {type(value).__name__}"
    return {"truth": "a truth value", "bytes": "bytes"}.get(name, f"a {name}")


def _name(operand: Operand) -> str:
    match operand:
        case Column(name):
            return f"column {name!r}"
        case Number(Column(name)):
            return f"number({name})"
        case Literal(value):
            return describe(value)


def _mismatch(left: Operand, right: Operand, a: Any, b: Any) -> Mismatch:
    step = ""
    if isinstance(a, date) and isinstance(right, Literal) and isinstance(b, str):
        zone = "" if not isinstance(a, datetime) else " without an offset" if a.tzinfo is None else ""
        step = f": write it as ISO 8601{zone}"
    for operand, value, other in ((left, a, b), (right, b, a)):
        if isinstance(operand, Column) and isinstance(value, str) and kind(other) == "number":
            step = f": write number({operand.name})"
    against = describe(b) if isinstance(right, Literal) else f"{_name(right)}, which holds {describe(b)}"
    return Mismatch(f"{_name(left)} holds {describe(a)} and is compared with {against}{step}")
