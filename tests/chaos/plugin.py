"""The plugin ``chaos``, installed beside the pipelines: a transform that keeps rows, and a transactional sink."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from etlcore import Batch, Component, TransactionalSink, Transform, hookimpl


@hookimpl
def etl_components() -> Iterator[Component]:
    yield Component("chaos.keep", "transform", "chaos_plugin:Keep", "Keeps some batches and hands them over as one")
    yield Component("chaos.exact", "sink", "chaos_plugin:Exact", "Rows and positions in one SQLite transaction")


class Keep(Transform):
    class Config(BaseModel):
        name: str
        batches: int = 3

    config: Config
    buffers = True

    def open(self, context: Any) -> None:
        self._kept: list[Batch] = []

    def process(self, batch: Batch) -> Iterable[Batch]:
        self._kept.append(batch)
        if len(self._kept) < self.config.batches:
            return []
        made = self._joined()
        self.context.release(*self._kept)
        self._kept = []
        return made

    def flush(self) -> Iterable[Batch]:
        return self._joined() if self._kept else []

    def _joined(self) -> list[Batch]:
        rows = [
            {**row, "via": row.get("via", "") + "/" + self.config.name} for batch in self._kept for row in batch.rows
        ]
        return [Batch.from_rows(rows).derived_from(*self._kept)]


class Exact(TransactionalSink):
    class Config(BaseModel):
        path: str

    config: Config
    _db: sqlite3.Connection | None = None

    def open(self, context: Any) -> None:
        self._db = sqlite3.connect(context.directory / self.config.path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("CREATE TABLE IF NOT EXISTS delivered (id INTEGER, via TEXT)")
        self._db.execute("CREATE TABLE IF NOT EXISTS positions (partition TEXT PRIMARY KEY, value TEXT)")

    def positions(self) -> Mapping[str, Any]:
        assert self._db is not None
        return {name: json.loads(value) for name, value in self._db.execute("SELECT partition, value FROM positions")}

    def write(self, batch: Batch, positions: Mapping[str, Any] | None = None) -> None:
        db = self._db
        assert db is not None
        db.execute("BEGIN IMMEDIATE")
        try:
            rows = [(int(row["id"]), row.get("via", "")) for row in batch.rows]
            db.executemany("INSERT INTO delivered VALUES (?, ?)", rows)
            values = [(name, json.dumps(value)) for name, value in (positions or {}).items()]
            db.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?)", values)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
