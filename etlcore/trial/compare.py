"""Rows that came against rows that were expected: what is missing, what is there beside it, and how they differ.

Rows are the same when `console` would print the same, whatever the order of their columns: times, bytes and decimals
are the texts that JSON has for them, and ``1``, ``1.0`` and ``"1"`` are three different values.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from etlcore.trial.matching import pair

_CONTEXT = 2  # rows that are as expected, shown on either side of one that is not
_MOST_PAIRS = 10_000  # of a missing and an unexpected row that are looked at to find those that are close
_MOST_NOTES = 3
_MOST_COLUMNS = 4  # in a note


@dataclass(frozen=True, slots=True)
class Difference:
    """What came somewhere is not what was expected."""

    at: str
    """``out`` or ``parsed.errors``, or ``dead letters of parsed``."""
    missing: int
    """Rows that were expected and did not come."""
    unexpected: int
    diff: tuple[str, ...]
    """Rows as JSON, each behind a ``-`` (missing), a ``+`` (unexpected) or a space (as expected)."""
    notes: tuple[str, ...] = ()
    """How rows differ that were probably meant to be the same."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A row as it is compared: its JSON, and what that reads as."""

    text: str
    plain: Mapping[str, Any]


def shown(row: Mapping[str, Any]) -> Shown:
    """The row as `console` prints it; of a value that has no JSON, its ``repr``."""
    from etlcore.builtin.jsonlines import to_line

    try:
        text = to_line(dict(row)).decode()
    except TypeError:
        text = to_line({name: _printable(value) for name, value in row.items()}).decode()
    return Shown(text, json.loads(text))


def _printable(value: Any) -> Any:
    from etlcore.builtin.jsonlines import to_line

    try:
        to_line({"": value})
    except TypeError:
        return repr(value)
    return value


def compare(
    at: str,
    expected: Sequence[Mapping[str, Any]],
    came: Sequence[Mapping[str, Any]],
    *,
    in_order: bool = False,
    further_columns: bool = False,
) -> Difference | None:
    """How the rows that came differ from the expected ones; None when they do not.

    ``further_columns``: those that came may have columns that the expected ones do not name.
    """
    wanted, found = [shown(row) for row in expected], [shown(row) for row in came]
    if in_order:
        lines = list(_in_order(wanted, found, further_columns))
    else:
        lines = list(_lines(wanted, found, _pairs(wanted, found, further_columns)))
    return _difference(at, lines, further_columns)


def compare_fitting(
    at: str,
    expected: Sequence[Mapping[str, Any]],
    came: Sequence[Mapping[str, Any]],
    fits: Callable[[int, int], bool],
) -> Difference | None:
    """As `compare`, in any order, where ``fits`` says of an expected and a row that came, by number, if it is that."""
    wanted, found = [shown(row) for row in expected], [shown(row) for row in came]
    candidates = [[there for there in range(len(found)) if fits(number, there)] for number in range(len(wanted))]
    return _difference(at, list(_lines(wanted, found, pair(candidates, alike=False))), notes=False)


def same(expected: Mapping[str, Any], came: Mapping[str, Any], *, further_columns: bool) -> bool:
    """Whether one row is the other."""
    return _same(shown(expected), shown(came), further_columns)


# -- which is which ----------------------------------------------------------------------------------------------------


def _key(row: Shown, columns: frozenset[str] | None) -> str:
    """Equal for rows that have the same values in those columns; None: in all that they have."""
    part = row.plain if columns is None else {name: row.plain[name] for name in columns}
    return json.dumps(part, sort_keys=True)


def _same(wanted: Shown, found: Shown, further_columns: bool) -> bool:
    if not further_columns:
        return _key(wanted, None) == _key(found, None)
    columns = frozenset(wanted.plain)
    return columns <= found.plain.keys() and _key(wanted, columns) == _key(found, columns)


def _pairs(wanted: list[Shown], found: list[Shown], further_columns: bool) -> dict[int, int]:
    shapes = [frozenset(row.plain) if further_columns else None for row in wanted]
    fitting: dict[tuple[frozenset[str] | None, str], list[int]] = {}
    for shape in set(shapes):
        for number, row in enumerate(found):
            if shape is None or shape <= row.plain.keys():
                fitting.setdefault((shape, _key(row, shape)), []).append(number)
    candidates = [fitting.get((shape, _key(row, shape)), []) for row, shape in zip(wanted, shapes, strict=True)]
    return pair(candidates, alike=len(set(shapes)) <= 1)


# -- the diff ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of a diff; a missing row may have one that came in its place, which is the next line."""

    sign: str
    row: Shown
    instead: Shown | None = None


