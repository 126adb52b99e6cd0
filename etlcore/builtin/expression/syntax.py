"""From the text of a condition to its tree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from etlcore.builtin.expression.nodes import (
    TEXT_TESTS,
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
    Value,
)

MAX_DEPTH = 100  # nested parentheses and `not`s


class ExpressionError(ValueError):
    """The text is no condition. ``offset`` is where in it, in characters from 0."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"at character {offset + 1} of the expression: {message}")
        self.offset = offset


def parse(text: str) -> Node:
    """The tree of a condition. Raises ExpressionError."""
    return _Parser(text).whole()


def kind_of(value: Value) -> str:
    """What kind of value a literal is, for comparing and for messages."""
    if isinstance(value, bool):
        return "a truth value"
    return "a text" if isinstance(value, str) else "a number"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # word, column, text, number, sign, end
    text: str
    at: int

    @property
    def word(self) -> str:
        return self.text.lower() if self.kind == "word" else ""

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else f"`{self.text}`"


_PATTERN = re.compile(
    r"""(?P<space>\s+)
      | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?!\w))
      | (?P<word>[^\W\d]\w*)
      | (?P<column>`[^`]+`)
      | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<sign><=|>=|!=|<>|==|=|<|>|\(|\)|,)""",
    re.VERBOSE | re.DOTALL,
)

