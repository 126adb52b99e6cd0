"""A run as it stands now: one line a stage, for the live view, and the stage that a drain waits for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from etlcore.runtime.graph import Node
from etlcore.runtime.run import Run

_IDLE = ("start", "wait for rows", "wait at the barrier", "wait for what was read to be settled", "end")


@dataclass(frozen=True, slots=True)
class StageStatus:
    """One stage at one moment."""

    name: str
    kind: str
    component: str
    state: str
    """``opening``, ``running``, ``paused``, ``draining``, ``flushing``, ``drained``, ``done`` or ``failed``."""
    workers: int
    busy: int
    rows_in: int
    rows_out: int
    filtered: int
    dead: int
    held: int
    """Rows in the hands of the workers."""
    queued: int
    queue_rows: int
    """The bound of the queue; 0 for a source."""
    queued_bytes: int
    lag: float | None
    """Seconds that the source is behind, the largest over its partitions; None where it does not say."""
    figures: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Late:
    """The stage that a drain waits for."""

    stage: str
    busy: int
    held: int
    queued: int
    age: float
    """Seconds since the oldest of its rows came."""
    doing: str


def rows_out(run: Run, node: Node) -> int:
    """Rows that left a stage, each counted once however many branches it went to."""
    counts = run.ledger.counts(node.stage.name)
    if node.stage.kind == "sink":
        return counts.delivered
    return counts.emitted


def status(run: Run) -> list[StageStatus]:
    """All stages, in the order of draining."""
    return [_stage(run, node) for node in run.graph]


def _stage(run: Run, node: Node) -> StageStatus:
    stage = node.stage
    host = run.hosts[stage.name]
    counts = run.ledger.counts(stage.name)
    channel = host.channel.statistics() if host.channel is not None else None
    workers = [w for w in run.workers if w.host is host]
    figures = run.figures.of(stage.name)
    lags = [figure["value"] for figure in figures if figure["name"] == "lag_seconds"]
    return StageStatus(
        name=stage.name,
        kind=stage.kind,
        component=stage.component,
        state="paused" if host.trouble is not None else host.state,
        workers=stage.workers,
        busy=sum(w.doing not in _IDLE and not w.ended for w in workers),
        rows_in=channel.entered if channel is not None else 0,
        rows_out=rows_out(run, node),
        filtered=counts.filtered,
        dead=counts.dead,
        held=counts.held,
        queued=channel.rows if channel is not None else 0,
        queue_rows=channel.max_rows if channel is not None else 0,
        queued_bytes=channel.bytes if channel is not None else 0,
        lag=max(lags, default=None),
        figures=figures,
    )


def late_stage(run: Run) -> Late | None:
    """The last stage from the source down that still has rows and workers: what is upstream of it waits for it."""
    now = run.primitives.now()
    found: Late | None = None
    for node in run.graph:
        host = run.hosts[node.stage.name]
        channel = host.channel.statistics() if host.channel is not None else None
        workers = [w for w in run.workers if w.host is host and not w.ended]
        held = sum(w.account.held for w in workers)
        queued = channel.rows if channel is not None else 0
        if not workers or held + queued == 0:  # without workers nobody will take what is left: nothing waits for it
            continue
        since = [w.account.since for w in workers if w.account.since is not None]
        if channel is not None and channel.oldest is not None:
            since.append(channel.oldest)
        busy = [w for w in workers if w.doing not in _IDLE]
        doing = busy[0].doing if busy else ""
        found = Late(host.name, len(busy), held, queued, now - min(since, default=now), doing)
    if found is None:
        waiting = [w for w in run.workers if not w.ended and w.doing not in _IDLE]
        if waiting:
            found = Late(waiting[0].host.name, len(waiting), 0, 0, 0.0, waiting[0].doing)
    return found
