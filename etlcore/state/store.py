"""The state store: positions, dead letters and the history of runs, of all pipelines that share a state directory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from etlcore.state import history, letters
from etlcore.state.database import Database
from etlcore.state.history import RunRecord
from etlcore.state.letters import DeadLetter
from etlcore.state.selection import Selection, stored_time

_PAGE = 500  # dead letters read at once, so that reading holds up no writer

_SAVE_POSITION = """
    INSERT INTO positions (pipeline, stage, partition, value, time) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET value = excluded.value, time = excluded.time
"""
_ADD_LETTER = f"""
    INSERT INTO dead_letters ({", ".join(letters.COLUMNS)}) VALUES ({", ".join("?" * len(letters.COLUMNS))})
"""
_LETTERS = f"SELECT id, {', '.join(letters.COLUMNS)} FROM dead_letters"
_SAVE_RUN = f"""
    INSERT INTO runs ({", ".join(history.COLUMNS)}) VALUES ({", ".join("?" * len(history.COLUMNS))})
    ON CONFLICT (run) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in history.COLUMNS[1:])}
"""
_PRUNE_RUNS = f"""
    DELETE FROM runs WHERE pipeline = ?1 AND number NOT IN
    (SELECT number FROM runs WHERE pipeline = ?1 ORDER BY number DESC LIMIT {history.KEPT})
