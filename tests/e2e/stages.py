"""Functions for the `python` stages of the end-to-end tests' pipelines; it is copied beside each of them."""

from __future__ import annotations

import os
import subprocess
import sys
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


def fail_behind_gate(row: Row, gate: str, free: int, message: str, delivered: str = "") -> Row:
    """Deliver ids below ``free`` (as a sink) or let them pass; with any other, wait for the gate and raise."""
    if int(row["id"]) >= free:
        while not Path(gate).exists():
            time.sleep(0.01)
        raise ValueError(message)
    if delivered:
        _note(delivered, row)
    return row


_WRITER = """
import os, sys
free, file = int(sys.argv[1]), os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
for line in sys.stdin:
    if int(line) < free:
        os.write(file, b'{"id": "%d"}\\n' % int(line))
        os.fsync(file)
        print("written", flush=True)
"""
_writers: list[subprocess.Popen[str]] = []


def write_by_process(row: Row, free: int, delivered: str, pid: str) -> None:
    """Have another process write the row, and wait until it says that it has; from ``free`` on it says nothing."""
    if not _writers:
        command = [sys.executable, "-c", _WRITER, str(free), delivered]
        _writers.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        Path(pid).write_text(str(_writers[0].pid))
    [writer] = _writers
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdin.write(f"{row['id']}\n")
    writer.stdin.flush()
    if not writer.stdout.readline():
        raise BrokenPipeError(f"the writer has ended with {writer.wait()}")
