"""The picture of a run: a table of its stages, and a line about the whole below it."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from etlcore.cli.view.figures import Moment
from etlcore.cli.view.measures import lag_line
from etlcore.cli.view.sentences import waiting_for
from etlcore.cli.view.words import count, duration, in_words, rate
from etlcore.runtime.status import Late, StageStatus

STYLES = {"": "", "head": "bold", "good": "green", "bad": "red"}

_STATES = {
    "running": "green",
    "paused": "red",
    "draining": "yellow",
    "flushing": "yellow",
    "failed": "red",
    "done": "dim",
}
_BAR = 8  # characters of a queue's bar

# Columns with the width of the terminal from which on they are shown.
_COLUMNS = {"stage": 0, "workers": 72, "in": 60, "out": 0, "rows/s": 32, "queue": 44, "lag": 84, "state": 24}
_BAR_FROM = 96


class _Picture:
    def __init__(self, moment: Moment, footer: list[str], unicode: bool) -> None:
        self._moment = moment
        self._footer = footer
        self._unicode = unicode

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        shown = [name for name, least in _COLUMNS.items() if width >= least]
        for name in shown:
            right = name in ("workers", "in", "out", "rows/s", "lag")
            table.add_column(name, justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
        for stage in self._moment.stages:
            cells = self._cells(stage, width >= _BAR_FROM)
            table.add_row(*(cells[name] for name in shown))
        footer = (Text(line, style="dim") for line in self._footer)
        yield Group(table, *footer)

    def _cells(self, stage: StageStatus, bar: bool) -> dict[str, Text]:
        source = stage.kind == "source"
        cells = {
            "stage": stage.name,
            "workers": f"{stage.busy}/{stage.workers}",
            "in": "-" if source else count(stage.rows_in),
            "out": count(stage.rows_out),
            "rows/s": rate(self._moment.rates[stage.name]),
            "queue": "-" if source else self._queue(stage, bar),
            "lag": "-" if stage.lag is None else duration(stage.lag),
        }
        shown = {name: Text(cell) for name, cell in cells.items()}  # a plain str could hold what rich takes for markup
        return shown | {"state": Text(stage.state, style=_STATES.get(stage.state, ""))}

    def _queue(self, stage: StageStatus, bar: bool) -> str:
        fill = f"{count(stage.queued)}/{count(stage.queue_rows)}"
        if not bar:
            return fill
        full, empty = ("█", "░") if self._unicode else ("#", ".")
        # Anything in the queue is at least one mark, and only a full queue is a full bar.
        share = min(1.0, stage.queued / max(1, stage.queue_rows))
        marks = int(share * _BAR) or (1 if stage.queued else 0)
        return f"{full * marks}{empty * (_BAR - marks)} {fill}"


def picture(
    moment: Moment, reason: str | None, late: Late | None, left: float | None, *, unicode: bool = True
) -> RenderableType:
    """The table and its footer. ``late`` and ``left`` (seconds to the deadline) are for a run that drains."""
    return _Picture(moment, _footer(moment, reason, late, left), unicode)


def _footer(moment: Moment, reason: str | None, late: Late | None, left: float | None) -> list[str]:
    whole = f"{duration(moment.elapsed)}  {rate(moment.rate)} rows/s  {count(moment.delivered)} delivered"
    if not moment.draining:
        return [*_lags(moment), f"{whole}  press Ctrl-C to stop and drain"]
    parts = [duration(moment.elapsed), f"draining ({reason or 'end of input'})"]
    if left is not None:
        parts += [f"{in_words(left)} left", "press Ctrl-C again to abandon the rest"]
    lines = ["  ".join(parts)]
    if late is not None:
        lines.append(f"waiting for {waiting_for(late)}")
    return [*_lags(moment), *lines]


def _lags(moment: Moment) -> list[str]:
    """The partitions that are behind, where a source has several: the table has room for the largest lag alone."""
    several = [stage for stage in moment.sources if sum(f["name"] == "lag_seconds" for f in stage.figures) > 1]
    return [f"lag of {stage.name}: {shown}" for stage in several if (shown := lag_line(stage.figures))]
