"""Several ways to do the same work: they take turns, each time in a process of its own."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Measured:
    """One run of a process."""

    seconds: float
    """How long the work took."""
    cpu_seconds: float
    """How long processors worked for this process alone: also on a busy machine about the same in each run."""
    peak_bytes: int
    """The most memory it had."""
    said: str
    """What it wrote to standard output."""


@dataclass
class Entry:
    """One way, run several times."""

    name: str
    runs: list[Measured] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return median(run.seconds for run in self.runs)

    @property
    def cpu_seconds(self) -> float:
        return median(run.cpu_seconds for run in self.runs)

    @property
    def peak_bytes(self) -> int:
        return max(run.peak_bytes for run in self.runs)

    def to_json(self, items: int) -> dict[str, Any]:
        return {
            "name": self.name,
            "median_seconds": self.seconds,
            "seconds": [run.seconds for run in self.runs],
            "median_cpu_seconds": self.cpu_seconds,
            "per_second": items / self.seconds,
            "peak_bytes": self.peak_bytes,
        }


@dataclass(frozen=True)
class Contest:
    """What came of it. ``ratios`` are pairs of names: how many times as fast the first is as the second."""

    title: str
    items: int
    unit: str
    entries: list[Entry]
    ratios: Sequence[tuple[str, str]]

    def ratio(self, ours: str, theirs: str) -> float:
        seconds = {entry.name: entry.seconds for entry in self.entries}
        return seconds[theirs] / seconds[ours]

    def cpu_ratio(self, ours: str, theirs: str) -> float:
        seconds = {entry.name: entry.cpu_seconds for entry in self.entries}
        return seconds[theirs] / seconds[ours]

    def text(self) -> str:
        wide = max(len(entry.name) for entry in self.entries)
        lines = [f"{self.title}: {self.items:,} {self.unit}, medians of {len(self.entries[0].runs)}"]
        for entry in self.entries:
            each = [self.items / run.seconds for run in entry.runs]
            lines.append(
                f"  {entry.name:<{wide}}  {self.items / entry.seconds:12,.0f} {self.unit}/s   "
                f"{min(each):,.0f} … {max(each):,.0f}   "
                f"{entry.cpu_seconds:.1f} s of processor time   peak {entry.peak_bytes / 1e6:,.0f} MB"
            )
        lines += [
            f"  {ours} : {theirs} = {self.ratio(ours, theirs):.2f} (processor time {self.cpu_ratio(ours, theirs):.2f})"
            for ours, theirs in self.ratios
        ]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "items": self.items,
            "unit": self.unit,
            "entries": [entry.to_json(self.items) for entry in self.entries],
            "ratios": [
                {"of": a, "to": b, "ratio": self.ratio(a, b), "cpu_ratio": self.cpu_ratio(a, b)} for a, b in self.ratios
            ],
        }


def take_turns(ways: Mapping[str, Callable[[], Measured]], repeat: int) -> list[Entry]:
    """Each way once, then each once more, and so on: what else the machine does hits all of them."""
    entries = [Entry(name) for name in ways]
    for _ in range(repeat):
        for entry, way in zip(entries, ways.values(), strict=True):
            entry.runs.append(way())
    return entries


def run_process(command: Sequence[str], environ: Mapping[str, str] | None = None) -> Measured:
    """A process from its start to its end. Raises RuntimeError where it fails."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **(environ or {})})
    assert process.stdout is not None
    said = process.stdout.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.stdout.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return Measured(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, said)