_HINTS = {
    "&": "write `and`",
    "|": "write `or`",
    "!": "write `not`, or `!=`",
    "'": "the text has no closing quote",
    '"': "the text has no closing quote",
    "0": "a name that begins with a digit stands in backticks",
    "`": "the column name has no closing backtick",
}
_KEYWORDS = {"and", "or", "not", "in", "is", "null", "none", "true", "false", *TEXT_TESTS}
_OPERATORS = {"=": "==", "==": "==", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_MIRRORED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        found = _PATTERN.match(text, at)
        if found is None:
            hint = _HINTS.get(
                "0" if text[at].isdigit() else text[at], "put column names with such characters in backticks"
            )
            raise ExpressionError(f"`{text[at]}` is not understood: {hint}", at)
        kind = found.lastgroup
        assert kind is not None
        if kind != "space":
            yield _Token(kind, found[0], at)
        at = found.end()
    yield _Token("end", "", len(text))


class _Parser:
    """Recursive descent, one method a level of precedence."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._index = 0
        self._depth = 0

    def whole(self) -> Node:
        if self._next.kind == "end":
            raise ExpressionError("there is nothing: write a condition such as `status >= 500`", 0)
        node = self._or()
        if self._next.kind != "end":
            raise self._unexpected("`and`, `or` or the end")
        return node

    @property
    def _next(self) -> _Token:
        return self._tokens[self._index]

    def _take(self) -> _Token:
        token = self._next
        if token.kind != "end":
            self._index += 1
        return token

    def _accept(self, *words: str) -> _Token | None:
        return self._take() if (self._next.word or self._next.text) in words and self._is_syntax() else None

    def _is_syntax(self) -> bool:
        return self._next.kind in ("word", "sign")

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise self._unexpected(f"`{text}`")

    def _unexpected(self, expected: str) -> ExpressionError:
        return ExpressionError(f"expected {expected}, found {self._next}", self._next.at)

    def _or(self) -> Node:
        items = [self._and()]
        while self._accept("or"):
            items.append(self._and())
        return items[0] if len(items) == 1 else Or(tuple(items))

    def _and(self) -> Node:
        items = [self._not()]
        while self._accept("and"):
            items.append(self._not())
        return items[0] if len(items) == 1 else And(tuple(items))

    def _not(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError(f"nested more than {MAX_DEPTH} deep: write it flatter", self._next.at)
        try:
            if self._accept("not"):
                return Not(self._not())
            if self._accept("("):
                node = self._or()
                self._expect(")")
                return self._nothing_compared(node)
            return self._condition()
        finally:
            self._depth -= 1

    def _nothing_compared(self, node: Node) -> Node:
        if self._next.text in _OPERATORS and self._next.kind == "sign":
            raise ExpressionError("a condition in parentheses cannot be compared: compare columns", self._next.at)
        return node

    def _condition(self) -> Node:
        at = self._next.at
        left = self._operand()
        if self._next.kind == "sign" and self._next.text in _OPERATORS:
            return self._comparison(left)
        if self._accept("is"):
            negated = self._accept("not") is not None
            if not self._accept("null", "none"):
                raise self._unexpected("`null` (for other values write `=`)")
            return _negated(IsNull(self._not_literal(left, at)), negated)
        negated = self._accept("not") is not None
        if self._accept("in"):
            return _negated(In(self._not_literal(left, at), self._list()), negated)
        if test := self._accept(*TEXT_TESTS):
            return _negated(self._text_test(test.word, left, at), negated)
        if negated:
            raise self._unexpected("`in` or one of " + ", ".join(f"`{test}`" for test in TEXT_TESTS))
        if not isinstance(left, Column):
            raise self._unexpected("a comparison such as `= 1`")
        return Truth(left)

    def _comparison(self, left: Operand) -> Node:
        sign = self._take()
        operator = _OPERATORS[sign.text]
        if self._next.word in ("null", "none"):
            word = "is not null" if operator == "!=" else "is null"
            raise ExpressionError(f"nothing compares with null: write `{word}`", sign.at)
        right = self._operand()
        if self._next.kind == "sign" and self._next.text in _OPERATORS:
            raise ExpressionError("comparisons do not chain: join two of them with `and`", self._next.at)
        if isinstance(left, Literal):
            if isinstance(right, Literal):
                raise ExpressionError("two constants are compared: name a column", sign.at)
            left, operator, right = right, _MIRRORED[operator], left
        if isinstance(right, Literal):
            if isinstance(right.value, bool) and operator not in ("==", "!="):
                raise ExpressionError("true and false have no order: write `=` or `!=`", sign.at)
            if isinstance(left, Number) and kind_of(right.value) != "a number":
                raise ExpressionError(f"number(…) is compared with {kind_of(right.value)}", sign.at)
        return Compare(operator, left, right)

    def _text_test(self, test: str, left: Operand, at: int) -> Node:
        if not isinstance(left, Column):
            raise ExpressionError(f"`{test}` looks at a column of texts: name one before it", at)
        token = self._next
        pattern = self._operand() if token.kind == "text" else None
        if not isinstance(pattern, Literal) or not isinstance(pattern.value, str):
            raise self._unexpected(f"a text in quotes after `{test}`")
        if test == "matches":
            _check_regex(pattern.value, token.at)
        if test == "like":
            _check_like(pattern.value, token.at)
        return TextTest(test, left, pattern.value)

    def _list(self) -> tuple[Value, ...]:
        self._expect("(")
        values: list[Value] = []
        while not self._accept(")"):
            if values and not self._accept(","):
                raise self._unexpected("`,` or `)`")
            if values and self._accept(")"):
                break
            token = self._next
            item = self._operand() if token.word not in ("null", "none") else None
            if not isinstance(item, Literal):
                raise ExpressionError("a list holds constants only (for null write `or … is null`)", token.at)
            if values and kind_of(values[0]) != kind_of(item.value):
                raise ExpressionError(
                    f"the list mixes {kind_of(values[0])} with {kind_of(item.value)}: make all of one kind", token.at
                )
            values.append(item.value)
        if not values:
            raise ExpressionError("the list is empty: give it at least one value", self._tokens[self._index - 1].at)
        return tuple(values)

    def _not_literal(self, operand: Operand, at: int) -> Column | Number:
        if isinstance(operand, Literal):
            raise ExpressionError("a constant is tested: name a column", at)
        return operand

    def _operand(self) -> Operand:
        token = self._take()
        if token.kind == "number":
            return Literal(_number(token))
        if token.kind == "text":
            return Literal(_unescaped(token.text))
        if token.kind == "column":
            return Column(token.text[1:-1])
        if token.word in ("true", "false"):
            return Literal(token.word == "true")
        if token.kind == "word" and token.word not in _KEYWORDS:
            return self._call(token) if self._next.text == "(" and self._next.kind == "sign" else Column(token.text)
        if token.kind != "end":
            self._index -= 1
        raise self._unexpected("a column or a constant")

    def _call(self, function: _Token) -> Operand:
        if function.word != "number":
            raise ExpressionError(f"there is no function `{function.text}`: there is only number(column)", function.at)
        self._expect("(")
        at = self._next.at
        inner = self._operand()
        if not isinstance(inner, Column):
            raise ExpressionError("number(…) takes a column", at)
        self._expect(")")
        return Number(inner)


def _negated(node: Node, negated: bool) -> Node:
    return Not(node) if negated else node


def _number(token: _Token) -> int | float:
    try:
        return int(token.text)
    except ValueError:
        value = float(token.text)
    if value in (float("inf"), -float("inf")):
        raise ExpressionError(f"{token.text} is too large a number", token.at)
    return value


def _unescaped(text: str) -> str:
    """The text between the quotes: a backslash takes the quote and itself literally, and stands for itself else."""
    quote, inner = text[0], text[1:-1]
    return inner.replace("\\" + quote, quote) if "\\" in inner else inner


def _check_regex(pattern: str, at: int) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        pc.match_substring_regex(pa.array([""]), pattern=pattern)
    except (pa.ArrowInvalid, UnicodeEncodeError) as error:
        reason = str(error).removeprefix("Invalid regular expression: ")
        raise ExpressionError(f"the regular expression is not valid RE2: {reason}", at) from None


def _check_like(pattern: str, at: int) -> None:
    if re.search(r"(?<!\\)(?:\\\\)*\\(?![\\%_])", pattern):
        raise ExpressionError("a backslash in a `like` pattern stands before `%`, `_` or another backslash", at)
