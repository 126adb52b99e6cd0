"""The tables of the state file, by version (``PRAGMA user_version``), and how an older file becomes a newer one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from etlcore.state.errors import StateError

APPLICATION_ID = 0x65746C63  # "etlc": tells a state file from any other SQLite file

# The statements that lead from version N to N + 1. Once released, an entry never changes.
STEPS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE positions (
               pipeline TEXT NOT NULL,
               stage TEXT NOT NULL,
               partition TEXT NOT NULL,
               value TEXT NOT NULL,  -- JSON
               time TEXT NOT NULL,   -- when it was committed, ISO 8601 in UTC
               PRIMARY KEY (pipeline, stage, partition)
           ) WITHOUT ROWID""",
        """CREATE TABLE dead_letters (
               id INTEGER PRIMARY KEY AUTOINCREMENT,
               pipeline TEXT NOT NULL,
               stage TEXT NOT NULL,
               reason TEXT NOT NULL,
               row TEXT NOT NULL,    -- JSON, see etlcore.state.values
               time TEXT NOT NULL,   -- ISO 8601 in UTC
               run TEXT NOT NULL,
               traceback TEXT,
               positions TEXT        -- JSON: {partition: position}
           )""",
        "CREATE INDEX dead_letters_by_stage ON dead_letters (pipeline, stage, id)",
        f"PRAGMA application_id = {APPLICATION_ID}",
    ),
    (
        "ALTER TABLE dead_letters ADD COLUMN version TEXT",  # of the pipeline: the SHA-256 of its file
        "ALTER TABLE dead_letters ADD COLUMN attempts INTEGER NOT NULL DEFAULT 1",
        "ALTER TABLE dead_letters ADD COLUMN replayed_from INTEGER",  # the letter that this one came from
        "CREATE INDEX dead_letters_replayed ON dead_letters (replayed_from) WHERE replayed_from IS NOT NULL",
        """CREATE TABLE runs (
               number INTEGER PRIMARY KEY AUTOINCREMENT,
               run TEXT NOT NULL UNIQUE,
               pipeline TEXT NOT NULL,
               kind TEXT NOT NULL,   -- run or replay
               file TEXT,
               version TEXT,         -- of the pipeline: the SHA-256 of its file
               started TEXT NOT NULL,
               ended TEXT,           -- NULL: it is under way, or it was killed
               reason TEXT,
               exit_code INTEGER,
               balance TEXT,         -- JSON: {"read": 10, "delivered": 9, …}
               committed TEXT        -- JSON: for each source stage, how far its partitions are committed
           )""",
        "CREATE INDEX runs_by_pipeline ON runs (pipeline, number)",
    ),
)

VERSION = len(STEPS)


def upgrade(connection: sqlite3.Connection, file: Path) -> None:
    """Bring a file to `VERSION`, in one transaction.

    Raises StateError when it is newer than that, or not a state file at all; sqlite3.Error when it cannot be
    written.
    """
    if _version(connection, file) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statements in STEPS[_version(connection, file) :]:  # another process may have been quicker
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def check(connection: sqlite3.Connection, file: Path) -> None:
    """Raise StateError where this is another program's file, or one that is newer than `VERSION`. Writes nothing."""
    _version(connection, file)


def _version(connection: sqlite3.Connection, file: Path) -> int:
    version, application, objects = _marks(connection)
    if application != APPLICATION_ID and (objects or version):
        raise StateError(
            f"{file} is a database, but not an etlcore state file: move it away, or choose another state directory"
        )
    if version > VERSION:
        raise StateError(
            f"the state file {file} has version {version}, this etlcore reads up to {VERSION}: install the etlcore "
            "that wrote it, or a newer one"
        )
    return version


def _marks(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """``(user_version, application_id, objects)``, all of one moment: another process may be making the file."""
    own = not connection.in_transaction
    if own:
        connection.execute("BEGIN")
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        application = int(connection.execute("PRAGMA application_id").fetchone()[0])
        objects = int(connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])
    finally:
        if own and connection.in_transaction:
            connection.execute("ROLLBACK")
    return version, application, objects