"""
_PIPELINES = "SELECT pipeline FROM positions UNION SELECT pipeline FROM dead_letters UNION SELECT pipeline FROM runs"


@dataclass(frozen=True, slots=True)
class StoredPosition:
    """A position as the store has it."""

    pipeline: str
    stage: str
    partition: str
    value: Any
    time: datetime
    """When it was saved."""


class StateStore(Database):
    """Positions, dead letters and runs. For threads, processes and errors see `Database`.

    ``mask`` is applied to reasons and tracebacks before they are stored: it takes secrets out.
    """

    def __init__(self, directory: Path, *, mask: Callable[[str], str] = str) -> None:
        super().__init__(directory)
        self._mask = mask

    def __enter__(self) -> StateStore:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def pipelines(self) -> list[str]:
        """The names of the pipelines of which there is anything."""
        return sorted(name for (name,) in self._read(_PIPELINES))

    # Positions

    def positions(self, pipeline: str, stage: str) -> dict[str, Any]:
        """``{partition: position}`` as last saved; empty when nothing was."""
        query = "SELECT partition, value FROM positions WHERE pipeline = ? AND stage = ? ORDER BY partition"
        found = self._read(query, (pipeline, stage))
        return {partition: json.loads(value) for partition, value in found}

    def stored_positions(self, pipeline: str) -> list[StoredPosition]:
        """All positions of a pipeline, by stage and partition."""
        query = "SELECT stage, partition, value, time FROM positions WHERE pipeline = ? ORDER BY stage, partition"
        return [
            StoredPosition(pipeline, stage, partition, json.loads(value), datetime.fromisoformat(time))
            for stage, partition, value, time in self._read(query, (pipeline,))
        ]

    def save_positions(self, pipeline: str, stage: str, positions: Mapping[str, Any]) -> None:
        """Save ``{partition: position}``; durable when it returns. Other partitions keep what they have.

        Raises TypeError when a position is not JSON-able, or a partition's name has no form in UTF-8.
        """
        now = stored_time(datetime.now(UTC))
        records = [(pipeline, stage, name, _json(stage, name, value), now) for name, value in positions.items()]
        if records:
            self._write((_SAVE_POSITION, records))

    def delete_positions(self, pipeline: str, stage: str, partitions: Iterable[str]) -> None:
        """Forget positions: the next run reads these partitions from their configured start."""
        records = [(pipeline, stage, partition) for partition in partitions]
        if records:
            self._write(("DELETE FROM positions WHERE pipeline = ? AND stage = ? AND partition = ?", records))

    # Dead letters

    def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep dead letters, all or none; durable when it returns."""
        if letters:
            self._write((_ADD_LETTER, [self._masked(letter).to_record() for letter in letters]))

    def dead_letters(self, pipeline: str, stage: str | None = None) -> Iterator[DeadLetter]:
        """The dead letters of a pipeline, or of one of its stages, oldest first."""
        return self.letters(Selection(pipeline=pipeline, stage=stage))

    def count_dead_letters(self, pipeline: str, stage: str | None = None) -> int:
        """How many dead letters there are of a pipeline, or of one of its stages."""
        return sum(self.count_letters(Selection(pipeline=pipeline, stage=stage)).values())

    def letters(self, selection: Selection, *, newest: int | None = None) -> Iterator[DeadLetter]:
        """The dead letters that are meant, oldest first; with ``newest``, so many of the newest."""
        where, values = selection.where()
        after, upto = 0, 2**63 - 1
        if newest is not None:
            ids = self._read(f"SELECT id FROM dead_letters WHERE {where} ORDER BY id DESC LIMIT ?", (*values, newest))
            if not ids:
                return
            after, upto = ids[-1][0] - 1, ids[0][0]
        query = f"{_LETTERS} WHERE {where} AND id > ? AND id <= ? ORDER BY id LIMIT {_PAGE}"
        while page := self._read(query, (*values, after, upto)):
            for record in page:
                yield DeadLetter.from_record(record)
            after = page[-1][0]

    def count_letters(self, selection: Selection) -> dict[tuple[str, str], int]:
        """How many dead letters are meant, for each ``(pipeline, stage)`` that has any."""
        where, values = selection.where()
        query = f"SELECT pipeline, stage, count(*) FROM dead_letters WHERE {where} GROUP BY 1, 2 ORDER BY 1, 2"
        return {(pipeline, stage): count for pipeline, stage, count in self._read(query, values)}

    def count_reasons(self, selection: Selection, most: int) -> list[tuple[str, str, int]]:
        """The most frequent ``(stage, reason, how many)`` of the dead letters that are meant."""
        where, values = selection.where()
        query = f"SELECT stage, reason, count(*) FROM dead_letters WHERE {where} GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"
        return [(stage, reason, count) for stage, reason, count in self._read(f"{query} LIMIT ?", (*values, most))]

    def last_letter(self) -> int:
        """The highest id of a dead letter; 0 when there is none."""
        found = self._read("SELECT max(id) FROM dead_letters")
        return int(found[0][0] or 0) if found else 0

    def delete_letters(self, selection: Selection) -> int:
        """Delete the dead letters that are meant, for good; gives how many there were."""
        if not self.count_letters(selection):
            return 0  # and nothing is made where there is nothing
        where, values = selection.where()
        return self._write((f"DELETE FROM dead_letters WHERE {where}", [values]))

    def delete_descendants(self, selection: Selection) -> int:
        """Delete the letters that came from a replay of letters that are meant and are still there.

        A replay that was killed leaves them: what it refused again is on disk, what it replayed is not settled and
        still on disk too. Gives how many there were.
        """
        where, values = selection.where()
        condition = f"replayed_from IN (SELECT id FROM dead_letters WHERE {where})"
        if not self._read(f"SELECT 1 FROM dead_letters WHERE {condition} LIMIT 1", values):
            return 0
        return self._write((f"DELETE FROM dead_letters WHERE {condition}", [values]))

    def _masked(self, letter: DeadLetter) -> DeadLetter:
        trace = letter.traceback
        return replace(letter, reason=self._mask(letter.reason), traceback=None if trace is None else self._mask(trace))

    # Runs

    def save_run(self, record: RunRecord) -> None:
        """Keep what is known of a run, instead of what was known before; durable when it returns."""
        cleaned = record if record.reason is None else replace(record, reason=self._mask(record.reason))
        self._write((_SAVE_RUN, [cleaned.to_record()]), (_PRUNE_RUNS, [(record.pipeline,)]))

    def runs(self, pipeline: str, limit: int = history.KEPT) -> list[RunRecord]:
        """The last runs of a pipeline, the newest first."""
        query = f"SELECT {', '.join(history.COLUMNS)} FROM runs WHERE pipeline = ? ORDER BY number DESC LIMIT ?"
        return [RunRecord.from_record(record) for record in self._read(query, (pipeline, limit))]


def _json(stage: str, partition: str, value: Any) -> str:
    try:
        partition.encode()
        return json.dumps(value)
    except UnicodeEncodeError as error:
        raise TypeError(f"stage {stage!r}: the name of partition {partition!r} has no form in UTF-8") from error
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"stage {stage!r}: the position of partition {partition!r} is not JSON-able: {error}"
        ) from error
