"""What outlives a run: positions, dead letters and the history of runs, in one SQLite file per state directory."""

from __future__ import annotations

from etlcore.state.database import FILE_NAME
from etlcore.state.errors import StateError
from etlcore.state.history import RunRecord
from etlcore.state.letters import DeadLetter
from etlcore.state.lock import AlreadyRunning, RunLock, hold, holder_of
from etlcore.state.selection import Selection
from etlcore.state.store import StateStore, StoredPosition

__all__ = [
    "FILE_NAME",
    "AlreadyRunning",
    "DeadLetter",
    "RunLock",
    "RunRecord",
    "Selection",
    "StateError",
    "StateStore",
    "StoredPosition",
    "hold",
    "holder_of",
]
