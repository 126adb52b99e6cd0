"""Which dead letters are meant: filters that must all hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Selection:
    """Filters over dead letters; one that is None lets everything pass. Times need a zone."""

    pipeline: str | None = None
    stage: str | None = None
    reason: str | None = None
    """A part of the reason, in upper or lower case."""
    since: datetime | None = None
    before: datetime | None = None
    ids: Sequence[int] | None = None
    upto: int | None = None
    """The highest id: what is written later is not meant."""

    def where(self) -> tuple[str, tuple[Any, ...]]:
        """The condition in SQL, over the table ``dead_letters``, and its values."""
        terms: list[str] = []
        values: list[Any] = []
        for value, term in (
            (self.pipeline, "pipeline = ?"),
            (self.stage, "stage = ?"),
            (_pattern(self.reason), r"reason LIKE ? ESCAPE '\'"),
            (_text(self.since), "time >= ?"),
            (_text(self.before), "time < ?"),
            (_listed(self.ids), "id IN (SELECT value FROM json_each(?))"),
            (self.upto, "id <= ?"),
        ):
            if value is not None:
                terms.append(term)
                values.append(value)
        return " AND ".join(terms) or "TRUE", tuple(values)


def stored_time(moment: datetime) -> str:
    """A time as the state file has it: UTC, and sorted by time where it is sorted as text."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else stored_time(moment)


def _pattern(part: str | None) -> str | None:
    if part is None:
        return None
    for special in "\\%_":
        part = part.replace(special, "\\" + special)
    return f"%{part}%"


def _listed(ids: Sequence[int] | None) -> str | None:
    return None if ids is None else json.dumps(list(ids))
