"""The part of SPL that the emulator runs over logs as they are pulled.

    *                                       every log
    * | where status = '500'                comparisons: = != <> < <= > >= like, in (…), is null, is not null
    * | where cast(status as bigint) >= 500 and not host like 'api.%'
    * | where "content-type" = 'a' | project request_uri, status

Names with other characters than letters, digits and ``_`` stand in double quotes; ``__time__``, ``__topic__``,
``__source__`` and ``"__tag__:name"`` are fields like the others. A field that a log lacks is null, and a comparison
with null is neither true nor false, as in SQL. Everything else of SPL is refused, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

Fields = dict[str, str]
Value = str | float | None
Condition = Callable[[Fields], bool | None]
Operand = Callable[[Fields], Value]

_TOKEN = re.compile(
    r"""\s*(?: (?P<string>'(?:[^']|'')*') | (?P<quoted>"(?:[^"]|"")*") | (?P<number>\d+(?:\.\d+)?)
             | (?P<name>[A-Za-z_][A-Za-z0-9_]*) | (?P<sign><=|>=|<>|!=|[=<>(),|*]) )""",
    re.VERBOSE,
)
_COMPARISONS: dict[str, Callable[[int], bool]] = {
    "=": lambda order: order == 0,
    "!=": lambda order: order != 0,
    "<>": lambda order: order != 0,
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
}
_KEYWORDS = frozenset(["where", "project", "and", "or", "not", "like", "in", "is", "null", "cast", "as"])


class SplError(ValueError):
    """A query that is not SPL, or more of it than is emulated."""


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query: conditions that a log has to fulfil, and the fields to keep of it (None: all)."""

    conditions: tuple[Condition, ...]
    project: tuple[str, ...] | None

    def keeps(self, fields: Fields) -> bool:
        return all(condition(fields) is True for condition in self.conditions)


@lru_cache(maxsize=256)
def parse(text: str) -> Query:
    """Parse a query. Raises SplError, which says where and why."""
    return _Parser(text).query()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._at = 0

    # --- tokens ------------------------------------------------------------------------------------------------------

    def _peek(self) -> tuple[str, str]:
        kind, text, _ = self._tokens[self._at]
        return kind, text

    def _next(self) -> tuple[str, str]:
        token = self._peek()
        self._at += 1
        return token

    def _take(self, *words: str) -> bool:
        kind, text = self._peek()
        if kind not in ("sign", "name") or text.lower() not in words:
            return False
        self._at += 1
        return True

    def _expect(self, word: str) -> None:
        if not self._take(word):
            raise self._error(f"expected {word!r}")

    def _error(self, message: str) -> SplError:
        kind, text, column = self._tokens[self._at]
        found = "the end" if kind == "end" else repr(text)
        return SplError(
            f"SPL query, column {column}: {message}, found {found}. The emulator knows '* | where …' with comparisons, "
            "like, in, is null, cast, and, or, not, and '| project …'"
        )

    # --- grammar -----------------------------------------------------------------------------------------------------

    def query(self) -> Query:
        self._expect("*")
        conditions: list[Condition] = []
        project: tuple[str, ...] | None = None
        while self._take("|"):
            if self._take("where"):
                conditions.append(self._any())
            elif self._take("project"):
                project = self._names()
                if self._peek()[0] != "end":
                    raise self._error("'project' must come last")
            else:
                raise self._error("expected 'where' or 'project'")
        if self._peek()[0] != "end":
            raise self._error("expected '|' or the end")
        return Query(tuple(conditions), project)

    def _names(self) -> tuple[str, ...]:
        names = [self._field()]
        while self._take(","):
            names.append(self._field())
        return tuple(names)

    def _any(self) -> Condition:
        parts = [self._all()]
        while self._take("or"):
            parts.append(self._all())
        return _either(parts) if len(parts) > 1 else parts[0]

    def _all(self) -> Condition:
        parts = [self._one()]
        while self._take("and"):
            parts.append(self._one())
        return _both(parts) if len(parts) > 1 else parts[0]

    def _one(self) -> Condition:
        if self._take("not"):
            return _negated(self._one())
        if self._take("("):
            inner = self._any()
            self._expect(")")
            return inner
        return self._comparison(self._operand())

    def _comparison(self, left: Operand) -> Condition:
        if self._take("is"):
            wanted = not self._take("not")
            self._expect("null")
            return lambda fields: (left(fields) is None) is wanted
        negative = self._take("not")
        if self._take("like"):
            condition = _like(left, self._literal())
        elif self._take("in"):
            condition = self._in(left)
        elif not negative and self._peek()[1] in _COMPARISONS:
            return _compare(left, self._next()[1], self._operand())
        else:
            raise self._error("expected a comparison")
        return _negated(condition) if negative else condition

    def _in(self, left: Operand) -> Condition:
        self._expect("(")
        values = [self._operand()]
        while self._take(","):
            values.append(self._operand())
        self._expect(")")
        return _either([_compare(left, "=", value) for value in values])

    def _operand(self) -> Operand:
        kind, _ = self._peek()
        if kind == "string":
            value = self._literal()
            return lambda _fields: value
        if kind == "number":
            number = float(self._next()[1])
            return lambda _fields: number
        if self._take("cast"):
            return self._cast()
        name = self._field()
        return lambda fields: fields.get(name)

    def _cast(self) -> Operand:
        self._expect("(")
        inner = self._operand()
        self._expect("as")
        if not self._take("bigint", "double"):
            raise self._error("expected 'bigint' or 'double'")
        self._expect(")")
        return lambda fields: _number(inner(fields))

    def _field(self) -> str:
        kind, text = self._peek()
        if kind == "quoted":
            self._at += 1
            return text[1:-1].replace('""', '"')
        if kind != "name" or text.lower() in _KEYWORDS:
            raise self._error("expected the name of a field")
        self._at += 1
        return text

    def _literal(self) -> str:
        kind, text = self._peek()
        if kind != "string":
            raise self._error("expected a text in single quotes")
        self._at += 1
        return text[1:-1].replace("''", "'")


