"""Moments in options: a time with its zone, or seconds since 1970. SLS means the time at which it received a log."""

from __future__ import annotations

from datetime import datetime


def parse_moment(value: object) -> int:
    """Seconds since 1970, from a number, an ISO 8601 text with a zone, or a datetime with a zone.

    Raises ValueError, with a message for the person who wrote it.
    """
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is not a time")
    if isinstance(value, int | float):
        return _seconds(int(value))
    if isinstance(value, datetime):
        return _zoned(value, value.isoformat(" "))
    if isinstance(value, str):
        text = value.strip()
        if text.isdigit():
            return _seconds(int(text))
        try:
            return _zoned(datetime.fromisoformat(text), text)
        except ValueError as error:
            if "zone" in str(error):
                raise
    raise ValueError(f"{value!r} is not a time; write for example 2024-05-01T08:00:00+08:00, or seconds since 1970")


def _zoned(moment: datetime, text: str) -> int:
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write for example {moment.isoformat()}+08:00, or Z for UTC")
    return _seconds(int(moment.timestamp()))


def _seconds(value: int) -> int:
    if not 0 <= value < 2**32:
        raise ValueError(f"{value} is not in seconds since 1970 (it would be beyond the year 2106)")
    return value
