"""Stop signals before a run has begun and after it has ended; in between, `etlcore.runtime.signals` has them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from etlcore.runtime.signals import EXIT_AT_ONCE, STOP_SIGNALS


class StoppedEarly(BaseException):
    """A stop signal came before the run had begun; nothing was read. Not an Exception: imports may swallow those."""

    def __init__(self, signal_name: str) -> None:
        super().__init__(signal_name)
        self.signal_name = signal_name


class Margins:
    """What a stop signal does now."""

    def __init__(self) -> None:
        self.exit_code: int | None = None
        """Set once the run is over: all that is left is to leave with this code."""
        self._count = 0

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.exit_code is not None:
            os._exit(self.exit_code)
        self._count += 1
        if self._count >= 2:  # the first one was swallowed
            os._exit(EXIT_AT_ONCE)
        raise StoppedEarly(signal.Signals(number).name)


@contextmanager
def margins() -> Iterator[Margins]:
    """While the block runs, a stop signal raises StoppedEarly in the main thread; once the exit code is known, it
    ends the process with that.

    The former handlers are put back at the end, unless the exit code is known: then the process is about to end anyway.
    """
    state = Margins()
    former = {number: signal.signal(number, state.on_signal) for number in STOP_SIGNALS}
    try:
        yield state
    finally:
        if state.exit_code is None:
            for number, handler in former.items():
                signal.signal(number, handler)
