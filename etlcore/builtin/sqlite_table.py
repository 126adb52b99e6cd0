"""A table of SQLite that takes batches: made when it is missing, given new columns when a batch brings them.

Its columns are read anew in every transaction, so that several pipelines may write to one table, and people may change
it meanwhile. SQLite changes values to fit the type of a column; what would not be the same afterwards is refused.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from etlcore.builtin.sqlite_database import ROW_ERRORS, SqliteError
from etlcore.builtin.sqlite_values import Columns, fold, type_for

_EXACT = 2**53  # whole numbers beyond it may change when they become fractions
_MOST = 2**63 - 1
_NUMBER = re.compile(r"[ \t-\r]*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[ \t-\r]*", re.ASCII)
_WHOLE = re.compile(r"-?[1-9]\d*|0", re.ASCII)
_GENERATED = (2, 3)


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    affinity: str
    """What SQLite makes of values: ``INTEGER``, ``REAL``, ``NUMERIC``, ``TEXT``, or ``BLOB``, which leaves them."""
    generated: bool


class Table:
    """One table; ``key`` has the columns of which no two rows may have the same values, and is empty for any rows."""

    def __init__(self, name: str, key: tuple[str, ...] = ()) -> None:
        self.name = name
        self.key = key

    def check(self, db: sqlite3.Connection) -> None:
        """Whether it can be written to as it is; a missing one can. Raises SqliteError."""
        found = db.execute(
            "SELECT type FROM sqlite_schema WHERE name = ? COLLATE NOCASE AND type IN ('table', 'view')", (self.name,)
        ).fetchone()
        if found is None:
            return
        if found[0] != "table":
            raise SqliteError(f"{self.name} is a view: name a table, or one that is to be made")
        columns = self._columns(db)
        missing = [name for name in self.key if fold(name) not in columns]
        if missing:
            raise SqliteError(
                f"the table {self.name} has no column {_names(missing)}, which is a part of `key`: its columns are "
                f"{_names(column.name for column in columns.values())}; name one of them, or another table"
            )
        if self.key and not self._is_unique(db):
            raise SqliteError(
                f"the table {self.name} may have several rows with the same {_names(self.key)}, so no row can take the "
                f"place of another: CREATE UNIQUE INDEX {quoted(self.name + '_key')} ON {quoted(self.name)} "
                f"({_listed(self.key)}), or name another table"
            )

    def fit(self, db: sqlite3.Connection, columns: Columns) -> None:
        """Make the table and its new columns, as a part of a transaction, and fit the values to the columns' types.

        Rows that cannot be stored are refused in ``columns``. Raises SqliteError.
        """
        self._refuse_without_key(columns)
        there = self._columns(db)
        new = {name: values for name, values in columns.values.items() if fold(name) not in there}
        self._refuse_too_many(db, columns, new, len(there))
        if columns.bad:
            return  # they come again without these, and only then it is known which columns are needed
        if not there:
            self._create(db, new)
        else:
            for name, values in new.items():
                kind = type_for(values)
                db.execute(f"ALTER TABLE {quoted(self.name)} ADD COLUMN {quoted(name)} {kind}".rstrip())
        if new:
            there = self._columns(db)
        for name in list(columns.values):
            self._convert(there[fold(name)], name, columns)

    def insert(self, db: sqlite3.Connection, columns: Columns) -> None:
        """Write all rows. Raises one of `ROW_ERRORS` when there is one that cannot be written."""
        if columns.rows:
            db.executemany(self._statement(db, columns), zip(*columns.values.values(), strict=True))

    def find_bad(self, db: sqlite3.Connection, columns: Columns) -> None:
        """Refuse the rows that the database does, one by one; the others are written. Raises SqliteError."""
        statement = self._statement(db, columns)
        for index, row in enumerate(zip(*columns.values.values(), strict=True)):
            try:
                db.execute(statement, row)
            except ROW_ERRORS as error:
                columns.refuse([index], f"the database refuses the row: {error}")
            if not db.in_transaction:
                raise SqliteError(
                    f"the table {self.name} rolls transactions back by itself (ON CONFLICT ROLLBACK, or a trigger), so "
                    "its rows cannot be told apart: take that out of the table"
                )

    # --- the shape of the table --------------------------------------------------------------------------------------

    def _columns(self, db: sqlite3.Connection) -> dict[str, Column]:
        """By their folded names; empty when there is no table."""
        found = db.execute("SELECT name, type, hidden FROM pragma_table_xinfo(?)", (self.name,))
        return {fold(name): Column(name, _affinity(kind), hidden in _GENERATED) for name, kind, hidden in found}

    def _is_unique(self, db: sqlite3.Connection) -> bool:
        """Whether an index or the primary key keeps rows with the same key out."""
        wanted = {fold(name) for name in self.key}
        primary = db.execute("SELECT name FROM pragma_table_info(?) WHERE pk > 0", (self.name,))
        if {fold(name) for (name,) in primary} == wanted:
            return True
        indexes = db.execute(
            'SELECT name FROM pragma_index_list(?) WHERE "unique" AND NOT partial', (self.name,)
        ).fetchall()
        return any(
            {fold(name or "") for (name,) in db.execute("SELECT name FROM pragma_index_info(?)", index)} == wanted
            for index in indexes
        )

    def _create(self, db: sqlite3.Connection, new: dict[str, list[Any]]) -> None:
        keys = {fold(name) for name in self.key}
        parts = []
        for name, values in new.items():
            kind = type_for(values)
            if fold(name) in keys:  # a key of the type INTEGER could not hold anything else; INT is as good
                kind = f"{'INT' if kind == 'INTEGER' else kind} NOT NULL".strip()
            parts.append(f"{quoted(name)} {kind}".rstrip())
        if self.key:
            parts.append(f"PRIMARY KEY ({_listed(self.key)})")
        db.execute(f"CREATE TABLE {quoted(self.name)} ({', '.join(parts)})")

    def _statement(self, db: sqlite3.Connection, columns: Columns) -> str:
        names = list(columns.values)
        text = f"INSERT INTO {quoted(self.name)} ({_listed(names)}) VALUES ({', '.join('?' * len(names))})"
        if not self.key:
            return text
        keys = {fold(name) for name in self.key}
        others = [c.name for folded, c in self._columns(db).items() if folded not in keys and not c.generated]
        changes = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in others)
        return f"{text} ON CONFLICT ({_listed(self.key)}) DO {'UPDATE SET ' + changes if changes else 'NOTHING'}"

    # --- rows that cannot be stored ----------------------------------------------------------------------------------

    def _refuse_without_key(self, columns: Columns) -> None:
        if not columns.values:
            columns.refuse(range(columns.rows), "a row without columns cannot be stored")
        by_name = {fold(name): values for name, values in columns.values.items()}
        for name in self.key:
            values = by_name.get(fold(name))
            lacking = range(columns.rows) if values is None else (i for i, v in enumerate(values) if _is_null(v))
            columns.refuse(lacking, f"`{name}` is null, and it is a part of the key")

    def _refuse_too_many(self, db: sqlite3.Connection, columns: Columns, new: dict[str, list[Any]], there: int) -> None:
        most = min(db.getlimit(sqlite3.SQLITE_LIMIT_COLUMN), db.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER))
        keys = {fold(name) for name in self.key}
        order = sorted(new, key=lambda name: fold(name) not in keys)  # those of the key come first, if any do
        for name in order[max(0, most - there) :]:
            having = (index for index, value in enumerate(new[name]) if value is not None)
            columns.refuse(having, f"column `{name}` is one too many: a table has {most:,} columns at most")
            columns.values.pop(name)
            new.pop(name)

    def _convert(self, column: Column, name: str, columns: Columns) -> None:
        """Leave to SQLite only what it does not change beyond recognition."""
        if column.generated:
            raise SqliteError(
                f"the column {column.name} of the table {self.name} is computed by the database: leave it out of the "
                "rows, with a select stage"
            )
        values = columns.values[name]
        kinds = set(map(type, values))
        if column.affinity == "TEXT" and kinds & {int, float, bool}:
            columns.values[name] = [_text(value) for value in values]
        elif column.affinity in ("INTEGER", "REAL", "NUMERIC") and str in kinds:
            most = _EXACT if column.affinity == "REAL" else _MOST
            bad = (i for i, value in enumerate(values) if type(value) is str and _would_change(value, most))
            columns.refuse(bad, f"column `{name}` is {column.affinity} in the table, which would change the text")
        if column.affinity == "REAL" and int in kinds:
            bad = (i for i, v in enumerate(values) if type(v) is int and abs(v) > _EXACT and int(float(v)) != v)
            columns.refuse(bad, f"column `{name}` is REAL in the table, which would change the whole number")


def quoted(name: str) -> str:
    """A name as it stands in a statement."""
    return '"' + name.replace('"', '""') + '"'


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(quoted, names))


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _affinity(kind: str) -> str:
    """By the rules of https://www.sqlite.org/datatype3.html, section 3.1."""
    kind = kind.upper()
    for parts, affinity in _AFFINITIES:
        if any(part in kind for part in parts):
            return affinity
    return "NUMERIC" if kind else "BLOB"


_AFFINITIES = (
    (("INT",), "INTEGER"),
    (("CHAR", "CLOB", "TEXT"), "TEXT"),
    (("BLOB",), "BLOB"),
    (("REAL", "FLOA", "DOUB"), "REAL"),
)


def _text(value: Any) -> Any:
    """A number as text with all its digits, of which SQLite keeps fifteen."""
    if isinstance(value, float):
        return None if value != value else repr(value)  # NaN is null, as everywhere
    return str(int(value)) if isinstance(value, int) else value


def _would_change(text: str, most: int) -> bool:
    """Whether a column for numbers would make something of a text that is not written like it.

    ``most`` is the largest whole number that the column keeps.
    """
    if not _NUMBER.fullmatch(text):
        return False  # it stays a text
    if _WHOLE.fullmatch(text):
        return len(text) > 20 or abs(int(text)) > most
    return repr(float(text)) != text


def _is_null(value: Any) -> bool:
    return value is None or value != value  # NaN is stored as null
