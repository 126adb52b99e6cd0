"""What is wrong with a pipeline file: where, what, and the next step."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from etlcore.spec.model import Place

_WIDEST = 160  # characters of an offending line that are shown


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; ``place`` is None when it is not in the file (there is no such file, say)."""

    place: Place | None
    message: str
    hint: str = ""
    """The next step."""
    line: str = ""
    """The offending line of the file, without its end; empty when there is none to show."""

    def __str__(self) -> str:
        """The problem as it is printed: place and message, the line with a caret under the place, the next step."""
        where = f"{self.place}: " if self.place else ""
        shown = [f"{where}{self.message}"]
        if self.place and self.line.strip():
            shown.extend(_pointed(self.line, self.place.column))
        if self.hint:
            shown.append(f"  -> {self.hint}")
        return "\n".join(shown)


_SECRET = r"[\w-]*(?:secret|pass?w(?:or)?d|token|api_?key|credential)[\w-]*"
_SECRET_VALUE = r"""["']?\s*:\s+)(?!["']?\$\{)("[^"]*"?|'[^']*'?|[^\s,}#][^,}#]*)"""


def is_secret(key: str, keys: Iterable[str]) -> bool:
    """Whether the value of ``key`` is to be kept from sight: it is one of ``keys``, or has a telling name."""
    return key in keys or re.fullmatch(_SECRET, key, re.IGNORECASE) is not None


def hide_secrets(line: str, keys: Iterable[str]) -> str:
    """A line of a file with the values of secret keys as asterisks, in the same columns.

    Secret are ``keys``, and those with a telling name: a misspelt key's value is no less a secret.
    """
    names = "|".join([_SECRET, *(re.escape(key) for key in keys)])
    pattern = rf"(?<![\w-])((?:{names}){_SECRET_VALUE}"
    return re.sub(pattern, lambda found: found[1] + "*" * len(found[2]), line, flags=re.IGNORECASE)


class SpecError(Exception):
    """A pipeline file is wrong; ``problems`` holds everything that is wrong with it, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: list[Problem] = sorted(
            dict.fromkeys(problems), key=lambda p: (p.place.line, p.place.column) if p.place else (0, 0)
        )
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


def _pointed(line: str, column: int) -> list[str]:
    """The line and a caret below its ``column`` (from 1); a long line is cut around that column."""
    start = max(0, column - 1 - _WIDEST // 2) if len(line) > _WIDEST else 0
    part = line[start : start + _WIDEST].rstrip()
    printable = "".join(c if c == "\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in part)
    before = printable[: column - 1 - start]
    blank = "".join("\t" if c == "\t" else " " * _width(c) for c in before)
    return [f"    {printable}", f"    {blank}^"]


def _width(character: str) -> int:
    """How many columns of a terminal a character takes: Chinese takes two, a combining accent none."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
