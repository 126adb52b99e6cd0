"""What the state store is told of a run: at its beginning, and once more with its report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from itertools import groupby
from typing import Any, Literal

from etlcore.runtime.report import Committed, Report
from etlcore.runtime.run import Run
from etlcore.state import RunRecord

_MOST_POSITIONS = 100  # of a source stage; of more partitions only the numbers are kept


def begun(run: Run, kind: Literal["run", "replay"]) -> RunRecord:
    """The record of a run that is about to begin. One that is never followed by `ended` was killed."""
    pipeline = run.pipeline
    file = None if pipeline.file is None else str(pipeline.file.absolute())
    return RunRecord(run.id, pipeline.name, run.started, kind, file, pipeline.version)


def ended(record: RunRecord, report: Report) -> RunRecord:
    """The same run, with how it ended."""
    balance = {name: rows for name, rows in asdict(report.balance).items() if name != "faults"}
    because = report.abandoned_because
    return replace(
        record,
        ended=report.ended,
        reason=report.reason if because is None else f"{report.reason}; abandoned at {because}",
        exit_code=report.exit_code,
        balance=balance,
        committed=summary(report.committed),
    )


def summary(committed: Iterable[Committed]) -> dict[str, Any]:
    """For each source stage: how many ``partitions`` there are and how many are ``complete``, the rows that are not
    committed, and the ``positions``, unless there are too many of them.
    """
    found = {}
    for stage, group in groupby(sorted(committed, key=lambda entry: entry.stage), key=lambda entry: entry.stage):
        entries = list(group)
        found[stage] = {
            "partitions": len(entries),
            "complete": sum(entry.complete for entry in entries),
            "uncommitted_rows": sum(entry.uncommitted_rows for entry in entries),
            "positions": {entry.partition: entry.position for entry in entries}
            if len(entries) <= _MOST_POSITIONS
            else None,
        }
    return found
