"""The graph of a pipeline: which stage feeds which, through which output, and in what order they drain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from etlcore.spec.model import Pipeline, Stage

MAIN = None
"""The output of a stage that has no name."""


@dataclass(slots=True)
class Node:
    """A stage and its neighbours. ``targets`` lists, for each output, the stages that read it."""

    stage: Stage
    targets: dict[str | None, list[str]] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)


class Graph:
    """The nodes of a pipeline; iterate over it for topological order, which is the order of draining."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.nodes = {stage.name: Node(stage) for stage in pipeline.stages}
        for stage in pipeline.stages:
            for edge in stage.inputs:
                upstream = self.nodes.get(edge.stage)
                if upstream is None:
                    raise ValueError(f"stage {stage.name!r} reads from {edge.stage!r}, which is no stage")
                upstream.targets.setdefault(edge.output, []).append(stage.name)
                self.nodes[stage.name].sources.append(edge.stage)
        self.order = self._topological()

    def __iter__(self) -> Iterator[Node]:
        return (self.nodes[name] for name in self.order)

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    def behind(self, name: str) -> set[str]:
        """All stages that rows of a stage may come to."""
        return self._reached(name, lambda node: (target for names in node.targets.values() for target in names))

    def in_front_of(self, name: str) -> set[str]:
        """All stages whose rows may come to a stage."""
        return self._reached(name, lambda node: iter(node.sources))

    def _reached(self, name: str, step: Callable[[Node], Iterator[str]]) -> set[str]:
        found: set[str] = set()
        ahead = [name]
        while ahead:
            new = set(step(self.nodes[ahead.pop()])) - found
            found |= new
            ahead.extend(new)
        return found

    def _topological(self) -> list[str]:
        """Upstream before downstream; among equals, the order of the file. Raises ValueError for a cycle."""
        missing = {name: len(node.sources) for name, node in self.nodes.items()}
        order: list[str] = []
        ready = [name for name, count in missing.items() if count == 0]
        while ready:
            name = ready.pop(0)
            order.append(name)
            for targets in self.nodes[name].targets.values():
                for target in targets:
                    missing[target] -= 1
                    if missing[target] == 0:
                        ready.append(target)
        if len(order) < len(self.nodes):
            rest = ", ".join(sorted(set(self.nodes) - set(order)))
            raise ValueError(f"the stages form a cycle: {rest}")
        return order
