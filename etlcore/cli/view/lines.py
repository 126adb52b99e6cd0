"""Lines to standard error, from any thread. Nobody reading them is no reason for a run to end, nor to stand still."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TextIO

_MOST = 10_000
"""Lines that may wait to be written."""


class Lines:
    """Writes whole lines to a stream, on a thread of its own, in the order in which they came.

    So nobody who has something to say ever waits for who reads it: not a worker that logs, not the supervisor that
    must keep a deadline. What comes while too much is waiting is counted instead. When the stream is gone (the terminal
    was closed, the reader left), nothing is shown any more and nothing fails.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream: TextIO | None = sys.stderr if stream is None else stream
        self.lock = threading.RLock()
        """Held while something is written."""
        encoding = (getattr(self.stream, "encoding", None) or "ascii").lower()
        self.terminal = self.stream is not None and self.stream.isatty()
        """Somebody is looking, and can press keys."""
        self.unicode = encoding.startswith("utf")
        self._changed = threading.Condition()
        self._waiting: deque[Callable[[], None]] = deque()
        self._lost = 0
        self._writing = False
        self._thread: threading.Thread | None = None

    def line(self, text: str, tone: str = "") -> None:
        """Write ``text`` as a line, or several. ``tone`` is for terminals that show colours."""
        fitting = text if self.unicode else text.replace("\N{HORIZONTAL ELLIPSIS}", "...")
        self.later(lambda: self.write(fitting, tone))

    def finish(self, patience: float | None = None) -> bool:
        """Wait until all is written, for at most ``patience`` seconds; False when something is left."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._waiting or self._writing), patience)

    # For what is built on this

    def write(self, text: str, tone: str) -> None:
        """Write a line now; on the writing thread. May raise OSError."""
        assert self.stream is not None
        self.stream.write(text + "\n")
        self.stream.flush()

    def later(self, step: Callable[[], None]) -> None:
        """Have the writing thread do something."""
        if self.stream is None:  # started without a standard error
            return
        with self._changed:
            if len(self._waiting) >= _MOST:
                self._lost += 1
                return
            self._waiting.append(step)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_all, name="etl lines", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting)
                step = self._waiting.popleft()
                lost, self._lost = (self._lost, 0) if not self._waiting else (0, self._lost)
                self._writing = True
            self._guarded(step)
            if lost:
                self._guarded(partial(self.write, f"({lost:,} lines could not be shown in time)", ""))

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            with self.lock:
                step()
        except OSError:
            if self.stream is not None:
                silence(self.stream)
        except ValueError:  # the stream was closed
            self.stream = None


def silence(stream: TextIO) -> None:
    """Lead a stream that cannot be written to any more into nothing.

    Otherwise what is left in its buffer fails again when the interpreter exits, and spoils the exit code.
    """
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, descriptor)
    finally:
        os.close(nowhere)
