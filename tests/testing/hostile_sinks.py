"""Sinks that each break one rule of the contract; `honest_sink` breaks none."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from etlcore import Batch, Sink


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


class RefusesAgain(Honest):
    """Rows that come a second time are taken for written."""

    def open(self, context: Any) -> None:
        super().open(context)
        self._seen: set[int] = set()
        self._failed = False

    def write(self, batch: Batch) -> None:
        if not self._seen:
            self._seen.add(0)
            raise ConnectionError("the first attempt always fails")
        self._seen.update(row["id"] for row in batch.rows)
        super().write(batch)


class SaysIdempotent(Honest):
    """It promises what it does not keep."""

    idempotent = True


class ChangesRows(Honest):
    """It adds a column to rows that others may hold."""

    def line(self, row: dict[str, Any]) -> bytes:
        row["written"] = True
        return super().line(row)
