"""Dead letters: rows that could not be processed, kept with the reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from etlcore.state.values import decode, encode


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One row that a stage refused, and why."""

    pipeline: str
    stage: str
    reason: str
    row: Mapping[str, Any]
    """The row as the stage was given it; see `etlcore.state.values` for what JSON cannot hold."""
    run: str
    """The id of the run that it happened in."""
    time: datetime = field(default_factory=_now)
    """When it was refused, in UTC."""
    traceback: str | None = None
    positions: Mapping[str, Any] | None = None
    """``{partition: position}`` of the source batches that the row came from, where known."""
    version: str | None = None
    """Of the pipeline that refused it: the SHA-256 of its file, in hexadecimal."""
    attempts: int = 1
    """How often rows that come from this one were refused: once, and once more with each replay."""
    replayed_from: int | None = None
    """The id of the letter whose replay this one comes from, where that is known for sure."""
    id: int | None = None
    """Its number in the store, rising in the order of writing; None until it has been stored."""

    def to_record(self) -> tuple[Any, ...]:
        """The values of the columns that `COLUMNS` names, without the id."""
        return (
            _text(self.pipeline),
            _text(self.stage),
            _text(self.reason),
            encode(dict(self.row)),
            self.time.astimezone(UTC).isoformat(timespec="microseconds"),
            _text(self.run),
            None if self.traceback is None else _text(self.traceback),
            None if self.positions is None else json.dumps(dict(self.positions)),
            self.version,
            self.attempts,
            self.replayed_from,
        )

    def to_json(self) -> dict[str, Any]:
        """The letter as plain JSON data; the row as it is stored (see `etlcore.state.values`)."""
        return {
            "id": self.id,
            "pipeline": self.pipeline,
            "stage": self.stage,
            "time": self.time.astimezone(UTC).isoformat(timespec="microseconds"),
            "reason": self.reason,
            "row": json.loads(encode(dict(self.row))),
            "positions": None if self.positions is None else dict(self.positions),
            "run": self.run,
            "version": self.version,
            "attempts": self.attempts,
            "replayed_from": self.replayed_from,
            "traceback": self.traceback,
        }

    @classmethod
    def from_record(cls, record: tuple[Any, ...]) -> DeadLetter:
        """A letter from the values of ``id`` and `COLUMNS`."""
        number, pipeline, stage, reason, row, time, run, traceback, positions, version, attempts, replayed = record
        return cls(
            pipeline=pipeline,
            stage=stage,
            reason=reason,
            row=decode(row),
            run=run,
            time=datetime.fromisoformat(time),
            traceback=traceback,
            positions=None if positions is None else json.loads(positions),
            version=version,
            attempts=attempts,
            replayed_from=replayed,
            id=number,
        )


COLUMNS = (
    "pipeline",
    "stage",
    "reason",
    "row",
    "time",
    "run",
    "traceback",
    "positions",
    "version",
    "attempts",
    "replayed_from",
)


def _text(value: str) -> str:
    # A lone surrogate (from a JSON escape, say) has no UTF-8 form, and the letter matters more than its spelling.
    return value.encode("utf-8", "backslashreplace").decode("utf-8")
