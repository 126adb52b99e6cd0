"""What must hold after every run of a chaos pipeline, and at its end."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.drawing import EXACT, Drawing, Way
from tests.e2e.support import GROUP, EtlRun, Store

Key = tuple[int, str]


class Broken(AssertionError):
    """A promise was broken; the text says which."""


def _check(holds: object, what: str) -> None:
    if not holds:
        raise Broken(what)


@dataclass
class Snapshot:
    """What the sinks and the dead letters have."""

    delivered: dict[str, Counter[Key]] = field(default_factory=dict)
    dead: set[tuple[str, int, str]] = field(default_factory=set)
    """``(stage, id, via)``."""
    letters: Counter[str] = field(default_factory=Counter)
    """How many there are of each run."""


def look(drawing: Drawing, directory: Path, state: Path) -> Snapshot:
    """Read the sinks and the state, as a killed process has left them."""
    seen = Snapshot()
    for sink in drawing.sinks:
        if sink.does in EXACT:
            keys = in_database(directory / f"{sink.name}.db")
        else:
            keys = _in_file(directory / f"{sink.name}.jsonl")
        seen.delivered[sink.name] = Counter(keys)
    for stage, run, text in _rows(state / "state.db", "SELECT stage, run, row FROM dead_letters"):
        row = json.loads(text)
        seen.dead.add((stage, int(row["id"]), row.get("via", "")))
        seen.letters[run] += 1
    return seen


def _in_file(file: Path) -> list[Key]:
    text = file.read_bytes() if file.exists() else b""
    rows = [json.loads(line) for line in text.split(b"\n")[:-1]]
    return [(int(row["id"]), row.get("via", "")) for row in rows]


def in_database(file: Path) -> list[Key]:
    """What a transactional sink has."""
    return [(int(number), via) for number, via in _rows(file, "SELECT id, via FROM delivered")]


def _rows(file: Path, query: str) -> list[tuple]:  # type: ignore[type-arg]
    if not file.exists():
        return []
    with contextlib.closing(sqlite3.connect(file, timeout=60)) as db:
        try:
            return list(db.execute(query))
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):  # killed before it was made
                return []
            raise


class Oracle:
    """Knows what was promised, and notes at each break what may be repeated because of it."""

    def __init__(self, drawing: Drawing, store: Store, state: Path) -> None:
        self._drawing = drawing
        self._store = store
        self._state = state
        self._breaks: list[set[int]] = []
        """For each break, the ids that were committed by then: those are not read again because of it."""
        self.expired: set[int] = set()
        """Ids that the service has let expire before they were committed."""
        self._before = Snapshot({sink.name: Counter() for sink in drawing.sinks})

    def about_to_break(self) -> None:
        """The process ends, or loses its shards: what is not committed may be delivered once more."""
        self._breaks.append(set(self._store.committed()) if self.has_group() else set())

    def has_group(self) -> bool:
        """A run came so far as to make the consumer group."""
        return bool(self._store.control.events("group_created", group=GROUP))

    def after(self, run: EtlRun, *, killed: bool, disturbed: bool) -> None:
        """Check what a run has left. ``disturbed``: it lost shards, or was hindered to commit."""
        self.about_to_break()
        code = run.process.returncode
        told = run.err.read_text()
        if not killed:
            by_signal = code in (-15, -2, 130, 143)
            if by_signal and run.report_file.exists():  # the run was over when a last signal came: its report counts
                code = run.report["exit_code"]
            too_early = by_signal and not run.report_file.exists()  # before the run could begin
            _check(code in (0, 1, 3) or too_early, f"exit code {code}")
        _check("Traceback" not in told or _interrupted_at_start(run, told), "a traceback on standard error")
        now = look(self._drawing, self._store.directory, self._state)
        self._nothing_lost_of(sorted(self._breaks[-1]), now, "is committed, and not delivered")
        self._repeated(now)
        if code in (0, 1, 3) and run.report_file.exists():
            self._report(run, now, code, disturbed)
        self._before = now

    def at_the_end(self) -> None:
        """After a run to the end: everything is somewhere, and committed."""
        ids = self._store.ids()
        self._nothing_lost_of(ids, self._before, "was put, and not delivered")
        missing = set(ids) - set(self._store.committed()) - self.expired
        _check(not missing, f"not committed at the end: {_some(missing)}")

    # --- what must hold ----------------------------------------------------------------------------------------------

    def _nothing_lost_of(self, ids: list[int], seen: Snapshot, why: str) -> None:
        lost = [
            (way.sink, number, way.via)
            for number in ids
            if number not in self.expired
            for way in self._drawing.ways(number)
            if not self._is_done(number, way, seen)
        ]
        _check(not lost, f"{len(lost)} times a row {why}: {_some(lost)}")

    @staticmethod
    def _is_done(number: int, way: Way, seen: Snapshot) -> bool:
        if way.ends in ("filtered", "dropped"):
            return True
        if any((stage, number, via) in seen.dead for stage, via in way.refused_at):
            return True
        return way.ends is None and (number, way.via) in seen.delivered[way.sink]

    def _repeated(self, seen: Snapshot) -> None:
        """Nothing appears that has no way there; a row is repeated only for a break at which it was not committed."""
        for sink, counts in seen.delivered.items():
            exact = sink == self._drawing.exact
            for (number, via), count in counts.items():
                ways = [way for way in self._drawing.ways(number) if way.sink == sink and way.via == via]
                _check(ways and ways[0].ends is None, f"row {number} came to {sink} via {via or '-'}")
                if exact:
                    _check(count == 1, f"row {number} is {count} times in {sink}, where each counts once")
                breaks = sum(number not in committed for committed in self._breaks[:-1])
                _check(count <= 1 + breaks, f"row {number} is {count} times in {sink}, after {breaks} breaks")

    def _report(self, run: EtlRun, now: Snapshot, code: int, disturbed: bool) -> None:
        report = run.report
        balance = report["balance"]
        _check(balance["balanced"], f"the report does not balance: {balance['faults']}")
        _check(report["exit_code"] == code, "the exit code is another than the report's")
        _check(now.letters[report["run"]] == report["dead_letters"], "dead letters: another number than the report's")
        out = {stage["stage"]: stage["rows_out"] for stage in report["stages"]}
        for sink in self._drawing.sinks:
            new = now.delivered[sink.name].total() - self._before.delivered[sink.name].total()
            text = f"{sink.name}: {new} rows are new, the report says {out[sink.name]}"
            _check(new == out[sink.name] if code == 0 else new >= out[sink.name], text)
        if code == 0 and not disturbed:
            committed = self._breaks[-1]
            late = {n for counts in now.delivered.values() for n, _ in counts} - committed - self.expired
            _check(not late, f"a clean end, and delivered rows are not committed: {_some(late)}")


def _interrupted_at_start(run: EtlRun, told: str) -> bool:
    """SIGINT came while Python was still importing: before `etl` had said its first line, or could handle it."""
    begun = run.report_file.exists() or "state in" in told
    return not begun and told.rstrip().endswith("KeyboardInterrupt")


def _some(items: object) -> str:
    found = sorted(items)  # type: ignore[call-overload]
    return ", ".join(map(str, found[:5])) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
