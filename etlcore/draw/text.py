"""The graph as text, for a terminal: each source with what hangs from it; what is reached again is only named."""

from __future__ import annotations

from collections.abc import Iterator

from etlcore.draw.labels import about
from etlcore.runtime.graph import Graph
from etlcore.spec.model import Pipeline


def text(pipeline: Pipeline) -> str:
    """Lines without an end of the last one."""
    graph = Graph(pipeline)
    seen: set[str] = set()

    def below(name: str, indent: str) -> Iterator[str]:
        edges = [(output, target) for output, targets in graph[name].targets.items() for target in targets]
        for index, (output, target) in enumerate(edges):
            last = index == len(edges) - 1
            branch = ("└─" if last else "├─") + (f"[{output}]─ " if output is not None else " ")
            again = target in seen
            seen.add(target)
            yield f"{indent}{branch}{target} " + ("(above)" if again else f"({about(graph[target].stage)})")
            if not again:
                yield from below(target, indent + ("   " if last else "│  "))

    lines: list[str] = []
    for node in graph:
        if node.stage.kind == "source":
            lines.append(f"{node.stage.name} ({about(node.stage)})")
            lines.extend(below(node.stage.name, ""))
    return "\n".join(lines)
