"""Which columns the stages behind a source use, so that it need not read the others.

A stage whose rows may become dead letters uses all of them: a dead letter is the row as it was.
"""

from __future__ import annotations

from typing import Any

from etlcore.runtime.graph import Graph
from etlcore.spec.model import Stage

Columns = frozenset[str] | None
"""None: all of them."""


def columns_used(graph: Graph) -> dict[str, Columns]:
    """For every source, the columns that are used behind it."""
    needed: dict[str, Columns] = {}
    for name in reversed(graph.order):
        node = graph[name]
        # What a stage needs of its input, or, of a source, what is needed of its output.
        wanted = _union([needed[target] for targets in node.targets.values() for target in targets])
        needed[name] = wanted if node.stage.kind == "source" else _needed(node.stage, wanted)
    return {node.stage.name: needed[node.stage.name] for node in graph if node.stage.kind == "source"}


def _needed(stage: Stage, wanted: Columns) -> Columns:
    if stage.on_error.then == "dead_letter":
        return None
    cls: Any = stage.cls
    found: Columns = cls.columns_needed(stage.config, wanted)
    if found is not None and stage.key is not None:
        return found | {stage.key}
    return found


def _union(each: list[Columns]) -> Columns:
    found: frozenset[str] = frozenset()
    for columns in each:
        if columns is None:
            return None
        found |= columns
    return found
