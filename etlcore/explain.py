"""What a pipeline guarantees, for each way from a source to a sink, and what every kind of end costs there.

The guarantee follows from what the components declare and from the stages' error policies; nothing is opened or read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from etlcore.components import Sink, Source, TransactionalSink, Transform
from etlcore.runtime.graph import Graph
from etlcore.spec.model import Pipeline, Stage

Guarantee = Literal["at-most-once", "at-least-once", "effectively-once"]


@dataclass(frozen=True, slots=True)
class Way:
    """One path from a source to a sink, and what it guarantees."""

    stages: tuple[str, ...]
    guarantee: Guarantee
    why: tuple[str, ...]
    costs: tuple[tuple[str, str], ...]
    """What an end of this kind costs: ``(kind of end, cost)``."""
    more: tuple[str, ...]
    """What to change for a stronger guarantee; empty when there is none."""

    def to_json(self) -> dict[str, Any]:
        return {
            "stages": list(self.stages),
            "guarantee": self.guarantee,
            "why": list(self.why),
            "costs": [{"end": end, "cost": cost} for end, cost in self.costs],
            "more": list(self.more),
        }


def explain(pipeline: Pipeline) -> list[Way]:
    """Every way from a source to a sink, in the order of the file."""
    graph = Graph(pipeline)
    return [_way(pipeline, path) for path in _paths(graph)]


def _paths(graph: Graph) -> Iterator[tuple[Stage, ...]]:
    def walk(name: str, before: tuple[Stage, ...]) -> Iterator[tuple[Stage, ...]]:
        node = graph[name]
        path = (*before, node.stage)
        if node.stage.kind == "sink":
            yield path
        for target in dict.fromkeys(t for targets in node.targets.values() for t in targets):
            yield from walk(target, path)

    for node in graph:
        if node.stage.kind == "source":
            yield from walk(node.stage.name, ())


def _way(pipeline: Pipeline, path: tuple[Stage, ...]) -> Way:
    source, sink = path[0], path[-1]
    why: list[str] = []
    more: list[str] = []
    guarantee = _guarantee(path, why, more)
    for stage in path:
        if stage.on_error.then == "drop":
            why.append(f"{stage.name} drops rows that fail: such a row is counted, and its content is lost")
            more.append(f"{stage.name}: on_error: dead_letter keeps rows that fail, with the reason")
        elif stage.on_error.then == "dead_letter":
            why.append(f"rows that fail in {stage.name} are kept as dead letters, and count as come to their end")
    return Way(
        stages=tuple(stage.name for stage in path),
        guarantee=guarantee,
        why=tuple(why),
        costs=tuple(_costs(pipeline, guarantee, source, sink)),
        more=tuple(dict.fromkeys(more)),
    )


def _guarantee(path: tuple[Stage, ...], why: list[str], more: list[str]) -> Guarantee:
    source, sink = path[0], path[-1]
    assert issubclass(source.cls, Source)
    assert issubclass(sink.cls, Sink)
    if not source.cls.replayable:
        why.append(f"{source.name} ({source.component}) cannot read again what it has given once")
        more.append(f"{source.name}: a source that keeps positions (files, sls) can read again after a crash")
        return "at-most-once"
    why.append(f"{source.name} ({source.component}) is committed only for rows that have come to their end")
    if issubclass(sink.cls, TransactionalSink):
        why.append(f"{sink.name} ({sink.component}) keeps the rows and the source's positions in one transaction")
        why.append(f"{source.name} starts from the positions that {sink.name} has, so no row comes to it twice")
        return "effectively-once"
    if not sink.cls.idempotent:
        why.append(f"{sink.name} ({sink.component}) writes a row again when it is read again")
        more.append(
            f"{sink.name}: a transactional sink (sqlite) or one that overwrites by key makes repetition harmless"
        )
        return "at-least-once"
    unsteady = [s for s in path if issubclass(s.cls, Transform) and not s.cls.deterministic]
    if unsteady:
        names = ", ".join(f"{s.name} ({s.component})" for s in unsteady)
        why.append(f"{sink.name} ({sink.component}) overwrites what is written again, but {names} may give other rows")
        more.append(f"{names}: a transform that is deterministic makes repetition harmless")
        return "at-least-once"
    why.append(f"{sink.name} ({sink.component}) writing a row again leaves the same result")
    return "effectively-once"


def _costs(pipeline: Pipeline, guarantee: Guarantee, source: Stage, sink: Stage) -> Iterator[tuple[str, str]]:
    yield "end of input, or a first signal", "nothing"
    timeout = f"{pipeline.shutdown_timeout:g} s"
    flight = "what is in the queues and in work"
    if guarantee == "at-most-once":
        lost = f"{flight} is lost: {source.name} cannot read it again"
        yield f"a stop that takes longer than {timeout}, or a second signal", lost
        yield "a stage that stops the run", lost
        yield "a crash (kill -9, power)", lost
        return
    if issubclass(sink.cls, TransactionalSink):
        again = f"what {sink.name} has not in a transaction yet is read again; each row is there once"
        yield f"a stop that takes longer than {timeout}, or a second signal", again
        yield "a stage that stops the run", again
        yield "a crash (kill -9, power)", f"{again}; a dead letter of such a row may be there twice"
        return
    again = f"{flight} is read again"
    harmless = " and leaves the same result" if guarantee == "effectively-once" else f"; {sink.name} may get it twice"
    yield f"a stop that takes longer than {timeout}, or a second signal", again + harmless
    yield "a stage that stops the run", again + harmless
    since = f"what was delivered in the last {pipeline.commit_interval:g} s, and {flight}, is read again"
    yield "a crash (kill -9, power)", since + harmless
