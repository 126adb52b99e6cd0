"""SLS cursors: base64 of a decimal 64-bit integer that grows by one with every LogGroup of a shard."""

from __future__ import annotations

import base64
import binascii

_LARGEST = 2**63 - 1


def encode_cursor(value: int) -> str:
    """The text form of a cursor, as it travels in URLs, headers and JSON."""
    return base64.b64encode(b"%d" % value).decode("ascii")


def decode_cursor(text: str) -> int:
    """The integer in a cursor; surrounding whitespace is ignored (the Python SDK may send a newline).

    Raises ValueError when the text is not base64 of a decimal 64-bit integer.
    """
    try:
        digits = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"cursor {text!r} is not base64") from error
    if not digits.isdigit() or len(digits) > 19 or int(digits) > _LARGEST:
        raise ValueError(f"cursor {text!r} does not hold a decimal 64-bit integer")
    return int(digits)
