"""What the stages measured: how far behind a source is in each partition, and what a component counted."""

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
    """A line for the lag of each stage, and one for each other figure that is not 0: ``logs: retries: shard 1 2``."""
    named: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for figure in figures:
        named.setdefault((figure["stage"], figure["name"]), []).append(figure)
    for (stage, name), found in named.items():
        shown = lag_line(found) if name == _LAG else _shown(found, _number)
        if shown:
            yield f"lag: {stage}: {shown}" if name == _LAG else f"figures: {stage}: {name}: {shown}"


def _shown(figures: Iterable[Mapping[str, Any]], text: Callable[[float], str]) -> str:
    largest = sorted((figure for figure in figures if figure["value"]), key=lambda figure: -figure["value"])
    return listed([" ".join([*_labels(figure), text(figure["value"])]) for figure in largest], _MOST_NAMED)


def _labels(figure: Mapping[str, Any]) -> list[str]:
    return [str(label) for label in figure["labels"].values()]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.3g}"
