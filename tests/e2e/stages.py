"""Functions for the `python` stages of the end-to-end tests' pipelines; it is copied beside each of them."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def slow(row: Row, seconds: str) -> Row:
    """Take so many seconds for a row."""
    time.sleep(float(seconds))
    return row


def gate(row: Row, file: str, free: int = 0) -> Row:
    """Let the row pass once the file exists; ids below ``free`` pass at once."""
    while int(row["id"]) >= free and not Path(file).exists():
        time.sleep(0.01)
    return row


def note(row: Row, file: str) -> Row:
    """Write down that the row came by."""
    _note(file, row)
    return row


def _note(file: str, row: Row) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, b'{"id": "%d"}\n' % int(row["id"]))
    finally:
        os.close(descriptor)


_never = threading.Lock()
_never.acquire()


def stuck_at(row: Row, at: str) -> Row:
    """Never come back from one row."""
    if row["id"] == at:
        wait_for_ever()
    return row


def wait_for_ever() -> None:
    _never.acquire()


def write_into(row: Row, file: str, entered: str) -> None:
    """Write the row into a file; ``entered`` is made before."""
    Path(entered).touch()
    with open(file, "w") as stream:
        stream.write(str(row["id"]))
