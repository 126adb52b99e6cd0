"""The state file itself: opened when it is needed, written through to the disk before a call returns.

The file is in write-ahead mode with ``synchronous=FULL``, so a commit survives kill -9 and loss of power, and
several processes may share it. It is made at the first write, readable by its owner alone.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from etlcore.state.errors import StateError, from_os, from_sqlite
from etlcore.state.schema import check, upgrade

FILE_NAME = "state.db"

_WAIT = 30.0  # seconds that a call waits for other processes to let go of the file

Statement = tuple[str, Sequence[Sequence[Any]]]
"""An SQL statement, and the values to execute it with, one after another."""

T = TypeVar("T")


class Database:
    """One state file. Safe to call from several threads and to open from several processes.

    Reading makes nothing: a directory that does not exist is an empty store. Every method raises StateError when the
    file cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory)
        self.file = self.directory / FILE_NAME
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None

    def close(self) -> None:
        """Let go of the file. The store may be used again: it opens anew."""
        with self._lock:
            self._forget()

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock, self._faults():
            if self._connection is None:
                if not _exists(self.file):
                    return []
                self._open()
            assert self._connection is not None
            return self._connection.execute(query, values).fetchall()

    def _write(self, *statements: Statement) -> int:
        """Execute statements, all or none of them; durable when it returns. Gives how many rows they changed."""
        with self._lock, self._faults():
            if self._connection is None:
                self._make()
                self._open()
            assert self._connection is not None
            before = self._connection.total_changes
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for statement, records in statements:
                    self._connection.executemany(statement, records)
                changed = self._connection.total_changes - before
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    with suppress(sqlite3.Error):
                        self._connection.execute("ROLLBACK")
                raise
            self._check_still_there()
            return changed

    def _open(self) -> None:
        connection = sqlite3.connect(self.file, timeout=_WAIT, isolation_level=None, check_same_thread=False)
        try:
            _patiently(lambda: check(connection, self.file))  # before anything is changed in it
            connection.execute("PRAGMA synchronous = FULL")
            # Turning a new file to write-ahead mode is refused at once while another process is at it.
            _patiently(lambda: connection.execute("PRAGMA journal_mode = WAL"))
            _patiently(lambda: upgrade(connection, self.file))
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._inode = _identity(self.file)

    def _make(self) -> None:
        """Make the directory and an empty file, for their owner alone."""
        make_directory(self.directory)
        try:
            if not _exists(self.file):
                os.close(os.open(self.file, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise from_os(self.directory, error) from error

    def _check_still_there(self) -> None:
        # SQLite goes on writing to a file that was deleted; a commit into it would be lost.
        if _identity(self.file) != self._inode:
            self._forget()
            raise StateError(
                f"the state file {self.file} was removed or replaced while it was in use: let one run at a time have "
                "it, and start again"
            )

    def _forget(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with suppress(sqlite3.Error):
                connection.close()

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise from_sqlite(self.file, error) from error


def make_directory(directory: Path) -> None:
    """Make a state directory and its parents where there is none: owner only, kept out of git, and durable.

    Raises StateError.
    """
    try:
        if not directory.is_dir():
            _make_directory(directory)
    except OSError as error:
        raise from_os(directory, error) from error


def _make_directory(directory: Path) -> None:
    missing = [directory]
    while not missing[-1].parent.is_dir():
        missing.append(missing[-1].parent)
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)
    with suppress(FileExistsError), open(directory / ".gitignore", "x", encoding="ascii") as ignore:
        ignore.write("*\n")
    for made in missing:
        _sync_directory(made.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # no permission to look: let SQLite say so
        return True


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _patiently(step: Callable[[], T]) -> T:
    """Repeat a step while another process holds the file, for as long as SQLite itself would wait."""
    deadline = time.monotonic() + _WAIT
    while True:
        try:
            return step()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)
