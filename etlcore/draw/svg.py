"""The graph as SVG: a picture that needs nothing beside itself, light or dark as the page it stands on."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from etlcore.draw.labels import about
from etlcore.draw.layers import Edge, Layout, Spot, layout
from etlcore.runtime.graph import Graph
from etlcore.spec.model import Pipeline, Stage

_BOX, _STEP = 44, 64  # pixels: a box's height, and from one to the next
_GAP, _MARGIN, _PAD = 72, 16, 14
_WIDE, _NARROW = 7.6, 6.4  # pixels a character takes at most, in the name and in the line below it
_STYLE = """
  text { font-family: system-ui, sans-serif; fill: #1b1f24 }
  .name { font-size: 13px; font-weight: 600 } .about, .output { font-size: 11px; opacity: .75 }
  rect { stroke-width: 1.5 }
  .source { fill: #ddf4e4; stroke: #2da44e }
  .transform { fill: #ddefff; stroke: #0969da }
  .sink { fill: #fff1d6; stroke: #bf8700 }
  .edge { fill: none; stroke: #768390; stroke-width: 1.5 }
  .tip { fill: #768390 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .source { fill: #12361f } .transform { fill: #10304f } .sink { fill: #43310a }
  }
"""


def svg(pipeline: Pipeline) -> str:
    """A whole SVG document."""
    return "\n".join(_Drawing(pipeline).lines()) + "\n"


class _Drawing:
    def __init__(self, pipeline: Pipeline) -> None:
        self._name = pipeline.name
        self._stages = {stage.name: stage for stage in pipeline.stages}
        self._layout: Layout = layout(Graph(pipeline))
        widths = [max((self._width(spot) for spot in layer), default=0.0) for layer in self._layout.layers]
        self._left = [_MARGIN + sum(widths[:index]) + _GAP * index for index in range(len(widths))]
        self._widths = widths

    def lines(self) -> Iterator[str]:
        width = round(self._left[-1] + self._widths[-1] + _MARGIN) if self._left else 2 * _MARGIN
        height = round(self._layout.height * _STEP - (_STEP - _BOX) + 2 * _MARGIN)
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
            f' role="img">'
        )
        yield f"<title>{escape(self._name)}</title>"
        yield f"<style>{_STYLE}</style>"
        yield (
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
            '<path class="tip" d="M0 0 8 4 0 8z"/></marker></defs>'
        )
        for edge in self._layout.edges:
            yield from self._edge(edge)
        for layer in self._layout.layers:
            for spot in layer:
                if spot.stage is not None:
                    yield from self._box(spot, self._stages[spot.stage])
        yield "</svg>"

    def _width(self, spot: Spot) -> float:
        if spot.stage is None:
            return 0.0
        stage = self._stages[spot.stage]
        return max(len(stage.name) * _WIDE, len(about(stage)) * _NARROW) + 2 * _PAD

    def _middle(self, spot: Spot) -> float:
        return _MARGIN + spot.y * _STEP - (_STEP - _BOX) / 2

    def _box(self, spot: Spot, stage: Stage) -> Iterator[str]:
        left, width, middle = self._left[spot.layer], self._widths[spot.layer], self._middle(spot)
        yield (
            f'<rect class="{stage.kind}" x="{left:.1f}" y="{middle - _BOX / 2:.1f}" width="{width:.1f}"'
            f' height="{_BOX}" rx="7"/>'
        )
        center = f'x="{left + width / 2:.1f}" text-anchor="middle"'
        yield f'<text class="name" {center} y="{middle - 4:.1f}">{escape(stage.name)}</text>'
        yield f'<text class="about" {center} y="{middle + 13:.1f}">{escape(about(stage))}</text>'

    def _edge(self, edge: Edge) -> Iterator[str]:
        first, *rest = edge.spots
        x, y = self._left[first.layer] + self._widths[first.layer], self._middle(first)
        path = [f"M{x:.1f} {y:.1f}"]
        for spot in rest:
            left, below = self._left[spot.layer], self._middle(spot)
            path.append(f"C{x + _GAP / 2:.1f} {y:.1f} {left - _GAP / 2:.1f} {below:.1f} {left:.1f} {below:.1f}")
            x, y = left, below
            if spot is not rest[-1]:  # it passes between the boxes of this layer
                x += self._widths[spot.layer]
                path.append(f"L{x:.1f} {y:.1f}")
        yield f'<path class="edge" d="{" ".join(path)}" marker-end="url(#tip)"/>'
        if edge.output is not None:
            start = self._middle(first)
            slant = (self._middle(rest[0]) - start) * 0.25
            x = self._left[first.layer] + self._widths[first.layer] + 6
            yield f'<text class="output" x="{x:.1f}" y="{start + slant - 6:.1f}">{escape(edge.output)}</text>'