def _lines(wanted: list[Shown], found: list[Shown], pairs: Mapping[int, int]) -> Iterator[_Line]:
    """In the order of the expected rows; behind a missing one what is closest to it of those that came unexpected."""
    missing = [number for number in range(len(wanted)) if number not in pairs]
    left = sorted(set(range(len(found))) - set(pairs.values()))
    close = _closest(wanted, found, missing, left)
    for number, row in enumerate(wanted):
        if number in pairs:
            yield _Line(" ", found[pairs[number]])
        elif number in close:
            yield from _instead(row, found[close[number]])
        else:
            yield _Line("-", row)
    yield from (_Line("+", found[number]) for number in left if number not in close.values())


def _instead(row: Shown, other: Shown) -> Iterator[_Line]:
    yield _Line("-", row, other)
    yield _Line("+", other)


def _closest(wanted: list[Shown], found: list[Shown], missing: list[int], left: list[int]) -> dict[int, int]:
    if len(missing) * len(left) > _MOST_PAIRS:
        return {}
    close: dict[int, int] = {}
    free = list(left)
    for number in missing:
        best = max(free, key=lambda other: _likeness(wanted[number], found[other]), default=None)
        if best is not None and _likeness(wanted[number], found[best]):
            close[number] = best
            free.remove(best)
    return close


def _likeness(one: Shown, other: Shown) -> int:
    points = 0
    for name in one.plain.keys() & other.plain.keys():
        here, there = one.plain[name], other.plain[name]
        points += 5 if here == there else 3 if str(here) == str(there) else 1
    return points


def _in_order(wanted: list[Shown], found: list[Shown], further_columns: bool) -> Iterator[_Line]:
    """What is the same at the beginning and at the end, and between them all that is not."""
    most = min(len(wanted), len(found))
    begin = 0
    while begin < most and _same(wanted[begin], found[begin], further_columns):
        begin += 1
    end = 0
    while end < most - begin and _same(wanted[-1 - end], found[-1 - end], further_columns):
        end += 1
    yield from (_Line(" ", row) for row in found[:begin])
    middle, came = wanted[begin : len(wanted) - end], found[begin : len(found) - end]
    if len(middle) == len(came):
        for row, other in zip(middle, came, strict=True):
            yield from [_Line(" ", other)] if _same(row, other, further_columns) else _instead(row, other)
    else:
        yield from (_Line("-", row) for row in middle)
        yield from (_Line("+", row) for row in came)
    yield from (_Line(" ", row) for row in found[len(found) - end :])


def _difference(at: str, lines: list[_Line], further_columns: bool = False, notes: bool = True) -> Difference | None:
    signs = [line.sign for line in lines]
    if not signs.count("-") and not signs.count("+"):
        return None
    differing = [line for line in lines if line.instead is not None] if notes else []
    return Difference(
        at=at,
        missing=signs.count("-"),
        unexpected=signs.count("+"),
        diff=tuple(_cut(lines)),
        notes=tuple(note for line in differing[:_MOST_NOTES] if (note := _note(line, further_columns))),
    )


def _cut(lines: list[_Line]) -> Iterator[str]:
    """The lines as text; of many in a row that are as expected only those beside others."""
    differing = (index for index, line in enumerate(lines) if line.sign != " ")
    near = {beside for index in differing for beside in range(index - _CONTEXT, index + _CONTEXT + 1)}
    skipped = 0
    for index, line in enumerate(lines):
        if index in near:
            if skipped:
                yield _skipped(skipped)
            skipped = 0
            yield f"{line.sign}{line.row.text}"
        else:
            skipped += 1
    if skipped:
        yield _skipped(skipped)


def _skipped(count: int) -> str:
    return f" \N{HORIZONTAL ELLIPSIS} {count:,} row{'' if count == 1 else 's'} as expected"


# -- notes -------------------------------------------------------------------------------------------------------------


def _note(line: _Line, further_columns: bool) -> str:
    """In which columns a row differs from the one that came instead."""
    assert line.instead is not None
    wanted, came = line.row.plain, line.instead.plain
    names = [*wanted, *(name for name in came if name not in wanted and not further_columns)]
    parts = [
        _column(name, wanted, came)
        for name in names
        if (name in wanted) != (name in came) or json.dumps(wanted[name]) != json.dumps(came[name])
    ]
    return "; ".join(parts) if len(parts) <= _MOST_COLUMNS else ""


def _column(name: str, wanted: Mapping[str, Any], came: Mapping[str, Any]) -> str:
    if name not in came:
        return f"`{name}`: there is no such column"
    if name not in wanted:
        return f"`{name}`: no such column is expected"
    here, there = wanted[name], came[name]
    told = f"`{name}`: {_brief(here)} is expected, {_brief(there)} came"
    if type(here) is not type(there) and str(here) == str(there):
        return f"{told}: {_kind(here)}, and {_kind(there)}"
    if _is_number(here) and _is_number(there) and here == there:
        return f"{told}: {_kind(here)}, and {_kind(there)}"
    return told


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "\N{HORIZONTAL ELLIPSIS}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    kinds = {str: "a text", bool: "a truth value", int: "a whole number", float: "a number with a fraction"}
    return kinds.get(type(value), "nothing" if value is None else "a value of several parts")
