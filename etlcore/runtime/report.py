"""The drain report: the ledger of a run, what was committed, who was stuck; and whether it all balances.

Three counts that are kept independently of each other must agree: what the senders of a channel counted and what the
channel did, what a stage took and what became of it, and the receipts that are still open and the rows that were
abandoned. Where they do not, that is a bug in etlcore, and the report says so.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from etlcore.runtime.graph import Node
from etlcore.runtime.run import Run
from etlcore.runtime.status import rows_out

EXIT_DRAINED = 0
EXIT_STOPPED = 1
EXIT_ABANDONED = 3
EXIT_UNBALANCED = 4

_STACK_LINES = 40  # of a stuck worker: the innermost


@dataclass(frozen=True, slots=True)
class StageRow:
    """One line of the table."""

    stage: str
    kind: str
    workers: int
    rows_in: int
    rows_out: int
    filtered: int
    added: int
    dead: int
    abandoned: int


@dataclass(frozen=True, slots=True)
class Stuck:
    """A worker that did not come back before the run was abandoned."""

    stage: str
    worker: int
    rows: int
    age: float
    """Seconds that it has been busy with these rows."""
    doing: str
    stack: list[str]


@dataclass(frozen=True, slots=True)
class Trouble:
    """A failure of a stage, in words."""

    stage: str
    worker: int
    during: str
    error: str
    rows: int
    traceback: str


@dataclass(frozen=True, slots=True)
class Balance:
    """Copies of rows over the whole graph: read + copied + added = delivered + filtered + dead + abandoned."""

    read: int
    copied: int
    added: int
    delivered: int
    filtered: int
    dead: int
    abandoned: int
    faults: list[str] = field(default_factory=list)
    """Where two counts disagree; empty when everything balances."""

    @property
    def holds(self) -> bool:
        return not self.faults


@dataclass(frozen=True, slots=True)
class Committed:
    """How far one partition of a source was committed."""

    stage: str
    partition: str
    position: Any
    complete: bool
    """Everything that was read of it is committed."""
    at_end: bool
    """The source had nothing more to give when it ended."""
    uncommitted_rows: int


@dataclass(frozen=True, slots=True)
class Report:
    """What happened to every row of a run."""

    pipeline: str
    run: str
    started: datetime
    ended: datetime
    seconds: float
    reason: str
    abandoned_because: str | None
    exit_code: int
    stages: list[StageRow]
    balance: Balance
    committed: list[Committed]
    stuck: list[Stuck]
    failures: list[Trouble]
    dead_letters: int
    """Rows that this run put on disk."""
    dropped: dict[str, int]
    """For each stage, rows that failed and were dropped, because its ``on_error`` says so."""
    events: list[dict[str, Any]]
    figures: list[dict[str, Any]] = field(default_factory=list)
    """What the stages measured, as it stood at the end: ``stage``, ``name``, ``labels``, ``value``."""

    def to_json(self) -> dict[str, Any]:
        """The report as plain data; positions as the source gave them."""
        from dataclasses import asdict

        data = asdict(self)
        data["started"] = self.started.isoformat()
        data["ended"] = self.ended.isoformat()
        data["balance"]["balanced"] = self.balance.holds
        return data


def stuck_workers(run: Run) -> list[Stuck]:
    """Workers that are still busy, with where they are; call it once the run is abandoned."""
    now = run.primitives.now()
    run.join(_SETTLE)  # those that only had to be told are gone after this
    found = []
    for worker in run.workers:
        stack = run.stack(worker)
        if worker.ended or not stack or worker.doing.startswith("wait"):
            continue
        since = worker.account.since
        age = 0.0 if since is None else now - since
        found.append(
            Stuck(worker.host.name, worker.number, worker.account.held, age, worker.doing, stack[-_STACK_LINES:])
        )
    return found


_SETTLE = 0.1  # seconds


def make_report(run: Run, stuck: list[Stuck]) -> Report:
    """The report of a run that is done or abandoned."""
    rows = [stage_row(run, node) for node in run.graph]
    balance = _balance(run, rows)
    failures = _failures(run)
    committed = _committed(run)
    ended = datetime.now(UTC)
    return Report(
        pipeline=run.pipeline.name,
        run=run.id,
        started=run.started,
        ended=ended,
        seconds=run.elapsed(),
        reason=run.reason or "end of input",
        abandoned_because=run.abandoned_because,
        exit_code=_exit_code(balance, failures, committed, stuck),
        stages=rows,
        balance=balance,
        committed=committed,
        stuck=stuck,
        failures=failures,
        dead_letters=run.buried,
        dropped=dict(run.dropped),
        figures=[{"stage": row.stage, **figure} for row in rows for figure in run.figures.of(row.stage)],
        events=[{"at": round(e.at, 6), "stage": e.stage, "event": e.what} for e in run.events],
    )


def stage_row(run: Run, node: Node) -> StageRow:
    """A stage's line of the table, as it stands now."""
    host = run.hosts[node.stage.name]
    counts = run.ledger.counts(host.name)
    left = rows_in = 0
    if host.channel is not None:
        channel = host.channel.statistics()
        left, rows_in = channel.rows + channel.refused, channel.entered
    return StageRow(
        stage=host.name,
        kind=node.stage.kind,
        workers=node.stage.workers,
        rows_in=rows_in,
        rows_out=rows_out(run, node),
        filtered=counts.filtered,
        added=counts.added,
        dead=counts.dead,
        abandoned=counts.held + left,
    )


