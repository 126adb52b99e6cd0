"""What a person means by a value that is not of the type that an option wants.

Values in the file are taken as they are written: ``"4"`` in quotes is text, not a number. Two kinds of values are
more than their type says. An unquoted scalar has no type but the one that YAML guesses, so ``no`` is a truth value
where one is wanted, and ``1.10`` is text where text is wanted. And what ``${…}`` filled in can only be text, so it
stands for a number where a number is wanted.

Every function gives the wanted value, or None where the value cannot be meant as one.
"""

from __future__ import annotations

import re
from typing import Any

from etlcore.spec.document import Document, Path

_TRUE = {"true", "yes", "on", "y", "t", "1"}
_FALSE = {"false", "no", "off", "n", "f", "0"}
_WORDS = {"true", "false", "yes", "no", "on", "off"}
_WHOLE = re.compile(r"[-+]?[0-9]+")
_GROUPED = re.compile(r"[-+]?[1-9][0-9]{0,2}(_[0-9]{3})+")
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_EXACT = 2**53


def from_outside(document: Document, path: Path) -> bool:
    """The value is one ``${…}``: text that may stand for anything."""
    filled = document.filled.get(path)
    return filled is not None and filled.whole


def to_int(document: Document, path: Path, value: Any) -> int | None:
    """A whole number: ``4``, ``1e6``, ``1_000``, and the text of a ``${…}``."""
    if type(value) is int:
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) <= _EXACT else None
    if isinstance(value, str):
        text = value.strip()
        if from_outside(document, path) and _WHOLE.fullmatch(text) and len(text) <= 100:
            return int(text)
        if (from_outside(document, path) or path in document.plain) and _GROUPED.fullmatch(text):
            return int(text)
    return None


def to_float(document: Document, path: Path, value: Any) -> float | None:
    """A number: what `to_int` takes, and ``0.5``."""
    if isinstance(value, float):
        return value
    whole = to_int(document, path, value)
    if whole is not None:
        return float(whole)
    if isinstance(value, str) and from_outside(document, path) and _NUMBER.fullmatch(value.strip()):
        return float(value.strip())
    return None


def to_bool(document: Document, path: Path, value: Any) -> bool | None:
    """A truth value: true and false; unquoted also yes, no, on, off; and the text of a ``${…}``, 1 and 0 as well."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        word = value.strip().casefold()
        if from_outside(document, path) and word in _TRUE | _FALSE:
            return word in _TRUE
        if path in document.plain and word in _WORDS:
            return word in _TRUE
    return None


def to_text(document: Document, path: Path, value: Any) -> str | None:
    """Text; of an unquoted number or truth value, what is written in the file."""
    if isinstance(value, str):
        return value
    return document.plain.get(path) if isinstance(value, bool | int | float) else None


def advice(document: Document, path: Path, value: Any, wanted: str) -> str:
    """Why a value is not the number that it looks like, as a next step; empty when it looks like none.

    ``wanted`` is the type as it is called in a message: ``"a whole number"``.
    """
    if not isinstance(value, str) or path in document.filled:
        return ""
    text = value.strip()
    if path in document.plain:
        if re.fullmatch(r"[-+]?0[0-9_]+", text):
            decimal = int(text.replace("_", ""))
            octal = f", or 0o{text.lstrip('+-0').replace('_', '')} for octal" if not re.search("[89]", text) else ""
            return f"a leading zero reads as octal to some: write {decimal}{octal}"
        if re.fullmatch(r"[0-9]+(:[0-5]?[0-9])+", text):
            return "a number with colons reads as base 60 to some: write the number out"
        if "_" in text and re.fullmatch(r"[-+]?[0-9_]+", text):
            return f"write {text.replace('_', '')}"
        if "," in text and re.fullmatch(r"[0-9]{1,3}(,[0-9]{3})+", text):
            return f"write {text.replace(',', '')}"
    elif _NUMBER.fullmatch(text) or text.casefold() in _WORDS:
        return f"leave out the quotes: {text}"
    return f"write {wanted}"
