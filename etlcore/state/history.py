"""What is kept of a run: when, which version of the pipeline, how it ended, and how every row did."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from etlcore.state.selection import stored_time

KEPT = 200
"""Of each pipeline so many runs are kept; older ones go when a new one begins."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. What is None has not been reached: a run without an end is under way, or was killed."""

    run: str
    """Its id, which its dead letters carry too."""
    pipeline: str
    started: datetime
    kind: Literal["run", "replay"] = "run"
    file: str | None = None
    version: str | None = None
    """Of the pipeline: the SHA-256 of its file, in hexadecimal."""
    ended: datetime | None = None
    reason: str | None = None
    exit_code: int | None = None
    balance: Mapping[str, int] | None = None
    """Rows: ``read``, ``copied``, ``added``, ``delivered``, ``filtered``, ``dead``, ``abandoned``."""
    committed: Mapping[str, Any] | None = None
    """For each source stage how far it was committed; see `etlcore.runtime.history`."""

    def to_record(self) -> tuple[Any, ...]:
        """The values of the columns that `COLUMNS` names."""
        return (
            self.run,
            self.pipeline,
            self.kind,
            _text(self.file),
            self.version,
            stored_time(self.started),
            None if self.ended is None else stored_time(self.ended),
            _text(self.reason),
            self.exit_code,
            None if self.balance is None else json.dumps(dict(self.balance)),
            None if self.committed is None else json.dumps(dict(self.committed), default=str),
        )

    @classmethod
    def from_record(cls, record: tuple[Any, ...]) -> RunRecord:
        """A run from the values of `COLUMNS`."""
        run, pipeline, kind, file, version, started, ended, reason, exit_code, balance, committed = record
        return cls(
            run=run,
            pipeline=pipeline,
            kind=kind,
            file=file,
            version=version,
            started=datetime.fromisoformat(started),
            ended=None if ended is None else datetime.fromisoformat(ended),
            reason=reason,
            exit_code=exit_code,
            balance=None if balance is None else json.loads(balance),
            committed=None if committed is None else json.loads(committed),
        )


COLUMNS = (
    "run",
    "pipeline",
    "kind",
    "file",
    "version",
    "started",
    "ended",
    "reason",
    "exit_code",
    "balance",
    "committed",
)


def _text(value: str | None) -> str | None:
    return None if value is None else value.encode("utf-8", "backslashreplace").decode("utf-8")
