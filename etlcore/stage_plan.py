"""How each stage of a pipeline will run: workers, queue, batches, order and error policy; and why it is so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from etlcore.components import TransactionalSink
from etlcore.runtime.graph import Graph
from etlcore.runtime.projection import Columns, columns_used
from etlcore.spec.model import OnError, Pipeline, Stage


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What a stage will run with."""

    stage: str
    component: str
    workers: int
    queue: str
    batch: str
    order: str
    on_error: str
    columns: str
    """Of a source: the columns that it is asked for."""
    why: Mapping[str, str]
    """For each of the above, where it comes from and what follows."""


def plan(pipeline: Pipeline) -> list[StagePlan]:
    """How each stage will run, in the order of draining."""
    graph = Graph(pipeline)
    used = columns_used(graph)
    return [_stage_plan(node.stage, used.get(node.stage.name)) for node in graph]


def _stage_plan(stage: Stage, used: Columns) -> StagePlan:
    source = stage.kind == "source"
    why = {"workers": _why_workers(stage), "order": _why_order(stage), "on_error": _why_policy(stage)}
    if not source:
        why |= {"queue": _origin(stage, "queue"), "batch": _why_batch(stage)}
    if used is not None:
        why["columns"] = "the stages behind use no others, so they need not be read"
    return StagePlan(
        stage=stage.name,
        component=stage.component,
        workers=stage.workers,
        queue="-" if source else f"{stage.queue.rows:,} rows, {_size(stage.queue.bytes)}",
        batch="-" if source else _batch(stage),
        order=_order(stage),
        on_error=_policy(stage),
        columns="-" if not source else "all" if used is None else ", ".join(sorted(used)) or "none",
        why=why,
    )


def _origin(stage: Stage, key: str) -> str:
    if key in stage.given:
        return "as the stage says"
    return "as `defaults` says" if f"defaults.{key}" in stage.given else "the default"


def _why_workers(stage: Stage) -> str:
    if stage.workers == 1 and issubclass(stage.cls, TransactionalSink):
        return "a transactional sink has one: all of its rows are in one transaction after the other"
    share = {"source": "they share out the partitions", "transform": "they take batches side by side"}
    follows = share.get(stage.kind, "they write side by side") if stage.workers > 1 else ""
    return _origin(stage, "workers") + (f"; {follows}" if follows else "")


def _batch(stage: Stage) -> str:
    take = stage.take
    parts = [f"{take.rows:,} rows"] if take.rows is not None else []
    parts += [_size(take.bytes)] if take.bytes is not None else []
    parts += [f"within {take.seconds:g} s"] if take.seconds else []
    return ", ".join(parts) or "as they come"


def _why_batch(stage: Stage) -> str:
    origin = _origin(stage, "batch")
    if stage.take.rows is None and stage.take.bytes is None:
        return f"{origin}: a worker takes what the stage before has put together"
    waits = f"; a worker waits {stage.take.seconds:g} s at most for so much" if stage.take.seconds else ""
    return f"{origin}: waiting batches are joined and split to fit{waits}"


def _order(stage: Stage) -> str:
    if stage.key is not None:
        return f"kept within {stage.key}"
    if stage.ordered or stage.workers == 1:
        return "kept"
    return "-" if stage.kind == "source" else "not kept"


def _why_order(stage: Stage) -> str:
    if stage.kind == "source":
        return "of each partition, as the source gives it"
    if stage.key is not None:
        return f"`key`: rows with the same {stage.key} go to the same worker"
    if stage.workers == 1:
        return "there is one worker"
    if stage.ordered:
        return "`ordered`: a worker that is ahead waits for the batches before its own"
    ways = "`key: COLUMN`" if stage.kind == "sink" else "`ordered: true`, or `key: COLUMN`"
    return f"{stage.workers} workers; {ways} would keep it"


def _policy(stage: Stage) -> str:
    policy = stage.on_error
    parts = [f"{policy.retries} retries"] if policy.retries else []
    parts += [f"pause after {policy.breaker} failures in a row"] if policy.breaker is not None else []
    return ", ".join([*parts, policy.then.replace("_", " ")])


def _why_policy(stage: Stage) -> str:
    origin = _origin(stage, "on_error")
    if stage.kind == "source":
        return f"{origin}: a source that raises stops the run"
    if stage.on_error == OnError():
        return f"{origin}: a row that fails stops the run, and is read again by the next one"
    given_up = stage.on_error.then != "stop"
    if stage.kind == "sink" and given_up and stage.on_error.retries:
        return f"{origin}; most of what goes wrong in a sink is over after a while, so it is tried again first"
    if given_up:
        return f"{origin}; a batch that fails is halved until the rows that fail are alone"
    return origin


def _size(count: int) -> str:
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= factor:
            return f"{count / factor:g} {unit}"
    return f"{count} B"
