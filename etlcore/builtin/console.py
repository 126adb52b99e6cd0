"""The sink that writes JSON lines to standard output."""

from __future__ import annotations

import io
import os
import select
import sys
import threading
from typing import Any

from etlcore.batch import Batch
from etlcore.builtin.jsonlines import to_lines
from etlcore.builtin.options import Options
from etlcore.components import Sink


class ConsoleError(OSError):
    """Standard output cannot be written to."""


class Console(Sink):
    """Writes each row to standard output as one line of JSON, so that it can be piped.

    A batch is handed over in one piece and flushed; workers never mix within a line. What JSON lacks (dates, bytes,
    NaN, …) is written as `etlcore.builtin.jsonlines` says.
    """

    example = """
        stages:
          rows: {source: generate, with: {rows: 3}}
          out: {sink: console}
    """

    class Config(Options):
        """No options."""

    def write(self, batch: Batch) -> None:
        data = to_lines(batch.rows)
        with _output.lock:
            _output.write(data)


class _Output:
    """The process's standard output, whichever stream that is at the time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._closed: Any = None  # a stream whose reader has gone

    def write(self, data: bytes) -> None:
        """All of it, handed to the operating system when this returns. Raises ConsoleError."""
        stream = sys.stdout
        if stream is None:
            raise ConsoleError("there is no standard output: start etl with one, or use another sink")
        if stream is self._closed:
            raise ConsoleError(_GONE)
        try:
            stream.flush()  # what others have printed comes first
            _write(stream, data)
        except BrokenPipeError:
            self._closed = stream
            _silence(stream)
            raise ConsoleError(_GONE) from None
        except OSError as error:
            raise ConsoleError(f"standard output cannot be written to: {error.strerror or error}") from None


_GONE = "standard output was closed by its reader"

_output = _Output()


def _write(stream: Any, data: bytes) -> None:
    above = getattr(stream, "write_bytes", None)
    if above is not None:  # the live table stands on the same terminal, and makes room
        above(data)
        return
    descriptor = _descriptor(stream)
    if descriptor is None:  # a stream in memory
        if hasattr(stream, "buffer"):
            stream.buffer.write(data)
        else:
            stream.write(data.decode("utf-8"))
        stream.flush()
        return
    # Straight to the descriptor: nothing stays in a buffer that could fail again when the interpreter exits, and
    # the text encoding of the terminal does not matter.
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:  # somebody who shares it has made it non-blocking
            select.select([], [descriptor], [])


def _descriptor(stream: Any) -> int | None:
    try:
        return int(stream.fileno())
    except (AttributeError, io.UnsupportedOperation):
        return None


def _silence(stream: Any) -> None:
    """Lead what is still in the stream's buffer nowhere, or the interpreter complains about it at its exit."""
    descriptor = _descriptor(stream)
    if descriptor is None:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, descriptor)
    finally:
        os.close(nowhere)
