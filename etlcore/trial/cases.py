"""The tests of a pipeline, run one after the other: each is a trial, and what came is compared with what it expects."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from etlcore.spec.model import Case, Input, Pipeline, Place, Refusal
from etlcore.trial.compare import Difference, compare, compare_fitting, same
from etlcore.trial.excerpt import Buried, Outcome, TrialError, try_out


@dataclass(frozen=True, slots=True)
class CaseError:
    """Why what a test gives did not come to its end."""

    message: str
    stage: str | None = None
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """How a test ended."""

    name: str
    seconds: float
    errors: tuple[CaseError, ...] = ()
    """Stages that failed. What came is not compared then."""
    differences: tuple[Difference, ...] = ()
    came: Mapping[str, int] | None = None
    """How many rows came to each stage that took part (for a source: were read); None where there was no run."""
    put_out: Mapping[Input, int] | None = None
    """How many rows came out of each output."""
    dead: Mapping[str, int] | None = None
    """How many dead letters each stage had that had any."""
    messages: tuple[str, ...] = ()
    """What was logged at level WARNING and above."""
    place: Place | None = None
    pipeline: Pipeline | None = None
    """The one that was run."""

    @property
    def passed(self) -> bool:
        return not self.errors and not self.differences


def run_tests(pipeline: Pipeline, *, only: str | None = None) -> list[CaseResult]:
    """Run the tests of a pipeline (`load` it with ``tests=True``) in the order of the file.

    ``only``: those whose name contains this text, whatever the case.
    """
    return [run_case(pipeline, case) for case in select_cases(pipeline, only)]


def select_cases(pipeline: Pipeline, only: str | None = None) -> list[Case]:
    """The tests of a pipeline, or those that ``only`` means."""
    return [case for case in pipeline.tests if only is None or only.casefold() in case.name.casefold()]


def run_case(pipeline: Pipeline, case: Case) -> CaseResult:
    """Run one test of a pipeline."""
    from etlcore.plugins import PluginError

    chosen = case.pipeline or pipeline
    messages: list[str] = []
    began = time.monotonic()
    try:
        with _listening(messages):
            outcome = try_out(_without_waiting(chosen), deepcopy(dict(case.given)))  # stages may change their rows
    except (PluginError, TrialError) as error:
        why = CaseError(str(getattr(error, "message", error)))
        return CaseResult(case.name, time.monotonic() - began, (why,), place=case.place, pipeline=chosen)
    seconds = time.monotonic() - began
    errors: tuple[CaseError, ...] = tuple(_errors(outcome))
    differences: tuple[Difference, ...] = ()
    if not errors:
        try:
            differences = tuple(_differences(chosen, case, outcome))
        except TrialError as error:
            errors = (CaseError(str(error)),)
    dead = [letter.stage for letter in outcome.dead]
    put_out = {Input(*output): sum(map(len, batches)) for output, batches in outcome.outputs.items()}
    return CaseResult(
        name=case.name,
        seconds=seconds,
        errors=errors,
        differences=differences,
        came=_came(chosen, outcome, put_out),
        put_out=put_out,
        dead={stage: dead.count(stage) for stage in dict.fromkeys(dead)},
        messages=tuple(messages),
        place=case.place,
        pipeline=chosen,
    )


def _came(pipeline: Pipeline, outcome: Outcome, put_out: Mapping[Input, int]) -> dict[str, int]:
    rows_in = {row.stage: row.rows_in for row in outcome.report.stages}
    return {
        stage.name: put_out[Input(stage.name)] if stage.kind == "source" else rows_in[stage.name]
        for stage in pipeline.stages
        if stage.name in rows_in
    }


def _without_waiting(pipeline: Pipeline) -> Pipeline:
    """Retries at once, and no breaker: whatever fails here, nothing outside will change that with time."""
    stages = (
        replace(stage, on_error=replace(stage.on_error, wait=0.0, longest_wait=0.0, breaker=None))
        for stage in pipeline.stages
    )
    return replace(pipeline, stages=tuple(stages))


def _errors(outcome: Outcome) -> Iterator[CaseError]:
    report = outcome.report
    for trouble in report.failures:
        yield CaseError(
            f"stage {trouble.stage}, in {trouble.during}: {trouble.error}", trouble.stage, trouble.traceback
        )
    if not report.failures and report.exit_code:
        faults = report.balance.faults or [report.abandoned_because or "rows were abandoned"]
        yield from (CaseError(f"the run did not end as it should: {fault}") for fault in faults)


def _differences(pipeline: Pipeline, case: Case, outcome: Outcome) -> Iterator[Difference]:
    for output, rows in case.expect.items():
        found = compare(
            str(output),
            rows,
            outcome.rows(output.stage, output.output),
            in_order=case.in_order,
            further_columns=case.further_columns,
        )
        if found is not None:
            yield found
    letters: dict[str, list[Buried]] = {stage.name: [] for stage in pipeline.stages}
    for letter in outcome.dead:
        letters[letter.stage].append(letter)
    for stage, came in letters.items():
        found = _compare_dead(stage, case.dead.get(stage, ()), came, further_columns=case.further_columns)
        if found is not None:
            yield found


def _compare_dead(
    stage: str, expected: Sequence[Refusal], came: Sequence[Buried], *, further_columns: bool
) -> Difference | None:
    def fits(number: int, there: int) -> bool:
        refusal, letter = expected[number], came[there]
        if refusal.reason not in letter.reason:
            return False
        return refusal.row is None or same(refusal.row, letter.row, further_columns=further_columns)

    return compare_fitting(
        f"dead letters of {stage}",
        [_written(refusal) for refusal in expected],
        [{"reason": letter.reason, "row": letter.row} for letter in came],
        fits,
    )


def _written(refusal: Refusal) -> dict[str, Any]:
    written: dict[str, Any] = {"reason": refusal.reason} if refusal.reason else {}
    return written if refusal.row is None else {**written, "row": refusal.row}


class _Listener(logging.Handler):
    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.append(record.getMessage())


@contextmanager
def _listening(messages: list[str]) -> Iterator[None]:
    """While the block runs, keep what etlcore and the stages have to say."""
    logger, listener = logging.getLogger("etlcore"), _Listener(messages)
    logger.addHandler(listener)
    try:
        yield
    finally:
        logger.removeHandler(listener)
