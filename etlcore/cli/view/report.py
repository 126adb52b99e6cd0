"""The drain report in words: design and exit codes are explained in docs/running.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from etlcore.cli.view.measures import figure_lines
from etlcore.cli.view.words import count, in_words, listed, plural
from etlcore.runtime.report import (
    EXIT_ABANDONED,
    EXIT_STOPPED,
    EXIT_UNBALANCED,
    Balance,
    Committed,
    Report,
    StageRow,
    Stuck,
    Trouble,
)
from etlcore.spec.model import Pipeline

HEAD, GOOD, BAD = "head", "good", "bad"
"""Tones of lines, for terminals that show colours."""

_MOST_BEHIND = 10  # groups of partitions that are behind and named
_MOST_FRAMES = 12  # of a stack; the JSON report has more

Line = tuple[str, str]
"""A line and its tone."""


def report_lines(report: Report, pipeline: Pipeline, state_file: str, *, debugging: bool = False) -> Iterator[Line]:
    """The whole report, line by line. ``debugging``: tracebacks have been shown already."""
    yield f"{report.pipeline}: {_ending(report)}, {in_words(report.seconds)}", HEAD
    yield from ((line, "") for line in _table(report.stages))
    yield from _balance(report.balance, sum(report.dropped.values()))
    yield from _committed(report.committed)
    yield from ((line, "") for line in figure_lines(report.figures))
    if report.dead_letters:
        yield f"dead letters: {count(report.dead_letters)}, in {state_file}", ""
        if pipeline.file is not None:
            yield f"  -> etl dead list {_arguments(pipeline.file, Path(state_file).parent)}", ""
    for stage, rows in report.dropped.items():
        yield f"dropped: {stage}: {plural(rows, 'row')} that failed, as its on_error says", BAD
    yield from _stuck(report)
    yield from _failures(report.failures)
    if report.failures and not debugging:
        yield "  --log-level debug (or ETL_DEBUG=1) shows the traceback", ""
    if report.exit_code:
        yield f"exit {report.exit_code}: {meaning(report, pipeline)}", BAD


def _arguments(file: Path, state: Path) -> str:
    """What to write behind a verb about the state of a pipeline file."""
    return str(file) if state == file.parent / ".etl" else f"{file} --state {state}"


def _ending(report: Report) -> str:
    reason = report.reason
    if reason == report.abandoned_because:  # nobody asked for a stop before
        reason = "end of input"
    elif reason.startswith("SIG"):
        reason = f"stopped by {reason}"
    return f"{reason}; abandoned at {report.abandoned_because}" if report.abandoned_because else reason


# -- the ledger -------------------------------------------------------------------------------------------------------


def _table(stages: list[StageRow]) -> Iterator[str]:
    added = any(stage.added for stage in stages)
    header = ["stage", "worker", "in", "out", "filtered", *(["added"] if added else []), "dead", "abandoned"]
    rows = [header, *(_cells(stage, added) for stage in stages)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _cells(stage: StageRow, added: bool) -> list[str]:
    """One line of the table; ``-`` where a stage of its kind can have no such rows."""
    source, sink = stage.kind == "source", stage.kind == "sink"
    cells = [
        stage.stage,
        count(stage.workers),
        _number(stage.rows_in, source),
        count(stage.rows_out),
        _number(stage.filtered, source or sink),
    ]
    if added:
        cells.append(_number(stage.added, source or sink))
    return [*cells, _number(stage.dead, source), _number(stage.abandoned, source)]


def _number(number: int, never: bool) -> str:
    return "-" if never and not number else count(number)


def _balance(balance: Balance, dropped: int) -> Iterator[Line]:
    came = [f"{count(balance.read)} read"]
    came += [f"{count(rows)} {word}" for rows, word in ((balance.copied, "copied"), (balance.added, "added")) if rows]
    went = [
        f"{count(balance.delivered)} delivered",
        f"{count(balance.filtered)} filtered",
        f"{count(max(0, balance.dead - dropped))} dead-lettered",
        *([f"{count(dropped)} dropped"] if dropped else []),
        f"{count(balance.abandoned)} abandoned",
    ]
    if balance.holds:
        yield f"balanced: {' + '.join(came)} = {' + '.join(went)}", GOOD
        return
    yield f"does not balance: {' + '.join(came)}; {' + '.join(went)}", BAD
    for fault in balance.faults:
        yield f"  {fault}", BAD


# -- what was committed -----------------------------------------------------------------------------------------------


def _committed(entries: list[Committed]) -> Iterator[Line]:
    behind: list[Line] = []
    for stage, found in groupby(entries, key=lambda entry: entry.stage):
        partitions = list(found)
        done = {True: [], False: []}  # type: dict[bool, list[str]]
        for complete, group in groupby(partitions, key=lambda entry: (entry.complete, entry.at_end)):
            run = list(group)
            if complete[0]:
                done[complete[1]].append(_span(run))
            else:
                behind.extend(_behind(stage, run))
        for at_end, names in done.items():
            if names:
                how = "at the end" if at_end else "all that was read"
                yield f"committed: {stage}: {listed(names)}, {how}", ""
    yield from behind[:_MOST_BEHIND]
    if len(behind) > _MOST_BEHIND:
        yield f"behind: {len(behind) - _MOST_BEHIND} more partitions", BAD


def _behind(stage: str, entries: list[Committed]) -> Iterator[Line]:
    for entry in entries:
        if entry.uncommitted_rows:
            what = f"{plural(entry.uncommitted_rows, 'row')} read and not committed"
        else:
            what = "all was delivered, but could not be committed"
        yield f"behind: {stage}: {entry.partition}: {what}", BAD


def _span(entries: list[Committed]) -> str:
    """Neighbouring partitions: all their names, or the first and the last one."""
    names = [entry.partition for entry in entries]
    if len(names) <= 3:
        return ", ".join(names)
    span = f"{names[0]} \N{HORIZONTAL ELLIPSIS} {names[-1]}"
    return span if _in_a_row(names) else f"{span} ({count(len(names))})"


def _in_a_row(names: list[str]) -> bool:
    """Whether the names differ by one number alone that rises by one, so that the first and the last say it all."""
    parts = [re.fullmatch(r"(.*?)(\d+)(\D*)", name) for name in names]
    found = [part for part in parts if part is not None]
    if len(found) < len(names) or len({(part[1], part[3]) for part in found}) > 1:
        return False
    numbers = [int(part[2]) for part in found]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


# -- what went wrong --------------------------------------------------------------------------------------------------


def _stuck(report: Report) -> Iterator[Line]:
    word = "still busy" if (report.abandoned_because or "").startswith("a second signal") else "stuck"
    alike: dict[tuple[str, str, tuple[str, ...]], list[Stuck]] = {}
    for worker in report.stuck:
        alike.setdefault((worker.stage, worker.doing, tuple(worker.stack)), []).append(worker)
    for (stage, doing, stack), workers in alike.items():
        for worker in workers:
            held = plural(worker.rows, "row")
            yield f"{word}: {stage}: worker {worker.worker}: {held} for {in_words(worker.age)}, in {doing}", BAD
        for frame in _frames(stack):
            yield from ((f"  {line}", "") for line in frame.splitlines())


def _frames(stack: tuple[str, ...]) -> list[str]:
    """The frames that tell something: from the component on, without the thread and the runtime that called it."""
    outer = re.compile(r'File ".*([/\\]threading\.py|etlcore[/\\]runtime[/\\]\w+\.py)"')
    frames = list(stack)
    while len(frames) > 1 and outer.search(frames[0]):
        frames.pop(0)
    return frames[-_MOST_FRAMES:]


def _failures(failures: list[Trouble]) -> Iterator[Line]:
    alike: dict[tuple[str, str, str], list[Trouble]] = {}
    for failure in failures:
        alike.setdefault((failure.stage, failure.during, failure.error), []).append(failure)
    for number, ((stage, during, error), troubles) in enumerate(alike.items()):
        first, *rest = error.splitlines() or [""]
        held = sum(trouble.rows for trouble in troubles)
        rows = f" ({plural(held, 'row')} in hand)" if held else ""
        yield f"{'then' if number else 'cause'}: stage {stage}, in {during}{rows}: {first}", BAD
        yield from ((f"  {line}", BAD) for line in rest)
        if len(troubles) > 1:
            yield f"  and {plural(len(troubles) - 1, 'more worker')} of {stage} in the same way", ""


def meaning(report: Report, pipeline: Pipeline) -> str:
    """What an exit code other than 0 means."""
    if report.exit_code == EXIT_STOPPED:
        return "; ".join([f"stage {report.failures[0].stage} stopped the run", *_left(report, pipeline)])
    if report.exit_code == EXIT_ABANDONED:
        return "; ".join(_left(report, pipeline)) or "no row was lost, but a stage did not end by itself"
    if report.exit_code == EXIT_UNBALANCED:
        return (
            "the ledger does not balance: this is a bug in etlcore. Nothing was committed that was not settled. "
            "Please report it with these lines, the pipeline file and the output of `etl --version`"
        )
    return ""


def _left(report: Report, pipeline: Pipeline) -> list[str]:
    """What is not settled or not committed, and what becomes of it; empty when nothing is."""
    rows = report.balance.abandoned
    if rows:
        return [f"{plural(rows, 'row')} {'was' if rows == 1 else 'were'} abandoned", again(pipeline, rows)]
    if any(not entry.complete for entry in report.committed):
        return ["not all that was delivered is committed", again(pipeline, 1)]
    return []


def again(pipeline: Pipeline, count: int) -> str:
    """What becomes of what is not committed: one thing, or several."""
    it = "it" if count == 1 else "them"
    sources = [stage for stage in pipeline.stages if stage.kind == "source"]
    gone = [stage.name for stage in sources if not getattr(stage.cls, "replayable", True)]
    if not gone:
        return f"the next run reads {it} again"
    if len(gone) == len(sources):
        return f"{listed(gone)} cannot promise to read {it} again"
    those = "unless it is from" if count == 1 else "but for those of"
    return f"the next run reads {it} again, {those} {listed(gone)}, which cannot promise it"
