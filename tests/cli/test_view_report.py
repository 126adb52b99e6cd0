"""The drain report in words: every kind of line, from reports as the runtime makes them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from etlcore import Sink, Source
from etlcore.cli.view.report import report_lines
from etlcore.runtime.report import Balance, Committed, Report, StageRow, Stuck, Trouble
from etlcore.spec.model import Pipeline, Stage


class Once(Source):
    replayable = False


PIPELINE = Pipeline(
    "sls_uri",
    (Stage("logs", "source", "sls", Source, None), Stage("out", "sink", "console", Sink, None)),
    Path(),
    Path("sls_uri.yaml"),
)

REPORT = Report(
    pipeline="sls_uri",
    run="1",
    started=datetime.now(UTC),
    ended=datetime.now(UTC),
    seconds=83.2,
    reason="end of input",
    abandoned_because=None,
    exit_code=0,
    stages=[
        StageRow("logs", "source", 1, 0, 20_000, 0, 0, 0, 0),
        StageRow("uris", "transform", 1, 20_000, 20_000, 0, 0, 0, 0),
        StageRow("parsed", "transform", 4, 20_000, 19_998, 0, 0, 2, 0),
        StageRow("out", "sink", 1, 19_998, 19_998, 0, 0, 0, 0),
    ],
    balance=Balance(20_000, 0, 0, 19_998, 0, 2, 0),
    committed=[Committed("logs", f"shard {number}", "c", True, True, 0) for number in range(4)],
    stuck=[],
    failures=[],
    dead_letters=2,
    dropped={},
    events=[],
)


def lines(report: Report, pipeline: Pipeline = PIPELINE) -> list[str]:
    return [line for line, _ in report_lines(report, pipeline, ".etl/state.db")]


def committed(*entries: Committed) -> list[str]:
    return [
        line for line in lines(replace(REPORT, committed=list(entries))) if line.startswith(("committed", "behind"))
    ]


def entry(partition: str, stage: str = "logs", **changes: Any) -> Committed:
    return replace(Committed(stage, partition, "c", complete=True, at_end=True, uncommitted_rows=0), **changes)


def test_the_whole_report_of_a_run_that_went_well() -> None:
    assert lines(REPORT) == [
        "sls_uri: end of input, 1 min 23 s",
        "stage   worker  in      out     filtered  dead  abandoned",
        "logs    1       -       20,000  -         -     -",
        "uris    1       20,000  20,000  0         0     0",
        "parsed  4       20,000  19,998  0         2     0",
        "out     1       19,998  19,998  -         0     0",
        "balanced: 20,000 read = 19,998 delivered + 0 filtered + 2 dead-lettered + 0 abandoned",
        "committed: logs: shard 0 … shard 3, at the end",
        "dead letters: 2, in .etl/state.db",
        "  -> etl dead list sls_uri.yaml",
    ]


@pytest.mark.parametrize(
    ("reason", "abandoned", "shown"),
    [
        ("end of input", None, "end of input"),
        ("SIGTERM", None, "stopped by SIGTERM"),
        ("stage out failed", None, "stage out failed"),
        ("SIGINT", "a second signal (SIGTERM)", "stopped by SIGINT; abandoned at a second signal (SIGTERM)"),
        ("the deadline of 2 s", "the deadline of 2 s", "end of input; abandoned at the deadline of 2 s"),
    ],
)
def test_why_it_ended(reason: str, abandoned: str | None, shown: str) -> None:
    assert lines(replace(REPORT, reason=reason, abandoned_because=abandoned))[0] == f"sls_uri: {shown}, 1 min 23 s"


def test_copies_and_additions_are_shown_where_there_are_any() -> None:
    stages = [
        StageRow("logs", "source", 1, 0, 10, 0, 0, 0, 0),
        StageRow("words", "transform", 1, 10, 30, 0, 20, 0, 0),
        StageRow("a", "sink", 1, 30, 30, 0, 0, 0, 0),
        StageRow("b", "sink", 1, 30, 30, 0, 0, 0, 0),
    ]
    report = replace(REPORT, stages=stages, balance=Balance(10, 30, 20, 60, 0, 0, 0))
    assert lines(report)[1:6] == [
        "stage  worker  in  out  filtered  added  dead  abandoned",
        "logs   1       -   10   -         -      -     -",
        "words  1       10  30   0         20     0     0",
        "a      1       30  30   -         -      0     0",
        "b      1       30  30   -         -      0     0",
    ]
    assert lines(report)[6].startswith("balanced: 10 read + 30 copied + 20 added = 60 delivered + ")


def test_what_a_source_still_held_is_shown() -> None:
    stages = [StageRow("logs", "source", 1, 0, 10, 0, 0, 0, 7)]
    assert lines(replace(REPORT, stages=stages))[2] == "logs   1       -   10   -         -     7"


def test_rows_that_a_policy_dropped_are_no_dead_letters() -> None:
    shown = lines(replace(REPORT, balance=Balance(10, 0, 0, 5, 0, 5, 0), dead_letters=2, dropped={"parsed": 3}))
    assert "balanced: 10 read = 5 delivered + 0 filtered + 2 dead-lettered + 3 dropped + 0 abandoned" in shown
    assert "dropped: parsed: 3 rows that failed, as its on_error says" in shown


# -- committed --------------------------------------------------------------------------------------------------------


def test_many_partitions_in_few_words() -> None:
    assert committed(entry("a")) == ["committed: logs: a, at the end"]
    assert committed(entry("a"), entry("b"), entry("c")) == ["committed: logs: a, b, c, at the end"]
    shards = [entry(f"shard {number}") for number in range(32)]
    assert committed(*shards) == ["committed: logs: shard 0 … shard 31, at the end"]
    gap = [one for one in shards if one.partition != "shard 7"]
    assert committed(*gap) == ["committed: logs: shard 0 … shard 31 (31), at the end"]
    files = [entry(f"{name}.jsonl") for name in "abcde"]
    assert committed(*files) == ["committed: logs: a.jsonl … e.jsonl (5), at the end"]
    several = [entry("a"), entry("0", stage="other", at_end=False)]
    assert committed(*several) == ["committed: logs: a, at the end", "committed: other: 0, all that was read"]


def test_partitions_that_are_behind_are_listed_with_their_rows() -> None:
    shards = [entry(f"shard {number}") for number in range(6)]
    shards[2] = entry("shard 2", complete=False, uncommitted_rows=1234)
    shards[3] = entry("shard 3", complete=False)
    assert committed(*shards) == [
        "committed: logs: shard 0, shard 1, shard 4, shard 5, at the end",
        "behind: logs: shard 2: 1,234 rows read and not committed",
        "behind: logs: shard 3: all was delivered, but could not be committed",
    ]
    all_behind = [entry(f"shard {number}", complete=False, uncommitted_rows=1) for number in range(40)]
    shown = committed(*all_behind)
    assert len(shown) == 11
    assert shown[0] == "behind: logs: shard 0: 1 row read and not committed"
    assert shown[-1] == "behind: 30 more partitions"


# -- what went wrong --------------------------------------------------------------------------------------------------


def trouble(**changes: Any) -> Trouble:
    return replace(Trouble("out", 0, "write", "OSError: no route", 12, "Traceback…"), **changes)


def test_the_cause_is_named_once() -> None:
    failures = [trouble(worker=number) for number in range(3)] + [
        trouble(stage="in", during="close", error="X\nY", rows=0)
    ]
    shown = lines(replace(REPORT, failures=failures, exit_code=1))
    assert shown[10:] == [
        "cause: stage out, in write (36 rows in hand): OSError: no route",
        "  and 2 more workers of out in the same way",
        "then: stage in, in close: X",
        "  Y",
        "  --log-level debug (or ETL_DEBUG=1) shows the traceback",
        "exit 1: stage out stopped the run",
    ]


@pytest.mark.parametrize(
    ("because", "word"), [("the deadline of 1 s", "stuck"), ("a second signal (SIGINT)", "still busy")]
)
def test_stuck_workers_with_what_tells_something_of_their_stacks(because: str, word: str) -> None:
    stack = [
        '  File "/lib/threading.py", line 1, in _bootstrap\n    self._bootstrap_inner()',
        '  File "/site/etlcore/runtime/worker.py", line 9, in live\n    self._live()',
        '  File "/site/acme/stages.py", line 5, in write\n    self.socket.recv()',
        '  File "/lib/threading.py", line 600, in wait\n    waiter.acquire()',
    ]
    stuck = [Stuck("out", number, 5, 29.84, "write", stack) for number in (0, 1)]
    shown = lines(replace(REPORT, stuck=stuck, abandoned_because=because, exit_code=3))
    assert shown[10:] == [
        f"{word}: out: worker 0: 5 rows for 29.8 s, in write",
        f"{word}: out: worker 1: 5 rows for 29.8 s, in write",
        '    File "/site/acme/stages.py", line 5, in write',
        "      self.socket.recv()",
        '    File "/lib/threading.py", line 600, in wait',
        "      waiter.acquire()",
        "exit 3: no row was lost, but a stage did not end by itself",
    ]


# -- the last line ----------------------------------------------------------------------------------------------------


def last(code: int, sources: tuple[type[Source], ...] = (Source,), abandoned: int = 0, **changes: Any) -> str:
    stages = tuple(Stage(f"s{number}", "source", "s", cls, None) for number, cls in enumerate(sources))
    balance = replace(REPORT.balance, abandoned=abandoned)
    report = replace(REPORT, exit_code=code, balance=balance, **changes)
    return lines(report, replace(PIPELINE, stages=stages))[-1]


def test_what_the_exit_code_means() -> None:
    again = "the next run reads them again"
    assert last(3, abandoned=23) == f"exit 3: 23 rows were abandoned; {again}"
    assert last(3, abandoned=1) == "exit 3: 1 row was abandoned; the next run reads it again"
    assert (
        last(3, committed=[entry("a", complete=False)])
        == "exit 3: not all that was delivered is committed; the next run reads it again"
    )
    assert last(1, failures=[trouble()]) == "exit 1: stage out stopped the run"
    assert (
        last(1, failures=[trouble()], abandoned=5)
        == f"exit 1: stage out stopped the run; 5 rows were abandoned; {again}"
    )


def test_sources_that_cannot_promise_to_read_again() -> None:
    assert last(3, (Once,), 5) == "exit 3: 5 rows were abandoned; s0 cannot promise to read them again"
    assert last(3, (Once,), 1) == "exit 3: 1 row was abandoned; s0 cannot promise to read it again"
    assert last(3, (Once, Source), 5).endswith(
        "; the next run reads them again, but for those of s0, which cannot promise it"
    )
    assert last(3, (Once, Source), 1).endswith(
        "; the next run reads it again, unless it is from s0, which cannot promise it"
    )


def figure(name: str, value: float, partition: str | None = None) -> dict[str, Any]:
    labels = {} if partition is None else {"partition": partition}
    return {"stage": "logs", "name": name, "labels": labels, "value": value}


def test_what_was_measured() -> None:
    figures = [
        *(figure("lag_seconds", lag, f"shard {shard}") for shard, lag in enumerate([0.0, 12.3, 0.0, 83.0])),
        figure("invalid_cursors", 1, "shard 3"),
        figure("retries", 1234, "shard 0"),
        figure("ratio", 0.25, "shard 0"),
        figure("misses", 0, "shard 0"),
        figure("requests", 5),
    ]
    assert [line for line in lines(replace(REPORT, figures=figures)) if line not in lines(REPORT)] == [
        "lag: logs: shard 3 1m 23s, shard 1 12s",
        "figures: logs: invalid_cursors: shard 3 1",
        "figures: logs: retries: shard 0 1,234",
        "figures: logs: ratio: shard 0 0.25",
    ]


def test_a_ledger_that_does_not_balance_is_a_bug_and_says_so() -> None:
    fault = "stage parsed: 20,000 rows came to it, 19,999 are accounted for"
    shown = lines(replace(REPORT, exit_code=4, balance=replace(REPORT.balance, faults=[fault])))
    assert "does not balance: 20,000 read; 19,998 delivered + 0 filtered + 2 dead-lettered + 0 abandoned" in shown
    assert f"  {fault}" in shown
    assert shown[-1].startswith("exit 4: the ledger does not balance: this is a bug in etlcore.")
    assert "report it" in shown[-1]
