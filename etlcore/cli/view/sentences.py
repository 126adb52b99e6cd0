"""What is said of a run while it goes: the status line, the line at a stop, the line that names who is late."""

from __future__ import annotations

import math

from etlcore.cli.view.figures import Moment
from etlcore.cli.view.words import count, duration, in_words, plural, rate
from etlcore.runtime.status import Late

_MOST_NAMED = 3  # sources, and sinks, that a status line names each by itself


def status_line(moment: Moment) -> str:
    """``12s logs 18,400 read 1,530/s | out 18,112 delivered | queued 288 | lag 0.4s``."""
    parts = [
        _each_or_all(
            [(s.name, f"{count(s.rows_out)} read {rate(moment.rates[s.name])}/s") for s in moment.sources],
            f"{count(sum(s.rows_out for s in moment.sources))} read {rate(moment.rate)}/s",
        ),
        _each_or_all(
            [(s.name, f"{count(s.rows_out)} delivered") for s in moment.sinks],
            f"{count(moment.delivered)} delivered",
        ),
        f"queued {count(moment.queued)}",
    ]
    dead = sum(stage.dead for stage in moment.stages)
    if dead:
        parts.append(f"dead {count(dead)}")
    if moment.lag is not None:
        parts.append(f"lag {duration(moment.lag)}")
    if moment.draining:
        parts.append("draining")
    return f"{duration(moment.elapsed)} {' | '.join(parts)}"


def _each_or_all(each: list[tuple[str, str]], everything: str) -> str:
    if len(each) > _MOST_NAMED:
        return f"{len(each)} stages {everything}"
    return ", ".join(f"{name} {figures}" for name, figures in each)


def stop_line(reason: str, timeout: float, again: str) -> str:
    """Said when a drain begins that somebody waits for; ``again`` says how to cut it short."""
    most = f", at most {in_words(timeout)}" if math.isfinite(timeout) else ""
    return f"{reason}: reading nothing new; draining{most}. {again}"


def abandon_line(because: str, again: str) -> str:
    """Said when rows are given up, before the report: the last commits may take some seconds."""
    return f"{because}: stopping now. Rows in flight are abandoned; {again}."


def late_line(late: Late, left: float) -> str:
    """Who a drain waits for, with how many rows and since when, and how long it will."""
    return f"draining: waiting for {waiting_for(late)}; {in_words(left)} left"


def idle_line(late: Late, still: float, left: float) -> str:
    """The same at the end of input, where only standing still is limited."""
    return f"draining: nothing has moved for {in_words(still)}: {waiting_for(late)}; abandoned in {in_words(left)}"


def waiting_for(late: Late) -> str:
    """``parsed: 23 rows (4 workers busy, in process), the oldest for 12 s``."""
    rows = late.held + late.queued
    busy = f"{plural(late.busy, 'worker')} busy" + (f", in {late.doing}" if late.doing else "")
    if not rows:
        return f"{late.stage} ({busy})"
    return f"{late.stage}: {plural(rows, 'row')} ({busy}), the oldest for {in_words(late.age)}"
