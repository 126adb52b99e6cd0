"""Reading the keys that every pipeline file has: each value as what it must be, or a problem.

Every reader takes a `Value` and gives what was asked for, or None once it has reported what is wrong. A value that
``${…}`` could not be filled into gives None as well, and no second problem.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from etlcore.plugins.names import closest, quoted
from etlcore.spec import units
from etlcore.spec.convert import advice, to_bool, to_float, to_int, to_text
from etlcore.spec.document import Document, Path
from etlcore.spec.model import Place


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the document, and where it is."""

    document: Document
    path: Path
    value: Any

    @property
    def name(self) -> str:
        """Its key or, in a list, its number."""
        return str(self.path[-1]) if self.path else "the file"

    @property
    def failed(self) -> bool:
        """It could not be filled in; nothing more is to be said about it."""
        filled = self.document.filled.get(self.path)
        return filled is not None and filled.failed

    @property
    def place(self) -> Place:
        return self.document.where(self.path)

    @property
    def key(self) -> Place:
        """Where its key stands."""
        return self.document.key(self.path)

    def child(self, key: str | int) -> Value:
        """A value below this one, which is a mapping or a list that has it."""
        return Value(self.document, (*self.path, key), self.value[key])

    def children(self) -> Iterator[Value]:
        for key in self.value if isinstance(self.value, dict) else range(len(self.value)):
            yield self.child(key)

    def wrong(self, message: str, hint: str = "") -> None:
        """Report a problem at the value."""
        self._report(self.place, message, hint)

    def wrong_key(self, message: str, hint: str = "") -> None:
        """Report a problem at the value's key."""
        self._report(self.key, message, hint)

    def _report(self, place: Place, message: str, hint: str) -> None:
        masked = self.document.masked
        self.document.report(place, masked(message, self.path), masked(hint, self.path))

    def shown(self) -> str:
        """The value as messages show it; never a secret, nor what came from outside the file."""
        if self.path in self.document.literals:
            return "what is written"
        filled = self.document.filled.get(self.path)
        if filled is not None:
            return f"what {filled.written} stands for"
        if self.value is None:
            return "nothing"
        if isinstance(self.value, dict):
            return "a mapping"
        if isinstance(self.value, list):
            return "a list"
        if self.path in self.document.plain:
            return f"{self.document.plain[self.path]:.60}"
        return f'"{self.value:.60}"'


def mapping(value: Value, of: str) -> bool:
    """Whether the value is a mapping; reported where it is not. ``of`` says what it is to hold."""
    if isinstance(value.value, dict):
        return True
    if not value.failed:
        value.wrong(f"`{value.name}` must be a mapping ({of}), not {value.shown()}", f"write {of}, indented below it")
    return False


@dataclass(frozen=True, slots=True)
class Keys:
    """The entries of a mapping: those that are known, by name, and those that are not."""

    found: dict[str, Value]
    unknown: list[tuple[Value, str | None]]
    """Each with the known key that was probably meant."""
    allowed: Sequence[str]

    def report(self, of: str) -> None:
        """Report the unknown keys; ``of`` names the mapping."""
        for value, meant in self.unknown:
            hint = f"did you mean `{meant}`?" if meant else f"{of} may have {quoted(self.allowed)}"
            value.wrong_key(f"unknown key `{value.name}`", hint)


def keys(
    value: Value, allowed: Sequence[str], *, meant: Mapping[str, str] | None = None, stands: Collection[str] = ()
) -> Keys:
    """The entries of a mapping by their keys.

    ``meant`` maps words that people know from elsewhere to ours. A misspelling of a key in ``stands`` stands for that
    key, so that what is below it is checked as well.
    """
    found = {key: value.child(key) for key in value.value if key in allowed}
    unknown: list[tuple[Value, str | None]] = []
    for key in value.value:
        if key in allowed:
            continue
        close = (meant or {}).get(key) or closest(key, allowed)
        unknown.append((value.child(key), close))
        if close in stands and close not in found:
            found[close] = value.child(key)
    return Keys(found, unknown, allowed)


def text(value: Value, hint: str = "write a text") -> str | None:
    """Text that is not empty."""
    if value.failed:
        return None
    found = to_text(value.document, value.path, value.value)
    if found and found.strip():
        return found
    value.wrong(f"`{value.name}` must be text, not {value.shown() if found is None else 'empty'}", hint)
    return None


def whole(value: Value, least: int = 1) -> int | None:
    """A whole number."""
    found = to_int(value.document, value.path, value.value)
    if found is not None and found >= least:
        return found
    wanted = f"a whole number of at least {least}"
    if not value.failed:
        hint = advice(value.document, value.path, value.value, wanted) if found is None else ""
        value.wrong(f"`{value.name}` must be {wanted}, not {value.shown()}", hint or f"write {wanted}")
    return None


def truth(value: Value) -> bool | None:
    """true or false."""
    found = to_bool(value.document, value.path, value.value)
    if found is None and not value.failed:
        hint = advice(value.document, value.path, value.value, "true or false") or "write true or false"
        value.wrong(f"`{value.name}` must be true or false, not {value.shown()}", hint)
    return found


def seconds(value: Value, *, zero: bool = False) -> float | None:
    """A duration in seconds; above zero, unless ``zero`` is allowed."""
    found = to_float(value.document, value.path, value.value)
    if found is None and isinstance(value.value, str):
        try:
            found = units.duration(value.value)
        except ValueError:
            found = None
    if found is not None and math.isfinite(found) and (found > 0 or (zero and found == 0)):
        return found
    if not value.failed:
        least = "" if zero or found is None else " above zero"
        value.wrong(
            f"`{value.name}` must be a duration{least}, not {value.shown()}",
            "write a number of seconds, or like 500ms, 30s, 5m, 1h",
        )
    return None


def byte_size(value: Value) -> int | None:
    """A size in bytes, at least 1."""
    found = to_int(value.document, value.path, value.value)
    if found is None and isinstance(value.value, str):
        try:
            found = units.size(value.value)
        except ValueError:
            found = None
    if found is not None and found >= 1:
        return found
    if not value.failed:
        value.wrong(
            f"`{value.name}` must be a size of at least one byte, not {value.shown()}",
            "write a number of bytes, or like 64KiB, 64MiB (powers of 1024), 10MB (powers of 1000)",
        )
    return None
