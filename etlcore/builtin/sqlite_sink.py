"""The sink that writes rows into a table of SQLite, and the sources' positions beside them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from etlcore.batch import Batch
from etlcore.builtin.options import Options
from etlcore.builtin.places import check_writable
from etlcore.builtin.sqlite_database import ROW_ERRORS, Database, SqliteError
from etlcore.builtin.sqlite_table import Table
from etlcore.builtin.sqlite_values import Columns, fold, to_columns
from etlcore.components import Context, RowsFailed, TransactionalSink


class SqliteSink(TransactionalSink):
    """Writes rows into a table of a SQLite database, each exactly once, whatever ends a run.

    The sources' positions are in the same database and the same transaction as the rows. The table is made when it
    is missing, with a type for each column that holds the first values as they are; it gets a new column when a row
    brings one. A row that cannot be stored as it is fails alone: ``on_error`` says what becomes of it.
    """

    example = """
        stages:
          rows: {source: generate, with: {rows: 100, fields: {id: "{id}", word: "{word}"}}}
          out:
            sink: sqlite
            with: {path: rows.db, table: words, mode: upsert, key: id}
    """

    class Config(Options):
        path: str = Field(
            min_length=1,
            description="The database file, relative to the pipeline file; it and missing directories are made.",
        )
        table: str = Field(
            min_length=1, description="The table; pipelines may share a database, and a table of it as well."
        )
        mode: Literal["append", "upsert"] = Field(
            "append",
            description="Add every row, or let a row take the place of the one with the same key: the whole row, so "
            "columns that the new one lacks become null.",
        )
        key: str | list[str] = Field(
            default_factory=list, description="With mode upsert: the column, or the columns, that tell rows apart."
        )
        busy_seconds: float = Field(
            5.0,
            ge=0,
            le=3600,
            allow_inf_nan=False,
            description="How long to wait in one go while another process writes to the database; then it is tried "
            "again, which a stop can interrupt.",
        )

        @field_validator("path", "table")
        @classmethod
        def _no_null(cls, text: str) -> str:
            if "\0" in text:
                raise ValueError("it has a null character in it: no name can have one")
            return text

        @field_validator("table")
        @classmethod
        def _not_reserved(cls, table: str) -> str:
            if fold(table).startswith(("sqlite_", "etlcore_")):
                raise ValueError(f"{table!r} is a name that SQLite or etlcore keep for themselves: choose another")
            return table

        @field_validator("key")
        @classmethod
        def _all_named(cls, key: str | list[str]) -> str | list[str]:
            names = [key] if isinstance(key, str) else key
            if not all(names):
                raise ValueError("a column of the key has no name: name it, or leave it out")
            if len({fold(name) for name in names}) < len(names):
                raise ValueError("a column is named twice in the key: remove one of them")
            return key

        @model_validator(mode="after")
        def _mode_and_key(self) -> SqliteSink.Config:
            if self.mode == "upsert" and not self.key:
                raise ValueError("mode: upsert needs a key: write key: COLUMN, or key: [ONE, OTHER]")
            if self.mode == "append" and self.key:
                raise ValueError("`key` does nothing with mode: append: remove it, or write mode: upsert")
            return self

    config: Config
    _database: Database | None = None
    _table: Table

    @property
    def database(self) -> Database:
        assert self._database is not None, "open() comes first"
        return self._database

    def open(self, context: Context) -> None:
        config = self.config
        key = (config.key,) if isinstance(config.key, str) else tuple(config.key)
        self._table = Table(config.table, key)
        self._database = Database(
            context.directory / config.path, context.pipeline, context.stage, busy_seconds=config.busy_seconds
        )
        self._database.open(self._table.check)

    def probe(self) -> None:
        file = self.context.directory / self.config.path
        check_writable(file)
        if not file.exists():
            return
        key = (self.config.key,) if isinstance(self.config.key, str) else tuple(self.config.key)
        try:
            with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as db:
                Table(self.config.table, key).check(db)
        except sqlite3.DatabaseError as error:
            raise SqliteError(f"{file} cannot be used: {error}") from error

    def positions(self) -> Mapping[str, Any]:
        return self.database.positions

    def write(self, batch: Batch, positions: Mapping[str, Any] | None = None) -> None:
        columns = to_columns(batch)
        try:
            with self.database.transaction() as db:
                if columns.rows:
                    self._table.fit(db, columns)
                    _raise_if_bad(columns)
                    self._table.insert(db, columns)
                self.database.save(positions or {})
        except ROW_ERRORS as error:
            self._find_bad(columns)
            raise error from None
        self.database.positions.update(positions or {})

    def _find_bad(self, columns: Columns) -> None:
        """Raise RowsFailed for the rows that the database has refused, if they can be told."""
        columns.refuse_surrogates()
        if not columns.bad:
            with self.database.trial() as db:
                self._table.fit(db, columns)
                self._table.find_bad(db, columns)
        _raise_if_bad(columns)

    def close(self) -> None:
        if self._database is not None:
            self._database.close()


def _raise_if_bad(columns: Columns) -> None:
    if columns.bad:
        raise RowsFailed(columns.bad)
