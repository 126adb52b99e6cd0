"""What time it is at the service, by the ``Date`` of its answers: this machine's clock may be wrong.

An answer that says 12:00:07 was made between the sending of its request and its arrival, and the service's clock then
stood somewhere in that second. So each answer bounds how far the two clocks are apart, and answers together bound it
closely. Where an answer contradicts what is known, one of the clocks was set meanwhile, and it counts alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime


class ServiceClock:
    """Seconds since 1970 at the service. Safe to use from any thread."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """``clock`` is this machine's. Until the first answer both are taken to be the same."""
        self._clock = clock
        self._lock = threading.Lock()
        self._least: float | None = None
        self._most: float | None = None

    def local(self) -> float:
        """What this machine's clock says."""
        return self._clock()

    def heard(self, date: str | None, sent: float, came: float) -> None:
        """An answer had this ``Date``; when it was asked for, and came, by `local`. What is no date tells nothing."""
        try:
            second = parsedate_to_datetime(date or "").timestamp()
        except ValueError:
            return
        if came < sent:  # this machine's clock was set back under way
            return
        least, most = second - came, second + 1 - sent
        with self._lock:
            if self._least is None or self._most is None or least > self._most or most < self._least:
                self._least, self._most = least, most
            else:
                self._least, self._most = max(self._least, least), min(self._most, most)

    def earliest(self) -> float:
        """It is this time at the service, or later."""
        return self._clock() + (self._least or 0.0)

    def latest(self) -> float:
        """It is this time at the service, or earlier."""
        return self._clock() + (self._most or 0.0)

    def now(self) -> float:
        """The time at the service, as nearly as is known; this machine's, if that may well be the same."""
        least, most = self._least or 0.0, self._most or 0.0
        return self._clock() + (0.0 if least <= 0.0 <= most else (least + most) / 2)
