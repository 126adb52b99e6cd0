"""What a plain (unquoted) YAML scalar means.

The core schema of YAML 1.2.2 (section 10.3.2) with one difference: a whole number with a leading zero stays text, since
YAML 1.1 reads ``012`` as ten and YAML 1.2 as twelve. Whatever else YAML 1.1 is known for (``no`` as a boolean, ``1:30``
as ninety, ``2024-01-01`` as a date, ``1_000``) is text here. The text as written is kept beside the value, so that an
option which wants text gets ``1.10`` and not ``1.1``, and one which wants a truth value gets it from ``no``: see
`convert`.
"""

from __future__ import annotations

import re

Scalar = str | int | float | bool | None

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)")
_NAN = {".nan", ".NaN", ".NAN"}

_LONGEST = 100  # digits; beyond that a "number" is text (and Python refuses to convert thousands of digits)


def plain(text: str) -> Scalar:
    """The value of an unquoted scalar."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if len(text) > _LONGEST:
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text) or _HEX.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITE.fullmatch(text):
        return float(text.replace(".", ""))
    if text in _NAN:
        return float("nan")
    return text
