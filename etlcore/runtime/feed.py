"""What a transactional sink and the sources that lead to it have in common: positions, and how far to read ahead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from etlcore.batch import Position
from etlcore.components import TransactionalSink
from etlcore.runtime.concurrency import Primitives
from etlcore.runtime.graph import Graph

if TYPE_CHECKING:
    from etlcore.runtime.source import SourceWorker


class PartitionIsBack(RuntimeError):
    """A partition came back while rows of it are kept by a stage that may wait for more of them."""

    says_it_all = True


def feeds(graph: Graph, primitives: Primitives) -> dict[str, Feed]:
    """The feeds of a graph, under the names of their sinks and of their sources.

    Raises ValueError for what a checked pipeline cannot have: such a sink with several workers, or a source that leads
    to two of them.
    """
    found: dict[str, Feed] = {}
    for node in graph:
        if not issubclass(node.stage.cls, TransactionalSink):
            continue
        if node.stage.workers > 1:
            raise ValueError(f"{node.stage.name!r} is a transactional sink: it has one worker")
        feed = Feed(graph, node.stage.name, primitives)
        for name in (feed.sink, *feed.sources):
            if name in found:
                raise ValueError(
                    f"the source {name!r} leads to two transactional sinks: {found[name].sink}, {feed.sink}"
                )
            found[name] = feed
    return found


class Feed:
    """One for each transactional sink. Safe to use from any worker."""

    def __init__(self, graph: Graph, sink: str, primitives: Primitives) -> None:
        self.sink = sink
        self.sources = frozenset(name for name in graph.in_front_of(sink) if graph[name].stage.kind == "source")
        self.stages = frozenset(name for source in self.sources for name in graph.behind(source))
        """Every stage that may hold a row of these sources."""
        stages = [graph[name].stage for name in graph.order if name in self.stages]
        self.keeper = next((stage.name for stage in stages if getattr(stage.cls, "buffers", False)), None)
        """A stage that keeps rows from batch to batch."""
        self.most_rows = None if self.keeper else sum(stage.queue.rows for stage in stages)
        """A source worker reads no further ahead of what is settled; None where it must, as rows are kept for more."""
        self.most_bytes = sum(stage.queue.bytes for stage in stages)
        self.kept_bytes = 0
        """What the sink has in its hands."""
        self.workers: list[SourceWorker] = []
        self._positions: dict[str, dict[str, Any]] = {name: {} for name in self.sources}
        self.lock = primitives.lock()
        """Nobody claims a partition while it is held."""
        self._readers: dict[tuple[str, str], SourceWorker] = {}

    # Positions

    def load(self, positions: Mapping[str, Any]) -> list[str]:
        """The sink holds these, ``{"stage/partition": position}``; gives the stages that are not among the sources."""
        strange: dict[str, None] = {}
        for key, value in positions.items():
            stage, _, partition = key.partition("/")
            if stage in self._positions:
                self._positions[stage][partition] = value
            else:
                strange[stage] = None
        return list(strange)

    def positions(self, source: str) -> Mapping[str, Any]:
        """Where the sink stands for a source, ``{partition: position}``; it stays true while the sink writes."""
        return self._positions[source]

    def stored(self, positions: Iterable[Mapping[str, Any]]) -> None:
        """The sink has these, for each of the workers."""
        for worker, reached in zip(self.workers, positions, strict=True):
            if reached:
                self._positions[worker.host.name].update(reached)
                worker.tracker.vouch(reached)

    # Reading

    def may_read(self, unsettled: int) -> bool:
        """A source worker with so many unsettled rows may read more."""
        return self.most_rows is None or (unsettled < self.most_rows and self.kept_bytes < self.most_bytes)

    def claim(self, worker: SourceWorker, partition: str) -> bool:
        """From now on this worker reads the partition; False while rows of it are under way that were read before.

        What another worker has read of it and not handed over yet is dropped. Raises PartitionIsBack.
        """
        with self.lock:
            siblings = [other for other in self.workers if other.host is worker.host]
            if any(other.tracker.under_way(partition) for other in siblings):
                if self.keeper is not None:
                    raise PartitionIsBack(
                        f"{partition} was taken away and came back while {self.keeper} may still keep rows of it, so "
                        f"{self.sink} cannot tell which rows are new: start again, and nothing is lost or repeated"
                    )
                return False
            for other in siblings:
                if other is not worker:
                    other.tracker.forget(partition)
            self._readers[worker.host.name, partition] = worker
            return True

    def is_stale(self, worker: SourceWorker, position: Position | None) -> bool:
        """Another worker has claimed the partition since this one read from it. Ask with the ``lock``."""
        if position is None or not self._readers:
            return False
        return self._readers.get((worker.host.name, position.partition), worker) is not worker

    # The end

    def settled(self) -> bool:
        """All rows of the sources have come to their end, and the sink has all positions."""
        return all(not worker.tracker.rows_unsettled and not worker.tracker.unvouched() for worker in self.workers)
