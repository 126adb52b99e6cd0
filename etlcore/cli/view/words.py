"""Numbers, durations and lists as people read them."""

from __future__ import annotations

from collections.abc import Sequence


def count(number: int) -> str:
    """``18400`` as ``18,400``."""
    return f"{number:,}"


def rate(per_second: float) -> str:
    """Rows a second, with a decimal only where there would be nothing left without it."""
    return f"{per_second:,.1f}" if 0 < per_second < 10 else f"{per_second:,.0f}"


def plural(number: int, noun: str) -> str:
    """``1 row``, ``23 rows``."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """A time in a table or a status line: ``0.4s``, ``12s``, ``3m 20s``, ``2h 05m``."""
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02}m"


def in_words(seconds: float) -> str:
    """A time in a sentence: ``0.4 s``, ``30 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 60:
        return f"{max(0.0, seconds):.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    large, small, units = (
        (whole // 60, whole % 60, "min s") if whole < 3600 else (whole // 3600, whole // 60 % 60, "h min")
    )
    first, second = units.split()
    return f"{large} {first}" + (f" {small} {second}" if small else "")


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names with commas; what is beyond ``most`` is counted."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
