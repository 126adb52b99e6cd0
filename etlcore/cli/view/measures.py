"""What was measured for the partitions of a source: how far behind it is in each, and what it counted there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from etlcore.cli.view.words import duration, listed

_LAG = "lag_seconds"
_MOST_NAMED = 8


def lag_line(figures: Iterable[Mapping[str, Any]]) -> str:
    """``shard 3 12s, shard 0 0.4s``: the partitions that are behind, those furthest behind first; empty if none is."""
    return _shown([figure for figure in figures if figure["name"] == _LAG], duration)


def figure_lines(figures: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Lines for the lag of each source and for its other figures of partitions, where they are not 0.

    Figures of whole stages are for the JSON report and for whoever knows their names.
    """
    named: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for figure in figures:
        if "partition" not in figure["labels"]:
            continue
        named.setdefault((figure["stage"], figure["name"]), []).append(figure)
    for (stage, name), found in named.items():
        shown = lag_line(found) if name == _LAG else _shown(found, _number)
        if shown:
            yield f"lag: {stage}: {shown}" if name == _LAG else f"figures: {stage}: {name}: {shown}"


def _shown(figures: Iterable[Mapping[str, Any]], text: Callable[[float], str]) -> str:
    largest = sorted((figure for figure in figures if figure["value"]), key=lambda figure: -figure["value"])
    return listed([f"{_labels(figure)} {text(figure['value'])}" for figure in largest], _MOST_NAMED)


def _labels(figure: Mapping[str, Any]) -> str:
    return " ".join(str(label) for label in figure["labels"].values())


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.3g}"
