"""A database file of SQLite in which a pipeline keeps rows and positions, one transaction at a time.

The file is in write-ahead mode with ``synchronous=FULL``: what a transaction wrote survives kill -9 and loss of power.
Beside the tables of rows there are three of etlcore's own. ``etlcore_positions`` holds how far each source of
a pipeline is in, under ``STAGE/PARTITION``. ``etlcore_writers`` numbers the transactions of each pipeline's stage:
whoever finds a number that is not the one it left knows that another run has written since, and stops.
``etlcore_schema`` holds the version of all three.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from etlcore.components import RetryAfter

ROW_ERRORS = (sqlite3.IntegrityError, sqlite3.DataError, UnicodeEncodeError, OverflowError)
"""What SQLite says of a row that it cannot take; everything else is about the database."""

_VERSION = 1
_TABLES = (
    "CREATE TABLE etlcore_schema (version INTEGER NOT NULL)",
    "CREATE TABLE etlcore_positions (pipeline TEXT NOT NULL, position_key TEXT NOT NULL, "
    "value TEXT NOT NULL, PRIMARY KEY (pipeline, position_key)) WITHOUT ROWID",
    "CREATE TABLE etlcore_writers (pipeline TEXT NOT NULL, stage TEXT NOT NULL, "
    "writer TEXT NOT NULL, transactions INTEGER NOT NULL, PRIMARY KEY (pipeline, stage)) WITHOUT ROWID",
    f"INSERT INTO etlcore_schema (version) VALUES ({_VERSION})",
)
_OWN = "SELECT count(*) FROM sqlite_schema WHERE name IN ('etlcore_positions', 'etlcore_schema', 'etlcore_writers')"
_SAVE = (
    "INSERT INTO etlcore_positions (pipeline, position_key, value) VALUES (?, ?, ?) "
    "ON CONFLICT (pipeline, position_key) DO UPDATE SET value = excluded.value"
)
_SIGN = (
    "INSERT INTO etlcore_writers (pipeline, stage, writer, transactions) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (pipeline, stage) DO UPDATE SET writer = excluded.writer, transactions = excluded.transactions"
)
_RETRY_SECONDS = 0.5
_LOOK = 0.02  # seconds between two attempts at what SQLite does not wait for itself

Stamp = tuple[str, int]
"""Who wrote last for a stage, and which transaction it was."""


class SqliteError(Exception):
    """The database cannot be used. The text is one line for the operator."""

    says_it_all = True


class Database:
    """One connection to a database file, for one stage of a pipeline. To be used by one thread."""

    def __init__(self, file: Path, pipeline: str, stage: str, *, busy_seconds: float) -> None:
        """``busy_seconds``: how long to wait for others to let go of the file."""
        self.file = file
        self._pipeline = pipeline
        self._stage = stage
        self._busy_seconds = busy_seconds
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._me = uuid.uuid4().hex
        self._stamp: Stamp | None = None
        self.positions: dict[str, Any] = {}
        """The positions of the pipeline when the database was opened."""

    @property
    def connection(self) -> sqlite3.Connection:
        assert self._connection is not None, "open() comes first"
        return self._connection

    def open(self, check: Callable[[sqlite3.Connection], None]) -> None:
        """Make or open the file, and read the positions, if ``check`` finds nothing wrong. Raises SqliteError."""
        try:
            self._open(check)
        except RetryAfter as busy:
            self.close()
            raise SqliteError(f"{busy}; wait until it has finished, and start again") from busy.__cause__
        except OSError as error:
            self.close()
            raise SqliteError(f"the database {self.file} cannot be made: {error.strerror or error}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything in the ``with`` block, or nothing; durable when it ends.

        Raises one of `ROW_ERRORS` as it came, RetryAfter while another process has the file, else SqliteError.
        """
        with self._faults():
            self._begin()
            try:
                stamp = self._sign()
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
        self._stamp = stamp
        self._check_still_there()

    @contextmanager
    def trial(self) -> Iterator[sqlite3.Connection]:
        """As `transaction`, but in the end it never was."""
        with self._faults():
            self._begin()
            try:
                yield self.connection
            finally:
                self._roll_back()

    def save(self, positions: Mapping[str, Any]) -> None:
        """Set positions, as a part of the transaction. Raises TypeError when one is not JSON-able."""
        self.connection.executemany(
            _SAVE, [(self._pipeline, key, _position(key, value)) for key, value in positions.items()]
        )

    def _open(self, check: Callable[[sqlite3.Connection], None]) -> None:
        if self.file.is_dir():
            raise SqliteError(f"{self.file} is a directory: name a file in it")
        _make_directories(self.file.parent)
        with self._faults():
            self._connection = sqlite3.connect(self.file, timeout=self._busy_seconds, isolation_level=None)
            self._into_wal()
            self.connection.execute("PRAGMA synchronous = FULL")
            self._begin()  # also where nothing is to be made: whoever cannot write should hear it now
            try:
                self._prepare()
                self._read()
                check(self.connection)
                self.connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
        self._identity = _identity(self.file)

    def _into_wal(self) -> None:
        """SQLite does not wait for others here, so that two pipelines which begin with a new file may meet."""
        deadline = time.monotonic() + self._busy_seconds
        while True:
            try:
                self.connection.execute("PRAGMA journal_mode = WAL").close()
                return
            except sqlite3.OperationalError as error:
                if _primary(error) not in _BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(_LOOK)

    def _prepare(self) -> None:
        """Make etlcore's own tables, or see that they are what this version knows."""
        [(found,)] = self.connection.execute(_OWN)
        if not found:
            for statement in _TABLES:
                self.connection.execute(statement)
            return
        try:
            [(version,)] = self.connection.execute("SELECT version FROM etlcore_schema")
        except (sqlite3.OperationalError, ValueError):
            raise SqliteError(
                f"the database {self.file} has a table etlcore_positions or etlcore_writers that etlcore has not made: "
                "rename it, or name another file"
            ) from None
        if version != _VERSION:
            raise SqliteError(
                f"the database {self.file} was written by a newer etlcore (its positions have version {version}, and "
                f"this one knows {_VERSION}): upgrade etlcore, or name another file"
            )

    def _read(self) -> None:
        found = self.connection.execute(
            "SELECT position_key, value FROM etlcore_positions WHERE pipeline = ?", (self._pipeline,)
        )
        self.positions = {key: json.loads(value) for key, value in found}
        self._stamp = self._last_stamp()

    def _last_stamp(self) -> Stamp | None:
        query = "SELECT writer, transactions FROM etlcore_writers WHERE pipeline = ? AND stage = ?"
        found: Stamp | None = self.connection.execute(query, (self._pipeline, self._stage)).fetchone()
        return found

    def _sign(self) -> Stamp:
        """Take the next number, unless somebody else has."""
        if self._last_stamp() != self._stamp:
            raise SqliteError(
                f"another run of the pipeline {self._pipeline} has written to {self.file} since this one has: let one "
                "run at a time write there. What this run had not written yet is read again"
            )
        stamp = (self._me, (self._stamp[1] if self._stamp is not None else 0) + 1)
        self.connection.execute(_SIGN, (self._pipeline, self._stage, *stamp))
        return stamp

    def _begin(self) -> None:
        self.connection.execute("BEGIN IMMEDIATE")

    def _roll_back(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _check_still_there(self) -> None:
        # SQLite goes on writing to a file that was deleted: what goes there is lost.
        if _identity(self.file) != self._identity:
            raise SqliteError(
                f"the database {self.file} was removed or replaced while it was in use: put it back, or start again "
                "with a new one"
            )

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """What SQLite says of the database, in the operator's words."""
        try:
            yield
        except ROW_ERRORS:
            raise
        except sqlite3.Error as error:
            primary = _primary(error)
            if primary in _BUSY:
                raise RetryAfter(_RETRY_SECONDS, f"the database {self.file} is locked by another process") from error
            fault, step = _FAULTS.get(primary, ("cannot be used", "look at the file and its tables"))
            raise SqliteError(f"the database {self.file} {fault} ({error}): {step}") from error


# By SQLite's primary result code, https://www.sqlite.org/rescode.html
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
_FAULTS = {
    sqlite3.SQLITE_FULL: ("has no room left", "free some space on its disk; what was not written is read again"),
    sqlite3.SQLITE_IOERR: ("cannot be read or written", "look after its disk; what was not written is read again"),
    sqlite3.SQLITE_READONLY: ("is read-only", "make the file and its directory writable"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "check the path, and that its directory is writable"),
    sqlite3.SQLITE_PERM: ("may not be opened", "make the file and its directory writable"),
    sqlite3.SQLITE_CORRUPT: ("is damaged", "restore it from a backup: its positions are as old as its rows"),
    sqlite3.SQLITE_NOTADB: ("is no database of SQLite", "name another file"),
}


def _primary(error: sqlite3.Error) -> int:
    """SQLite's result code without what is more special, -1 for an error of Python's."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else -1


def _position(key: str, value: Any) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"the position of {key!r} is not JSON-able: {error}") from error


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _make_directories(directory: Path) -> None:
    """Make a directory and its parents, durably; the file's own entry is SQLite's to make durable."""
    missing = []
    while not directory.is_dir():
        missing.append(directory)
        if directory == directory.parent:
            break
        directory = directory.parent
    for made in reversed(missing):
        made.mkdir(exist_ok=True)
        descriptor = os.open(made.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
