"""Appending whole lines to a file, durably, whatever happens in between."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
from contextlib import suppress
from pathlib import Path

from etlcore.builtin.jsonlines import BadLine, from_line

_BLOCK = 64 * 1024


class AppendError(OSError):
    """The file cannot be written; the text names it, says why, and what to do."""


class Appender:
    """A file of lines that grows by whole, durable pieces.

    One process at a time has it (``flock``). Whatever ends a piece early (a full disk, a crash) is cut off: at once
    where that is possible, else when the file is opened next.
    """

    def __init__(self, file: Path, *, log: logging.Logger) -> None:
        self.file = file
        self._log = log
        self._descriptor: int | None = None
        self._length = 0  # bytes that hold whole, durable lines
        self._torn = False  # there may be something behind them that is to be cut off

    def open(self, *, empty: bool = False) -> None:
        """Make or open the file, and mend its end; with ``empty``, throw away what it holds. Raises AppendError."""
        try:
            self._open(empty)
        except AppendError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise AppendError(f"cannot open {self.file}: {error.strerror or error}") from error

    def append(self, data: bytes) -> None:
        """Add whole lines; they are on the disk when this returns. Raises AppendError: then none of them counts."""
        assert self._descriptor is not None, "open() comes first"
        try:
            self._settle_end()
            self._torn = True
            _write(self._descriptor, data)
            sync(self._descriptor)
            self._torn = False
        except AppendError:
            raise
        except OSError as error:
            with suppress(OSError):  # what fails here is tried again by the next append, or by the next open
                self._settle_end()
            raise AppendError(f"cannot write to {self.file}: {error.strerror or error}") from error
        self._length += len(data)

    @property
    def length(self) -> int:
        """Bytes that hold whole, durable lines."""
        return self._length

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def _open(self, empty: bool) -> None:
        made = make_directories(self.file.parent)
        existed = self.file.exists()
        if existed and not stat.S_ISREG(self.file.stat().st_mode):
            raise AppendError(f"{self.file} is not a regular file: name a file, or use the sink console")
        self._descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AppendError(f"{self.file} is being written by another stage or run: give each its own file") from None
        if empty:
            os.ftruncate(self._descriptor, 0)
            sync(self._descriptor)
        if not existed:
            made.append(self.file)
        for path in made:
            sync_directory(path.parent)
        self._mend()

    def _settle_end(self) -> None:
        """Make sure that the file ends where the last whole piece ended."""
        assert self._descriptor is not None
        if self._torn:
            os.ftruncate(self._descriptor, self._length)
            self._torn = False
        elif os.fstat(self._descriptor).st_size != self._length:
            self._log.warning("%s was changed by someone else while it was being written", self.file)
            self._mend()

    def _mend(self) -> None:
        """Make the file end in a whole line: end the last one if it is whole but for its newline, else cut it off."""
        assert self._descriptor is not None
        size = os.fstat(self._descriptor).st_size
        self._length = size - len(tail := _last_line(self._descriptor, size))
        if not tail:
            return
        if _is_whole(tail):
            _write(self._descriptor, b"\n")
            self._length = size + 1
        elif tail[:1] in (b"{", b"\0"):  # zeros are what a loss of power leaves
            self._log.warning("%s ended in a torn line: its %d bytes were cut off", self.file, len(tail))
            os.ftruncate(self._descriptor, self._length)
        else:
            raise AppendError(f"{self.file} does not end like a file of JSON lines: move it away, or name another path")
        sync(self._descriptor)


def _last_line(descriptor: int, size: int) -> bytes:
    """What follows the last newline."""
    tail = b""
    while size > 0 and b"\n" not in tail:
        start = max(0, size - _BLOCK)
        tail = os.pread(descriptor, size - start, start) + tail
        size = start
    return tail.rpartition(b"\n")[2]


def _is_whole(line: bytes) -> bool:
    try:
        from_line(line)
    except BadLine:
        return False
    return True


def _write(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def sync(descriptor: int) -> None:
    """Have what was written to an open file on the disk, past all caches."""
    full = getattr(fcntl, "F_FULLFSYNC", None)  # where fsync stops at the drive's cache
    if full is None:
        os.fsync(descriptor)
    else:
        fcntl.fcntl(descriptor, full)


def make_directories(directory: Path) -> list[Path]:
    """Make a directory and its parents; the ones that were missing, whose names are not on the disk yet."""
    missing = []
    while not directory.is_dir():
        missing.append(directory)
        if directory == directory.parent:
            break
        directory = directory.parent
    for made in reversed(missing):
        made.mkdir(exist_ok=True)
    return missing


def sync_directory(directory: Path) -> None:
    """Have the names in a directory on the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
