"""The tree of a condition."""

from __future__ import annotations

from dataclasses import dataclass

Value = int | float | str | bool

TEXT_TESTS = ("like", "matches", "startswith", "endswith", "contains")


@dataclass(frozen=True, slots=True)
class Column:
    """The value of a column; null in a row that lacks it."""

    name: str


@dataclass(frozen=True, slots=True)
class Number:
    """The number that a text spells, or null."""

    column: Column


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant."""

    value: Value


Operand = Column | Number | Literal


@dataclass(frozen=True, slots=True)
class Truth:
    """A column of truth values as a condition."""

    operand: Column


@dataclass(frozen=True, slots=True)
class Compare:
    """``left operator right``; at least one of them is no literal, and a literal stands on the right."""

    operator: str
    left: Column | Number
    right: Operand


@dataclass(frozen=True, slots=True)
class In:
    """One of several literals of one kind."""

    operand: Column | Number
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class IsNull:
    """Null or not; never null itself."""

    operand: Column | Number


@dataclass(frozen=True, slots=True)
class TextTest:
    """One of `TEXT_TESTS`."""

    test: str
    operand: Column
    pattern: str


@dataclass(frozen=True, slots=True)
class Not:
    """Three-valued not."""

    item: Node


@dataclass(frozen=True, slots=True)
class And:
    """Three-valued and."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Three-valued or."""

    items: tuple[Node, ...]


Node = Truth | Compare | In | IsNull | TextTest | Not | And | Or