def _balance(run: Run, rows: list[StageRow]) -> Balance:
    faults: list[str] = []
    read = copied = 0
    for node, row in zip(run.graph, rows, strict=True):
        host = run.hosts[row.stage]
        counts = run.ledger.counts(row.stage)
        read += counts.read
        copied += counts.copied
        got = counts.entered + counts.read + counts.added + counts.copied
        gave = counts.sent + counts.filtered + counts.dead + counts.delivered + counts.held
        if got != gave:
            faults.append(f"stage {row.stage}: {got:,} rows came to it, {gave:,} are accounted for")
        if host.channel is not None:
            channel = host.channel.statistics()
            senders = run.ledger.sent_to(row.stage)
            if senders != channel.entered:
                faults.append(f"stage {row.stage}: {senders:,} rows were sent to it, {channel.entered:,} came in")
            passed = counts.entered + channel.rows + channel.refused
            if passed != channel.entered:
                faults.append(f"stage {row.stage}: {channel.entered:,} rows were queued, {passed:,} are accounted for")
        del node
    balance = Balance(
        read=read,
        copied=copied,
        added=sum(row.added for row in rows),
        delivered=sum(row.rows_out for row in rows if row.kind == "sink"),
        filtered=sum(row.filtered for row in rows),
        dead=sum(row.dead for row in rows),
        abandoned=sum(row.abandoned for row in rows),
        faults=faults,
    )
    _check_whole(run, balance)
    return balance


def _check_whole(run: Run, balance: Balance) -> None:
    came = balance.read + balance.copied + balance.added
    went = balance.delivered + balance.filtered + balance.dead + balance.abandoned
    if came != went:
        balance.faults.append(f"the whole: {came:,} rows came, {went:,} are accounted for")
    issued = sum(source.tracker.rows_issued for source in run.sources())
    unsettled = sum(source.tracker.rows_unsettled for source in run.sources())
    if issued != balance.read:
        balance.faults.append(f"receipts were issued for {issued:,} rows, {balance.read:,} were read")
    # What a worker made of a row may have been delivered before the worker could say that it was done with the row:
    # nothing is left to abandon then, and yet the row is not settled. The same goes for a dead letter that is on disk.
    left = balance.abandoned + run.ledger.open_rows()
    if (unsettled == 0) != (left == 0):
        balance.faults.append(f"{balance.abandoned:,} rows were abandoned, receipts are open for {unsettled:,}")
    ended = run.buried + sum(run.dropped.values())
    cut_short = left or run.abandoned_because is not None  # on disk, but the books were closed before it was counted
    if balance.dead > ended or (balance.dead < ended and not cut_short):
        balance.faults.append(f"{balance.dead:,} rows are dead letters, {ended:,} were written or dropped")


def _failures(run: Run) -> list[Trouble]:
    return [
        Trouble(
            stage=failure.stage,
            worker=failure.worker,
            during=failure.during,
            error=describe(failure.error),
            rows=failure.rows,
            traceback="".join(traceback.format_exception(failure.error)),
        )
        for failure in run.failures
    ]


def describe(error: BaseException) -> str:
    """An exception in one line: its text, and its type where the text alone says too little."""
    text = str(error).strip()
    kind = type(error).__name__
    if not text:
        return kind
    return text if getattr(error, "says_it_all", False) else f"{kind}: {text}"


def _committed(run: Run) -> list[Committed]:
    found = []
    for source in run.sources():
        for partition, standing in source.standing().items():
            found.append(
                Committed(
                    stage=source.host.name,
                    partition=partition,
                    position=standing["committed"],
                    complete=standing["complete"],
                    at_end=source.at_end,
                    uncommitted_rows=standing["uncommitted_rows"],
                )
            )
    return sorted(found, key=lambda c: (c.stage, _natural(c.partition)))


def _natural(text: str) -> list[tuple[int, int, str]]:
    """A sort key that puts ``shard 10`` behind ``shard 9``."""
    import re

    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", text) if part]


def _exit_code(balance: Balance, failures: list[Trouble], committed: list[Committed], stuck: list[Stuck]) -> int:
    if not balance.holds:
        return EXIT_UNBALANCED
    if failures:
        return EXIT_STOPPED
    if balance.abandoned or stuck or any(not entry.complete for entry in committed):
        return EXIT_ABANDONED
    return EXIT_DRAINED
