"""What can go wrong with the state file, each as one line that names the file, the fault and the next step."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from pathlib import Path


class StateError(Exception):
    """The state could not be read or made durable. The text is one line for the operator."""


_READ_FIRST = "sources then read from their configured start"

_NO_ROOM = 64 * 1024  # bytes; what SQLite needs beside the file for any write

# By SQLite's primary result code, https://www.sqlite.org/rescode.html
_FAULTS = {
    sqlite3.SQLITE_FULL: ("has no room left", "free some space on its disk and start again: nothing is lost"),
    sqlite3.SQLITE_IOERR: ("cannot be read or written", "look after its disk and start again: nothing is lost"),
    sqlite3.SQLITE_READONLY: ("is read-only", "make it writable, or choose another state directory"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "make its directory writable, or choose another state directory"),
    sqlite3.SQLITE_PERM: ("may not be opened", "make it writable, or choose another state directory"),
    sqlite3.SQLITE_CORRUPT: ("is damaged", f"restore it from a backup or move it away; {_READ_FIRST}"),
    sqlite3.SQLITE_NOTADB: ("is not an etlcore state file", f"move it away; {_READ_FIRST}"),
    sqlite3.SQLITE_BUSY: ("is held by another process", "wait until that one has ended, then start again"),
}


def from_sqlite(file: Path, error: sqlite3.Error) -> StateError:
    """The same fault in the operator's words."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else -1
    if primary == sqlite3.SQLITE_IOERR and _is_full(file):  # so it says of the files beside the database
        primary = sqlite3.SQLITE_FULL
    fault, step = _FAULTS.get(primary, ("cannot be used", "look at its file"))
    return StateError(f"the state file {file} {fault} ({error}): {step}")


def _is_full(file: Path) -> bool:
    try:
        return shutil.disk_usage(file.parent).free < _NO_ROOM
    except OSError:
        return False


def from_os(path: Path, error: OSError, what: str = "the state directory") -> StateError:
    """A directory or file that could not be made."""
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StateError(f"{what} {path} has no room left ({reason}): free some space on its disk and start again")
    return StateError(f"{what} {path} cannot be made ({reason}): make it writable, or choose another state directory")
