"""Lines to standard error, from any thread. Nobody reading them is no reason for a run to end."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any, TextIO


class Lines:
    """Writes whole lines to a stream. When it is gone (the terminal was closed, the reader left), nothing is shown any
    more and nothing fails.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream: TextIO | None = sys.stderr if stream is None else stream
        self.lock = threading.RLock()
        encoding = (getattr(self.stream, "encoding", None) or "ascii").lower()
        self.terminal = self.stream is not None and self.stream.isatty()
        """Somebody is looking, and can press keys."""
        self.unicode = encoding.startswith("utf")

    def line(self, text: str, tone: str = "") -> None:
        """Write ``text`` as a line, or several. ``tone`` is for terminals that show colours."""
        with self.lock:
            self.guarded(self._write, self.fitting(text) + "\n")

    def fitting(self, text: str) -> str:
        """The text without the few characters that the stream may not know."""
        return text if self.unicode else text.replace("\N{HORIZONTAL ELLIPSIS}", "...")

    def guarded(self, write: Any, *arguments: Any) -> None:
        """Call something that writes to the stream; the stream is silenced where it fails."""
        if self.stream is None:  # started without a standard error
            return
        try:
            write(*arguments)
        except OSError:
            silence(self.stream)
        except ValueError:  # it was closed
            self.stream = None

    def _write(self, text: str) -> None:
        assert self.stream is not None
        self.stream.write(text)
        self.stream.flush()


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
