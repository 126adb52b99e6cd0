"""Conditions on rows: a small language with SQL's words and SQL's null, and no way to run code.

``status >= 500 and method in ('GET', 'HEAD') and user is not null``

- columns by name; in backticks where the name is no plain word: `` `__tag__:host` ``
- literals: ``42``, ``1.5``, ``'text'`` or ``"text"``, ``true``, ``false``
- ``= != < <= > >=``, ``in (…)``, ``is null``, ``and``, ``or``, ``not``, parentheses; a column of truth values alone
- ``like 'a%b_'`` (``\\`` escapes), ``matches 'regex'`` (RE2, anywhere in the text), ``startswith``, ``endswith``,
  ``contains``
- ``number(column)``: the number that a text spells, null when it spells none
- a column of times or dates compares with an ISO 8601 text (``'2024-05-01T08:00:00Z'``); without an offset it is UTC

A comparison with null is null; ``and``, ``or`` and ``not`` follow SQL's three-valued logic. What compares values of
different kinds (a text with a number) is neither true nor null but a `Mismatch`, unless the rest decides alone.
"""

from __future__ import annotations

from etlcore.builtin.expression.columns import Inexact, evaluate_columns
from etlcore.builtin.expression.nodes import Node
from etlcore.builtin.expression.rows import Mismatch, evaluate_rows
from etlcore.builtin.expression.syntax import ExpressionError, parse

__all__ = [
    "ExpressionError",
    "Inexact",
    "Mismatch",
    "Node",
    "evaluate_columns",
    "evaluate_rows",
    "parse",
]
