"""The server's clock. It can be set forward or back, so that tests need not wait for timeouts."""

from __future__ import annotations

import time


class Clock:
    """Seconds since 1970, plus an offset that ``advance`` changes."""

    def __init__(self) -> None:
        self.offset = 0.0

    def now(self) -> float:
        return time.time() + self.offset

    def advance(self, seconds: float) -> None:
        """Set the clock forward (or back, with a negative number)."""
        self.offset += seconds