def _tokens(text: str) -> list[tuple[str, str, int]]:
    tokens, position, end = [], 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise SplError(f"SPL query, column {position + 1}: {text[position:].strip()[:20]!r} is not SPL")
        tokens.append((match.lastgroup, match[match.lastgroup], match.start(match.lastgroup) + 1))
        position = match.end()
    return [*tokens, ("end", "", end + 1)]


# --- conditions, with SQL's three truth values ------------------------------------------------------------------------


def _both(parts: list[Condition]) -> Condition:
    def condition(fields: Fields) -> bool | None:
        truths = [part(fields) for part in parts]
        return False if False in truths else (None if None in truths else True)

    return condition


def _either(parts: list[Condition]) -> Condition:
    def condition(fields: Fields) -> bool | None:
        truths = [part(fields) for part in parts]
        return True if True in truths else (None if None in truths else False)

    return condition


def _negated(part: Condition) -> Condition:
    def condition(fields: Fields) -> bool | None:
        truth = part(fields)
        return None if truth is None else not truth

    return condition


def _compare(left: Operand, sign: str, right: Operand) -> Condition:
    decide = _COMPARISONS[sign]

    def condition(fields: Fields) -> bool | None:
        one, other = left(fields), right(fields)
        if one is None or other is None:
            return None
        if isinstance(one, str) and isinstance(other, str):
            return decide((one > other) - (one < other))
        if isinstance(one, float) and isinstance(other, float):
            return decide((one > other) - (one < other))
        return None  # a text and a number: not comparable without a cast

    return condition


def _like(left: Operand, pattern: str) -> Condition:
    parts = {"%": ".*", "_": "."}
    expression = re.compile("".join(parts.get(letter, re.escape(letter)) for letter in pattern), re.DOTALL)

    def condition(fields: Fields) -> bool | None:
        value = left(fields)
        return None if value is None else expression.fullmatch(str(value)) is not None

    return condition


def _number(value: Value) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None
