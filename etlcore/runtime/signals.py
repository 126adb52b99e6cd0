"""Signals become commands in a queue: nothing else happens inside a handler, so a handler can never deadlock."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

EXIT_AT_ONCE = 3  # rows are abandoned and nothing is committed for them: the same promise as an orderly exit 3


@contextmanager
def stop_signals(commands: SimpleQueue[str]) -> Iterator[None]:
    """While the block runs, put the name of each stop signal into ``commands``; the third one ends the process.

    Only the main thread can do this. The former handlers are put back at the end.
    """
    count = 0

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        if count >= 3:
            os._exit(EXIT_AT_ONCE)
        commands.put(signal.Signals(number).name)  # SimpleQueue.put is safe inside a handler

    former = {number: signal.signal(number, on_signal) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
