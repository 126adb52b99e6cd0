"""Where the boxes of a drawing stand: layers from left to right, and the order within each.

A stage stands one layer behind the last of its inputs. An edge that passes over layers gets a place of its own in each
of them, so that it runs around the boxes. The order within a layer is by the average place of the neighbours, swept
back and forth (the layered drawing of Sugiyama, Tagawa and Toda, 1981).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from etlcore.runtime.graph import Graph

_SWEEPS = 8
_LINE = 0.6  # the room that a passing edge takes, in boxes


@dataclass(eq=False, slots=True)
class Spot:
    """A place in a layer: of a stage, or of an edge that passes through."""

    stage: str | None
    layer: int
    before: list[Spot] = field(default_factory=list)
    behind: list[Spot] = field(default_factory=list)
    y: float = 0.0
    """The middle, in heights of a box and the gap below it."""

    @property
    def height(self) -> float:
        return 1.0 if self.stage is not None else _LINE


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge, and the places it goes through; the first and the last are stages."""

    output: str | None
    spots: tuple[Spot, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """All places by layer, top to bottom, and all edges."""

    layers: list[list[Spot]]
    edges: list[Edge]

    @property
    def height(self) -> float:
        """From the top of the highest box to the bottom of the lowest."""
        return max((spot.y + spot.height / 2 for layer in self.layers for spot in layer), default=0.0)


def layout(graph: Graph) -> Layout:
    """Places for all stages of a graph."""
    spots: dict[str, Spot] = {}
    for node in graph:
        layer = max((spots[name].layer + 1 for name in node.sources), default=0)
        spots[node.stage.name] = Spot(node.stage.name, layer)
    layers: list[list[Spot]] = [[] for _ in range(max((spot.layer for spot in spots.values()), default=-1) + 1)]
    for spot in spots.values():
        layers[spot.layer].append(spot)
    edges = [
        Edge(output, tuple(_path(spots[node.stage.name], spots[target], layers)))
        for node in graph
        for output, targets in node.targets.items()
        for target in targets
    ]
    _order(layers)
    _place(layers)
    return Layout(layers, edges)


def _path(start: Spot, end: Spot, layers: list[list[Spot]]) -> Iterator[Spot]:
    at = start
    yield at
    for layer in range(start.layer + 1, end.layer):
        passing = Spot(None, layer)
        layers[layer].append(passing)
        _join(at, passing)
        at = passing
        yield at
    _join(at, end)
    yield end


def _join(left: Spot, right: Spot) -> None:
    left.behind.append(right)
    right.before.append(left)


def _order(layers: list[list[Spot]]) -> None:
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        for layer in layers if forward else reversed(layers):
            rank = {spot: index for row in layers for index, spot in enumerate(row)}

            def wanted(spot: Spot, rank: dict[Spot, int] = rank, forward: bool = forward) -> float:
                near = spot.before if forward else spot.behind
                return sum(rank[other] for other in near) / len(near) if near else rank[spot]

            layer.sort(key=wanted)


def _place(layers: list[list[Spot]]) -> None:
    """Each as close to the middle of its neighbours as the ones above it in the layer allow."""
    for layer in layers:
        _stack(layer, [0.0] * len(layer))
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        for layer in layers if forward else reversed(layers):
            near = [(spot.before if forward else spot.behind) or [spot] for spot in layer]
            _stack(layer, [sum(other.y for other in others) / len(others) for others in near])
    top = min((spot.y - spot.height / 2 for layer in layers for spot in layer), default=0.0)
    for layer in layers:
        for spot in layer:
            spot.y -= top


def _stack(layer: list[Spot], wanted: list[float]) -> None:
    """Puts a layer's places below one another, without overlap, near where they are wanted on the whole."""
    y = float("-inf")
    for spot, want in zip(layer, wanted, strict=True):
        spot.y = max(want, y + spot.height / 2)
        y = spot.y + spot.height / 2
    shift = sum(spot.y - want for spot, want in zip(layer, wanted, strict=True)) / max(len(layer), 1)
    for spot in layer:
        spot.y -= shift
