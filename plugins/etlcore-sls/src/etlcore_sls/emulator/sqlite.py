"""Everything the emulator holds, in one SQLite file: it survives restarts, and kill -9.

Groups of logs are read from the file when they are pulled; in memory is only their index.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from etlcore_sls.emulator.groups import ConsumerGroup, Lease
from etlcore_sls.emulator.logstore import Logstore, Project
from etlcore_sls.emulator.shards import LAST_KEY, Shard, StoredGroup

_FORMAT = 1
_APPLICATION = 0x45534C53  # marks the file as one of the emulator's
_SHARD_BITS = 40  # a group's key is shard uid << 40 | number: the groups of a shard are neighbours in the file
_SCHEMA = """
CREATE TABLE projects (name TEXT PRIMARY KEY, description TEXT, created INTEGER, modified INTEGER);
CREATE TABLE documents (project TEXT, kind TEXT, name TEXT, body TEXT, PRIMARY KEY (project, kind, name));
CREATE TABLE logstores (
    uid INTEGER PRIMARY KEY, project TEXT, name TEXT, created INTEGER, modified INTEGER, next_shard INTEGER,
    options TEXT);
CREATE TABLE shards (
    uid INTEGER PRIMARY KEY, logstore INTEGER, number INTEGER, begin_key TEXT, end_key TEXT, created INTEGER,
    base INTEGER, readonly INTEGER, parents TEXT, first INTEGER);
CREATE TABLE log_groups (
    key INTEGER PRIMARY KEY, received INTEGER, logs INTEGER, size INTEGER, body BLOB);
CREATE TABLE consumer_groups (logstore INTEGER, name TEXT, timeout REAL, ordered INTEGER, PRIMARY KEY (logstore, name));
CREATE TABLE leases (
    logstore INTEGER, consumer_group TEXT, shard INTEGER, ordered INTEGER, checkpoint INTEGER, updated INTEGER,
    writer TEXT, PRIMARY KEY (logstore, consumer_group, shard));
