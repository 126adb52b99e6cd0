"""What is shown of a running pipeline: its stages' figures, with rows a second worked out of the counts."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from etlcore.runtime.run import Run
from etlcore.runtime.status import StageStatus, status

WINDOW = 5.0
"""Seconds that a rate is averaged over."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A run at one moment."""

    elapsed: float
    draining: bool
    stages: list[StageStatus]
    rates: dict[str, float]
    """Rows a second for each stage: read by a source, worked off by the others."""

    @property
    def sources(self) -> list[StageStatus]:
        return [stage for stage in self.stages if stage.kind == "source"]

    @property
    def sinks(self) -> list[StageStatus]:
        return [stage for stage in self.stages if stage.kind == "sink"]

    @property
    def queued(self) -> int:
        """Rows in all the channels."""
        return sum(stage.queued for stage in self.stages)

    @property
    def delivered(self) -> int:
        return sum(stage.rows_out for stage in self.sinks)

    @property
    def lag(self) -> float | None:
        """Seconds that the slowest source is behind; None where none says."""
        return max((stage.lag for stage in self.stages if stage.lag is not None), default=None)

    @property
    def rate(self) -> float:
        """Rows a second read by all sources."""
        return sum(self.rates[stage.name] for stage in self.sources)


class Meter:
    """Looks at a run now and then, and remembers enough to say how fast it goes."""

    def __init__(self, window: float = WINDOW) -> None:
        self._window = window
        self._seen: dict[str, deque[tuple[float, int]]] = {}

    def look(self, run: Run) -> Moment:
        """The run as it stands now."""
        elapsed = run.elapsed()
        stages = status(run)
        rates = {stage.name: self._rate(stage, elapsed) for stage in stages}
        return Moment(elapsed, run.draining(), stages, rates)

    def _rate(self, stage: StageStatus, now: float) -> float:
        # Until the first look, a run's rate is measured from its beginning.
        seen = self._seen.setdefault(stage.name, deque([(0.0, 0)]))
        seen.append((now, _done(stage)))
        while len(seen) > 2 and now - seen[1][0] >= self._window:
            seen.popleft()
        (before, first), (_, last) = seen[0], seen[-1]
        return max(0, last - first) / (now - before) if now > before else 0.0


def _done(stage: StageStatus) -> int:
    return stage.rows_out if stage.kind == "source" else max(0, stage.rows_in - stage.queued - stage.held)
