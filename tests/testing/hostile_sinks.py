"""Sinks that each break one rule of the contract; the honest ones break none."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from etlcore import Batch, Sink, TransactionalSink


class Honest(Sink):
    """Appends JSON lines; others take one thing away from it."""

    class Config(BaseModel):
        path: str = Field(description="The file.")

    config: Config
    _descriptor: int | None = None

    def open(self, context: Any) -> None:
        path = self.config.path.replace("{worker}", str(context.worker))
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        self._cut_torn_line()

    def _cut_torn_line(self) -> None:
        assert self._descriptor is not None
        content = os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)
        os.ftruncate(self._descriptor, content.rfind(b"\n") + 1)

    def line(self, row: dict[str, Any]) -> bytes:
        return json.dumps(row, default=str).encode() + b"\n"

    def write(self, batch: Batch) -> None:
        self.append(b"".join(self.line(row) for row in batch.rows))

    def append(self, data: bytes) -> None:
        assert self._descriptor is not None
        os.write(self._descriptor, data)
        os.fsync(self._descriptor)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


class WritesAtClose(Honest):
    """`write` returns while the rows are in memory."""

    def open(self, context: Any) -> None:
        super().open(context)
        self._lines: list[bytes] = []

    def append(self, data: bytes) -> None:
        self._lines.append(data)

    def close(self) -> None:
        for data in getattr(self, "_lines", ()):
            super().append(data)
        super().close()


class ClosesWhatIsNotOpen(Honest):
    """`close` relies on `open`."""

    def close(self) -> None:
        os.close(self._descriptor)  # type: ignore[arg-type]


class LeavesThread(Honest):
    """A thread of its own goes on after `close`."""

    def open(self, context: Any) -> None:
        super().open(context)
        threading.Thread(target=threading.Event().wait, args=(60,), name="left behind", daemon=True).start()


class EmptiesAtOpen(Honest):
    """What earlier runs wrote is lost."""

    def open(self, context: Any) -> None:
        Path(self.config.path.replace("{worker}", str(context.worker))).unlink(missing_ok=True)
        super().open(context)


class SaysIdempotent(Honest):
    """It promises what it does not keep."""

    idempotent = True


class ChangesRows(Honest):
    """It adds a column to rows that others may hold."""

    def line(self, row: dict[str, Any]) -> bytes:
        row["written"] = True
        return super().line(row)


class RefusesRepeats(Honest):
    """Rows that come again are an error to it."""

    def open(self, context: Any) -> None:
        super().open(context)
        self._seen: set[Any] = set()

    def write(self, batch: Batch) -> None:
        ids = {row["id"] for row in batch.rows}
        if ids & self._seen:
            raise ValueError("these rows are written already")
        super().write(batch)
        self._seen |= ids


class LeavesLock(Honest):
    """What a killed process left keeps it from opening."""

    @property
    def lock(self) -> Path:
        return Path(self.config.path.replace("{worker}", str(self.context.worker)) + ".lock")

    def open(self, context: Any) -> None:
        self.lock.touch(exist_ok=False)
        super().open(context)

    def close(self) -> None:
        super().close()
        self.lock.unlink(missing_ok=True)


class RefusesToStop(Honest):
    """It takes a stop for a reason to fail."""

    def write(self, batch: Batch) -> None:
        if self.context.stopping.is_set():
            raise ConnectionAbortedError("stopping")
        super().write(batch)


class WorkersOverwrite(Honest):
    """Each worker writes to one file, where it was when the worker opened it."""

    def open(self, context: Any) -> None:
        self._descriptor = os.open(self.config.path.replace("{worker}", ""), os.O_RDWR | os.O_CREAT)
        self._cut_torn_line()
        self._at = os.fstat(self._descriptor).st_size

    def append(self, data: bytes) -> None:
        assert self._descriptor is not None
        self._at += os.pwrite(self._descriptor, data, self._at)


class NeedsRows(Honest):
    """It cannot close what nothing was written to."""

    def close(self) -> None:
        if (
            not self.context.stopping.is_set()
            and self._descriptor is not None
            and not os.fstat(self._descriptor).st_size
        ):
            raise RuntimeError("nothing was written")
        super().close()


class CutsHugeBatches(Honest):
    """What is beyond its limit is left out."""

    def write(self, batch: Batch) -> None:
        super().write(batch.slice(0, 1000))


class SpoilsText(Honest):
    """Only ASCII survives."""

    def line(self, row: dict[str, Any]) -> bytes:
        plain = {k: v.encode("ascii", "replace").decode() if isinstance(v, str) else v for k, v in row.items()}
        return super().line(plain)


class SkipsNulls(Honest):
    """Rows with a null are left out."""

    def write(self, batch: Batch) -> None:
        super().write(Batch.from_rows([row for row in batch.rows if None not in row.values()]))


class KnowsFirstColumns(Honest):
    """The columns of the first row are all that it writes."""

    _columns: tuple[str, ...] = ()

    def line(self, row: dict[str, Any]) -> bytes:
        self._columns = self._columns or tuple(row)
        return super().line({name: row.get(name) for name in self._columns})


class SkipsWhatJsonLacks(Honest):
    """Rows that it cannot write are left out."""

    def write(self, batch: Batch) -> None:
        lines = []
        for row in batch.rows:
            try:
                lines.append(json.dumps(row).encode() + b"\n")
            except TypeError:
                continue
        self.append(b"".join(lines))


class HonestTransaction(TransactionalSink):
    """Rows and positions in SQLite; others take one thing away from it."""

    class Config(BaseModel):
        path: str = Field(description="The database.")

    config: Config
    db: sqlite3.Connection | None = None

    def open(self, context: Any) -> None:
        self.db = sqlite3.connect(self.config.path, isolation_level=None)
        self.db.execute("CREATE TABLE IF NOT EXISTS rows (row TEXT)")
        self.db.execute("CREATE TABLE IF NOT EXISTS positions (name TEXT PRIMARY KEY, value TEXT)")

    def positions(self) -> Mapping[str, Any]:
        assert self.db is not None
        return {name: json.loads(value) for name, value in self.db.execute("SELECT name, value FROM positions")}

    def write(self, batch: Batch, positions: Mapping[str, Any] | None = None) -> None:
        lines = [(json.dumps(row, default=str),) for row in batch.rows]
        assert self.db is not None
        self.db.execute("BEGIN")
        try:
            self.save(lines, positions or {})
            self.db.execute("COMMIT")
        except BaseException:
            self.db.execute("ROLLBACK")
            raise

    def save(self, lines: list[tuple[str]], positions: Mapping[str, Any]) -> None:
        assert self.db is not None
        self.db.executemany("INSERT INTO rows VALUES (?)", lines)
        self.save_positions(positions)

    def save_positions(self, positions: Mapping[str, Any]) -> None:
        assert self.db is not None
        values = [(name, json.dumps(value)) for name, value in positions.items()]
        self.db.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?)", values)

    def close(self) -> None:
        if self.db is not None:
            self.db.close()


class TwoTransactions(HonestTransaction):
    """Between the rows and their positions there is a moment, and a long one."""

    def save(self, lines: list[tuple[str]], positions: Mapping[str, Any]) -> None:
        assert self.db is not None
        self.db.executemany("INSERT INTO rows VALUES (?)", lines)
        self.db.execute("COMMIT")
        for _ in range(500):
            self.db.execute("SELECT count(*) FROM rows").fetchone()
        self.db.execute("BEGIN")
        self.save_positions(positions)


class ForgetsOtherPositions(HonestTransaction):
    """It keeps the positions of the last write alone."""

    def save_positions(self, positions: Mapping[str, Any]) -> None:
        assert self.db is not None
        if positions:
            self.db.execute("DELETE FROM positions")
        super().save_positions(positions)


class WantsRows(HonestTransaction):
    """Positions without rows are nothing to it."""

    def save(self, lines: list[tuple[str]], positions: Mapping[str, Any]) -> None:
        if lines:
            super().save(lines, positions)
