"""What outlives a run: committed positions and dead letters, in one SQLite file per state directory."""

from __future__ import annotations

from etlcore.state.errors import StateError
from etlcore.state.letters import DeadLetter
from etlcore.state.store import FILE_NAME, StateStore

__all__ = ["FILE_NAME", "DeadLetter", "StateError", "StateStore"]