"""


class SqliteStorage:
    """A Storage in a file that only its owner can read. Called under the service's lock.

    Raises ValueError when the file is not the emulator's, is of another format, cannot be opened, or stays in use by
    another emulator for ``patience`` seconds.
    """

    def __init__(self, path: str, patience: float = 10.0) -> None:
        self._path = path
        _create_private(path)
        deadline = time.monotonic() + patience
        while True:
            try:
                self._db = self._open()
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise ValueError(f"data file {path} cannot be opened: {error}") from error
                if time.monotonic() > deadline:
                    raise ValueError(f"data file {path} is in use by another emulator; stop it first") from error
                time.sleep(0.05)
            except sqlite3.DatabaseError as error:
                raise ValueError(f"data file {path} is not an SQLite file; name another with --data") from error

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None, timeout=0.2)
        try:
            db.execute("PRAGMA locking_mode=EXCLUSIVE")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute("BEGIN EXCLUSIVE")
            application = db.execute("PRAGMA application_id").fetchone()[0]
            version = db.execute("PRAGMA user_version").fetchone()[0]
            tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if not tables:
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id={_APPLICATION}")
                db.execute(f"PRAGMA user_version={_FORMAT}")
            elif application != _APPLICATION:
                raise ValueError(f"data file {self._path} belongs to another program; name another with --data")
            elif version != _FORMAT:
                raise ValueError(f"data file {self._path} has format {version}, this emulator reads {_FORMAT}")
            db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        return db

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # --- loading -----------------------------------------------------------------------------------------------------

    def load(self) -> dict[str, Project]:
        rows = self._db.execute("SELECT name, description, created, modified FROM projects")
        projects = {row[0]: Project(*row) for row in rows}
        for project, kind, name, body in self._db.execute("SELECT project, kind, name, body FROM documents"):
            projects[project].documents[kind, name] = json.loads(body)
        stores = self._load_logstores(projects)
        shards = self._load_shards(stores)
        query = "SELECT key, received, logs, size FROM log_groups ORDER BY key"
        for key, received, logs, size in self._db.execute(query):
            shards[key >> _SHARD_BITS].append_counts(received, logs, size)
        self._load_groups(stores)
        return projects

    def _load_logstores(self, projects: dict[str, Project]) -> dict[int, Logstore]:
        stores = {}
        query = "SELECT uid, project, name, created, modified, next_shard, options FROM logstores"
        for uid, project, name, created, modified, next_shard, options in self._db.execute(query):
            store = Logstore(project, name, uid, created, json.loads(options), modified, next_shard=next_shard)
            projects[project].logstores[name] = stores[uid] = store
        return stores

    def _load_shards(self, stores: dict[int, Logstore]) -> dict[int, Shard]:
        shards = {}
        query = """SELECT uid, logstore, number, begin_key, end_key, created, base, readonly, parents, first
                   FROM shards ORDER BY number"""
        for uid, store, number, begin, end, created, base, readonly, parents, first in self._db.execute(query):
            shards[uid] = stores[store].shards[number] = Shard(
                number,
                uid,
                int(begin, 16),
                int(end, 16),
                created,
                base,
                bool(readonly),
                tuple(json.loads(parents)),
                first,
            )
        return shards

    def _load_groups(self, stores: dict[int, Logstore]) -> None:
        query = "SELECT logstore, name, timeout, ordered FROM consumer_groups"
        for store, name, timeout, ordered in self._db.execute(query):
            stores[store].groups[name] = ConsumerGroup(name, timeout, bool(ordered))
        query = "SELECT logstore, consumer_group, shard, ordered, checkpoint, updated, writer FROM leases"
        for store, group, shard, ordered, checkpoint, updated, writer in self._db.execute(query):
            lease = Lease(shard, bool(ordered), checkpoint=checkpoint, updated=updated, writer=writer)
            stores[store].groups[group].leases[shard] = lease

    # --- saving ------------------------------------------------------------------------------------------------------

    def save_project(self, project: Project) -> None:
        row = (project.name, project.description, project.created, project.modified)
        self._db.execute("INSERT OR REPLACE INTO projects VALUES (?, ?, ?, ?)", row)

    def delete_project(self, project: Project) -> None:
        for logstore in project.logstores.values():
            self.delete_logstore(logstore)
        with self._transaction() as db:
            db.execute("DELETE FROM documents WHERE project = ?", (project.name,))
            db.execute("DELETE FROM projects WHERE name = ?", (project.name,))

    def save_document(self, project: str, key: tuple[str, str], document: Any) -> None:
        row = (project, *key, json.dumps(document))
        self._db.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?)", row)

    def delete_document(self, project: str, key: tuple[str, str]) -> None:
        self._db.execute("DELETE FROM documents WHERE project = ? AND kind = ? AND name = ?", (project, *key))

    def save_logstore(self, logstore: Logstore) -> None:
        options = json.dumps(logstore.options)
        row = (logstore.uid, logstore.project, logstore.name, logstore.created, logstore.modified, logstore.next_shard)
        self._db.execute("INSERT OR REPLACE INTO logstores VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, options))

    def delete_logstore(self, logstore: Logstore) -> None:
        with self._transaction() as db:
            for shard in logstore.shards.values():
                db.execute("DELETE FROM log_groups WHERE key >= ? AND key < ?", _keys(shard, 0, 1 << _SHARD_BITS))
            for table in ("shards", "consumer_groups", "leases"):
                db.execute(f"DELETE FROM {table} WHERE logstore = ?", (logstore.uid,))
            db.execute("DELETE FROM logstores WHERE uid = ?", (logstore.uid,))

    def save_shards(self, logstore: Logstore, shards: Sequence[Shard]) -> None:
        with self._transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO shards VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        shard.uid,
                        logstore.uid,
                        shard.number,
                        f"{shard.begin_key:x}",
                        f"{min(shard.end_key, LAST_KEY):x}",
                        shard.created,
                        shard.base,
                        shard.readonly,
                        json.dumps(shard.parents),
                        shard.first,
                    )
                    for shard in shards
                ],
            )

    def delete_shard(self, shard: Shard) -> None:
        with self._transaction() as db:
            db.execute("DELETE FROM log_groups WHERE key >= ? AND key < ?", _keys(shard, 0, 1 << _SHARD_BITS))
            db.execute("DELETE FROM shards WHERE uid = ?", (shard.uid,))

    def trim(self, shard: Shard) -> None:
        """The rows stay, without their bytes: they hold the numbers of the groups behind them."""
        self._db.execute("UPDATE log_groups SET body = x'' WHERE key >= ? AND key < ?", _keys(shard, 0, shard.first))

    def append(self, shard: Shard, groups: Sequence[StoredGroup]) -> None:
        first, _ = _keys(shard, shard.count, shard.count)
        with self._transaction() as db:
            db.executemany(
                "INSERT INTO log_groups VALUES (?, ?, ?, ?, ?)",
                [
                    (key, group.received, group.logs, len(group.framed), group.framed)
                    for key, group in enumerate(groups, first)
                ],
            )

    def read(self, shard: Shard, first: int, last: int) -> list[bytes]:
        query = "SELECT body FROM log_groups WHERE key >= ? AND key < ? ORDER BY key"
        return [row[0] for row in self._db.execute(query, _keys(shard, first, last))]

    def save_group(self, logstore: Logstore, group: ConsumerGroup) -> None:
        row = (logstore.uid, group.name, group.timeout, group.order)
        self._db.execute("INSERT OR REPLACE INTO consumer_groups VALUES (?, ?, ?, ?)", row)

    def delete_group(self, logstore: Logstore, group: str) -> None:
        with self._transaction() as db:
            db.execute("DELETE FROM consumer_groups WHERE logstore = ? AND name = ?", (logstore.uid, group))
            db.execute("DELETE FROM leases WHERE logstore = ? AND consumer_group = ?", (logstore.uid, group))

    def save_leases(self, logstore: Logstore, group: str, leases: Sequence[Lease]) -> None:
        with self._transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(logstore.uid, group, it.shard, it.ordered, it.checkpoint, it.updated, it.writer) for it in leases],
            )


def _keys(shard: Shard, first: int, last: int) -> tuple[int, int]:
    return (shard.uid << _SHARD_BITS) + first, (shard.uid << _SHARD_BITS) + last


def _create_private(path: str) -> None:
    """Make the file with permissions for its owner alone; SQLite gives the files beside it the same."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        os.chmod(path, 0o600)
    except OSError as error:
        raise ValueError(f"data file {path} cannot be opened: {error.strerror}") from error
