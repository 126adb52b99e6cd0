"""Standard output and standard error while a live table stands on the same terminal: whole lines go above it."""

from __future__ import annotations

import io
import os
import select
import threading
from collections.abc import Callable
from typing import Any, TextIO


def same_terminal(out: TextIO | None, err: TextIO | None) -> bool:
    """Both streams are one and the same terminal."""
    try:
        if out is None or err is None or not (out.isatty() and err.isatty()):
            return False
        return os.fstat(out.fileno()).st_rdev == os.fstat(err.fileno()).st_rdev
    except (OSError, ValueError):
        return False


def write_all(descriptor: int, data: bytes) -> None:
    """Hand all of it to the operating system. Raises OSError."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:  # somebody who shares the terminal has made it non-blocking
            select.select([], [descriptor], [])


class SharedTerminal(io.TextIOBase):
    """Stands in for `sys.stdout` or `sys.stderr`. What is written by its descriptor (by a child process, say)
    passes it by, and then only the picture suffers.
    """

    def __init__(self, real: TextIO, write_above: Callable[[int, bytes], None]) -> None:
        self._real = real
        self._write_above = write_above
        self._rests: dict[int, bytes] = {}
        """What each thread has written since the end of its last line: `print` writes a line in several parts."""
        self.buffer: Any = _Bytes(self)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._real.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._real.errors

    def isatty(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._real.fileno()

    def write(self, text: str) -> int:
        self.write_bytes(text.encode(self.encoding, self.errors or "strict"))
        return len(text)

    def write_bytes(self, data: bytes) -> None:
        """Write what makes whole lines; the rest waits for its end, which must come from the same thread.

        Raises OSError.
        """
        thread = threading.get_ident()
        whole, end, rest = (self._rests.pop(thread, b"") + data).rpartition(b"\n")
        if rest:
            self._rests[thread] = rest
        if end:
            self._write_above(self.fileno(), whole + end)

    def finish(self) -> None:
        """Write what waits for the end of its line. Raises OSError."""
        while self._rests:
            _, rest = self._rests.popitem()
            self._write_above(self.fileno(), rest + b"\n")


class _Bytes(io.RawIOBase):
    def __init__(self, stream: SharedTerminal) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        held = bytes(data)
        self._stream.write_bytes(held)
        return len(held)
