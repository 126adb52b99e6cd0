"""The state store: one SQLite file, written through to the disk before a call returns.

The file is in write-ahead mode with ``synchronous=FULL``, so a commit survives kill -9 and loss of power, and
several processes may share it. It is made at the first write, readable by its owner alone.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from etlcore.state.errors import StateError, from_os, from_sqlite
from etlcore.state.letters import COLUMNS, DeadLetter
from etlcore.state.schema import upgrade

FILE_NAME = "state.db"

_WAIT = 30.0  # seconds that a call waits for other processes to let go of the file
_PAGE = 500  # dead letters read at once, so that reading holds up no writer

_SAVE_POSITION = """
    INSERT INTO positions (pipeline, stage, partition, value, time) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET value = excluded.value, time = excluded.time
"""
_ADD_LETTER = f"INSERT INTO dead_letters ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
_LETTERS = f"SELECT id, {', '.join(COLUMNS)} FROM dead_letters WHERE pipeline = ?"

T = TypeVar("T")


class StateStore:
    """Positions and dead letters of all pipelines that share a state directory.

    Safe to call from several threads and to open from several processes. Reading makes nothing: a directory that
    does not exist is an empty store. Every method raises StateError when the file cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory)
        self.file = self.directory / FILE_NAME
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None

    def positions(self, pipeline: str, stage: str) -> dict[str, Any]:
        """``{partition: position}`` as last saved; empty when nothing was."""
        query = "SELECT partition, value FROM positions WHERE pipeline = ? AND stage = ? ORDER BY partition"
        found = self._read(query, (pipeline, stage))
        return {partition: json.loads(value) for partition, value in found}

    def save_positions(self, pipeline: str, stage: str, positions: Mapping[str, Any]) -> None:
        """Save ``{partition: position}``; durable when it returns. Other partitions keep what they have.

        Raises TypeError when a position is not JSON-able, or a partition's name has no form in UTF-8.
        """
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        records = [(pipeline, stage, name, _json(stage, name, value), now) for name, value in positions.items()]
        if records:
            self._write(_SAVE_POSITION, records)

    def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep dead letters, all or none; durable when it returns."""
        if letters:
            self._write(_ADD_LETTER, [letter.to_record() for letter in letters])

    def dead_letters(self, pipeline: str, stage: str | None = None) -> Iterator[DeadLetter]:
        """The dead letters of a pipeline, or of one of its stages, oldest first."""
        query, values = _by_stage(_LETTERS, pipeline, stage)
        after = 0
        while page := self._read(f"{query} AND id > ? ORDER BY id LIMIT {_PAGE}", (*values, after)):
            for record in page:
                yield DeadLetter.from_record(record)
            after = page[-1][0]

    def count_dead_letters(self, pipeline: str, stage: str | None = None) -> int:
        """How many dead letters there are of a pipeline, or of one of its stages."""
        query, values = _by_stage("SELECT count(*) FROM dead_letters WHERE pipeline = ?", pipeline, stage)
        found = self._read(query, values)
        return int(found[0][0]) if found else 0

    def close(self) -> None:
        """Let go of the file. The store may be used again: it opens anew."""
        with self._lock:
            self._forget()

    def __enter__(self) -> StateStore:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _read(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._lock, self._faults():
            if self._connection is None:
                if not _exists(self.file):
                    return []
                self._open()
            assert self._connection is not None
            return self._connection.execute(query, values).fetchall()

    def _write(self, statement: str, records: Sequence[tuple[Any, ...]]) -> None:
        with self._lock, self._faults():
            if self._connection is None:
                self._make()
                self._open()
            assert self._connection is not None
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(statement, records)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    with suppress(sqlite3.Error):
                        self._connection.execute("ROLLBACK")
                raise
            self._check_still_there()

    def _open(self) -> None:
        connection = sqlite3.connect(self.file, timeout=_WAIT, isolation_level=None, check_same_thread=False)
        try:
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
        try:
            if not self.directory.is_dir():
                make_directory(self.directory)
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
    """Make a state directory and its parents: owner only, kept out of git, and durable. Raises OSError."""
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


def _by_stage(query: str, pipeline: str, stage: str | None) -> tuple[str, tuple[str, ...]]:
    return (query, (pipeline,)) if stage is None else (f"{query} AND stage = ?", (pipeline, stage))


def _json(stage: str, partition: str, value: Any) -> str:
    try:
        partition.encode()
        return json.dumps(value)
    except UnicodeEncodeError as error:
        raise TypeError(f"stage {stage!r}: the name of partition {partition!r} has no form in UTF-8") from error
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"stage {stage!r}: the position of partition {partition!r} is not JSON-able: {error}"
        ) from error
