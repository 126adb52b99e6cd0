"""What a verb writes: a file as a whole or not at all, and standard output without what plugins print."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path


def write_whole(file: Path, text: str) -> None:
    """Write a text in one step: a reader sees the former file or the whole new one, also when the disk is full.

    What is no regular file, as a pipe or a terminal, is written to. Raises OSError that names ``file``.
    """
    try:
        if file.exists() and not file.is_file():
            file.write_text(text, encoding="utf-8", errors="backslashreplace")
        else:
            _replace(file.resolve(), text)  # what a link points to is replaced, not the link
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(file)) from error


def _replace(file: Path, text: str) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=".etl-", suffix=".tmp", dir=file.parent)
    try:
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as stream:
            os.fchmod(stream.fileno(), _permissions(file))
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _permissions(file: Path) -> int:
    """Those of the file that is replaced, or what a new file would get."""
    try:
        return file.stat().st_mode & 0o777
    except OSError:
        umask = os.umask(0o077)
        os.umask(umask)
        return 0o666 & ~umask


@contextmanager
def plugins_aside() -> Iterator[None]:
    """While the block runs, what plugins print goes to standard error: standard output is for the verb's own.

    For verbs that have one thread.
    """
    with redirect_stdout(sys.stderr):
        yield
