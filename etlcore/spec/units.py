"""Durations and sizes as people write them: ``500ms``, ``1h30m``, ``64MiB``."""

from __future__ import annotations

import re

DURATIONS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SIZES = {
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate(("k", "M", "G", "T"), 1)},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate(("K", "M", "G", "T"), 1)},
}

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|m|h|d)")
_DURATIONS = re.compile(rf"({_DURATION.pattern})( ?{_DURATION.pattern})*")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+)")
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")


def duration(text: str) -> float:
    """Seconds: ``"500ms"``, ``"30 s"``, ``"1h30m"``, or a bare number of seconds. Raises ValueError otherwise."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    if not _DURATIONS.fullmatch(text):
        raise ValueError("must be a duration: a number of seconds, or like 500ms, 30s, 5m, 1h, 1h30m")
    return sum(float(number) * DURATIONS[unit] for number, unit in _DURATION.findall(text))


def size(text: str) -> int:
    """Bytes: ``"64MiB"`` (times 1024), ``"10MB"`` (times 1000), or a bare number. Raises ValueError otherwise."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return int(text)
    match = _SIZE.fullmatch(text)
    by_name = {name.casefold(): value for name, value in SIZES.items()}
    if not match or match[2].casefold() not in by_name:
        raise ValueError("must be a size: a number of bytes, or like 64KiB, 64MiB (x 1024), 10MB (x 1000)")
    return int(float(match[1]) * by_name[match[2].casefold()])
