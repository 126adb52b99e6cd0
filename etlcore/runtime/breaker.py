"""The circuit breaker of a stage: after so many failures in a row it is the system behind that is down, not a row."""

from __future__ import annotations

from collections.abc import Callable

from etlcore.runtime.concurrency import THREADS, Primitives


class Breaker:
    """Counts failures that no success has interrupted, over all workers of a stage.

    Open, it holds the stage's workers in their retries, so that rows are neither lost nor given up; channels fill, and
    the sources stop reading. The first attempt that succeeds closes it.
    """

    def __init__(
        self,
        most: int | None,
        *,
        opened: Callable[[Exception], None],
        closed: Callable[[], None],
        primitives: Primitives = THREADS,
    ) -> None:
        """``most`` failures in a row open it; None: it never opens."""
        self._most = most
        self._opened = opened
        self._closed = closed
        self._lock = primitives.lock()
        self._failures = 0
        self.open = False

    def failed(self, error: Exception) -> bool:
        """An attempt has failed; True when the breaker is open, and the worker should wait and try again."""
        with self._lock:
            self._failures += 1
            opens = self._most is not None and self._failures >= self._most and not self.open
            self.open = self.open or opens
            is_open = self.open
        if opens:
            self._opened(error)
        return is_open

    def succeeded(self) -> None:
        if not self._failures:
            return
        with self._lock:
            self._failures = 0
            closes, self.open = self.open, False
        if closes:
            self._closed()
