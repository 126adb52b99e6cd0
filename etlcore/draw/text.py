"""The graph as text, for a terminal: each source with what hangs from it; what is reached again is only named."""

from __future__ import annotations

from collections.abc import Iterator

from etlcore.draw.labels import about
from etlcore.runtime.graph import Graph
from etlcore.spec.model import Pipeline


def text(pipeline: Pipeline) -> str:
    """Lines without an end of the last one."""
    graph = Graph(pipeline)
    lines: list[str] = []
    seen: set[str] = set()
    for node in graph:
        if node.stage.kind == "source":
            lines.append(f"{node.stage.name} ({about(node.stage)})")
            lines.extend(_below(graph, node.stage.name, seen))
    return "\n".join(lines)


def _below(graph: Graph, source: str, seen: set[str]) -> Iterator[str]:
    """What hangs from a source; not by recursion, since a chain may be longer than Python's stack."""
    waiting = list(_branches(graph, source, ""))
    while waiting:
        output, target, last, indent = waiting.pop()
        branch = ("└─" if last else "├─") + (f"[{output}]─ " if output is not None else " ")
        if target in seen:
            yield f"{indent}{branch}{target} (above)"
            continue
        seen.add(target)
        yield f"{indent}{branch}{target} ({about(graph[target].stage)})"
        waiting.extend(_branches(graph, target, indent + ("   " if last else "│  ")))


def _branches(graph: Graph, stage: str, indent: str) -> Iterator[tuple[str | None, str, bool, str]]:
    """A stage's edges, the last one first: output, target, whether it is the last, and the indentation."""
    edges = [(output, target) for output, targets in graph[stage].targets.items() for target in targets]
    for index, (output, target) in reversed(list(enumerate(edges))):
        yield output, target, index == len(edges) - 1, indent
