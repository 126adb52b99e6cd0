"""The graph as a Mermaid flowchart (mermaid.js.org/syntax/flowchart.html), which GitHub and others draw in Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from etlcore.draw.labels import about
from etlcore.runtime.graph import Graph
from etlcore.spec.model import Pipeline

_SHAPES = {"source": ("([", "])"), "transform": ("[", "]"), "sink": ("[(", ")]")}


def mermaid(pipeline: Pipeline) -> str:
    """The text of the chart, without the fence around it."""
    return "\n".join(_lines(Graph(pipeline)))


def _lines(graph: Graph) -> Iterator[str]:
    # A stage may be called `end` or `graph`, which are Mermaid's words: nodes have numbers, names are their labels.
    numbers = {node.stage.name: f"s{number}" for number, node in enumerate(graph)}
    yield "flowchart LR"
    for node in graph:
        begin, end = _SHAPES[node.stage.kind]
        label = f"{_escaped(node.stage.name)}<br>{_escaped(about(node.stage))}"
        yield f'    {numbers[node.stage.name]}{begin}"{label}"{end}'
    for node in graph:
        for output, targets in node.targets.items():
            arrow = "-->" if output is None else f'-->|"{_escaped(output)}"|'
            for target in targets:
                yield f"    {numbers[node.stage.name]} {arrow} {numbers[target]}"


def _escaped(label: str) -> str:
    """Text within quotes: Mermaid reads HTML entities there, written with ``#`` for ``&``."""
    return "".join(
        character if character.isalnum() or character in " _-.,:" else f"#{ord(character)};" for character in label
    )
