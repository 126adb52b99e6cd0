"""Lines to standard error, masks, numbers in words, and the table at any width."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretBytes, SecretStr
from rich.console import Console

from etlcore import Sink
from etlcore.cli.view.figures import Moment
from etlcore.cli.view.lines import Lines
from etlcore.cli.view.secrets import MASK, Mask
from etlcore.cli.view.sentences import status_line
from etlcore.cli.view.table import picture
from etlcore.cli.view.words import duration, in_words, listed, plural, rate
from etlcore.runtime.status import Late, StageStatus
from etlcore.spec.model import Pipeline, Stage

PATIENCE = 120.0

# -- lines ------------------------------------------------------------------------------------------------------------


def test_lines_come_in_order_from_any_thread() -> None:
    stream = io.StringIO()
    lines = Lines(stream)
    threads = [threading.Thread(target=lambda n=n: [lines.line(f"{n} {i}") for i in range(500)]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lines.finish(PATIENCE)
    written = [line.split() for line in stream.getvalue().splitlines()]
    assert len(written) == 2000
    for number in range(4):
        assert [int(i) for n, i in written if int(n) == number] == list(range(500))


def test_who_reads_nothing_holds_up_nobody_and_is_told_what_was_lost() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading) as reader:
        lines = Lines(stream)
        for number in range(20_000):
            lines.line(f"{number} {'x' * 100}")  # many times what the pipe holds
        assert not lines.finish(0)
        read: list[str] = []
        while not read or not read[-1].startswith("("):
            read.append(reader.readline())
        assert lines.finish(PATIENCE)
    *shown, lost = read
    numbers = [int(line.split()[0]) for line in shown]
    assert numbers == sorted(numbers)
    assert lost == f"({20_000 - len(shown):,} lines could not be shown in time)\n"
    assert len(shown) >= 10_000


def test_a_stream_that_does_not_know_every_character() -> None:
    buffer = io.BytesIO()
    lines = Lines(io.TextIOWrapper(buffer, encoding="ascii", errors="backslashreplace"))
    lines.line("shard 0 … shard 3")
    assert lines.finish(PATIENCE)
    assert buffer.getvalue() == b"shard 0 ... shard 3\n"


def test_a_stream_that_was_closed_shows_nothing_and_fails_nowhere() -> None:
    stream = io.StringIO()
    lines = Lines(stream)
    stream.close()
    lines.line("one")
    assert lines.finish(PATIENCE)
    lines.line("two")
    assert lines.finish(PATIENCE)


# -- masks ------------------------------------------------------------------------------------------------------------


class Inner(BaseModel):
    tokens: list[SecretStr] = []


class Options(BaseModel):
    key: SecretStr = SecretStr("")
    raw: SecretBytes = SecretBytes(b"")
    inner: dict[str, Inner] = {}
    plain: str = ""


def mask(**options: Any) -> Mask:
    return Mask(Pipeline("p", (Stage("s", "sink", "s", Sink, Options(**options)),), Path()))


def test_secrets_are_masked_wherever_options_hold_them() -> None:
    masking = mask(key="top-secret", raw=b"bytes-secret", inner={"a": Inner(tokens=["token-1"])}, plain="plain")
    assert masking.text("top-secret bytes-secret token-1 plain") == f"{MASK} {MASK} {MASK} plain"


def test_secrets_are_masked_in_every_form() -> None:
    masking = mask(key='p/a"s\ns')
    for form in ('p/a"s\ns', "p/a%22s%0As", "p%2Fa%22s%0As", r"p/a\"s\ns", repr('p/a"s\ns')):
        assert "a" not in masking.text(form).strip("'"), form


def test_a_short_secret_is_masked_as_a_word_only() -> None:
    assert mask(key="ab").text("ab about ab.") == f"{MASK} about {MASK}."
    assert mask(key="").text("nothing") == "nothing"


def test_a_secret_that_begins_another_one() -> None:
    assert mask(key="secret", inner={"a": Inner(tokens=["secret-long"])}).text("a secret-long") == f"a {MASK}"


def test_data_is_masked_through_and_through() -> None:
    data = {"secret": ["a secret", {"x": ("secret", 5, None)}]}
    assert mask(key="secret").data(data) == {MASK: [f"a {MASK}", {"x": [MASK, 5, None]}]}


# -- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "short", "long"),
    [
        (0, "0.0s", "0 s"),
        (0.44, "0.4s", "0.4 s"),
        (9.94, "9.9s", "9.9 s"),
        (9.96, "10s", "10 s"),
        (12.3, "12s", "12.3 s"),
        (59.6, "1m 00s", "59.6 s"),
        (200, "3m 20s", "3 min 20 s"),
        (7500, "2h 05m", "2 h 5 min"),
        (-1, "0.0s", "0 s"),
    ],
)
def test_durations(seconds: float, short: str, long: str) -> None:
    assert duration(seconds) == short
    assert in_words(seconds) == long


def test_numbers_and_lists() -> None:
    assert [rate(number) for number in (0, 0.04, 1.25, 12.6, 1530.4)] == ["0", "0.0", "1.2", "13", "1,530"]
    assert [plural(number, "row") for number in (0, 1, 1234)] == ["0 rows", "1 row", "1,234 rows"]
    assert listed(["a", "b"]) == "a, b"
    assert listed([str(number) for number in range(10)], 3) == "0, 1, 2 and 7 more"


# -- a run at one moment ----------------------------------------------------------------------------------------------


def stage(name: str, kind: str, **figures: Any) -> StageStatus:
    facts = {
        "component": "c",
        "state": "running",
        "workers": 1,
        "busy": 1,
        "rows_in": 0,
        "rows_out": 0,
        "filtered": 0,
        "dead": 0,
        "held": 0,
        "queued": 0,
        "queue_rows": 0,
        "queued_bytes": 0,
        "lag": None,
    }
    return StageStatus(name=name, kind=kind, **{**facts, **figures})


def moment(*stages: StageStatus, draining: bool = False) -> Moment:
    return Moment(12.3, draining, list(stages), {one.name: 1530.4 for one in stages})


LOGS = stage("logs", "source", rows_out=18_400, lag=0.4)
PARSED = stage(
    "[parsed]", "transform", workers=4, busy=3, rows_in=18_400, rows_out=18_112, queued=288, queue_rows=20_000
)
OUT = stage("out", "sink", rows_in=18_112, rows_out=18_112, queue_rows=20_000)


def test_the_status_line() -> None:
    line = "12s logs 18,400 read 1,530/s | out 18,112 delivered | queued 288 | lag 0.4s"
    assert status_line(moment(LOGS, PARSED, OUT)) == line
    assert status_line(moment(LOGS, PARSED, OUT, draining=True)) == f"{line} | draining"
    sinks = [stage(f"out{number}", "sink", rows_out=1000) for number in range(4)]
    dead = stage("bad", "transform", dead=7)
    assert (
        status_line(moment(LOGS, stage("more", "source", rows_out=2), dead, *sinks))
        == "12s logs 18,400 read 1,530/s, more 2 read 1,530/s | 4 stages 4,000 delivered | queued 0 | dead 7 | lag 0.4s"
    )


def drawn(width: int, late: Late | None = None, left: float | None = None, unicode: bool = True) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=50, force_terminal=True, color_system=None)
    console.print(picture(moment(LOGS, PARSED, OUT, draining=late is not None), "SIGINT", late, left, unicode=unicode))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_the_table_on_a_wide_terminal() -> None:
    assert drawn(120) == [
        "stage     workers      in     out  rows/s  queue                 lag  state",
        "logs          1/1       -  18,400   1,530  -                    0.4s  running",
        "[parsed]      3/4  18,400  18,112   1,530  █░░░░░░░ 288/20,000     -  running",
        "out           1/1  18,112  18,112   1,530  ░░░░░░░░ 0/20,000       -  running",
        "12s  1,530 rows/s  18,112 delivered  press Ctrl-C to stop and drain",
    ]
    assert "#......." in drawn(120, unicode=False)[2]


@pytest.mark.parametrize("draining", [False, True])
def test_the_lag_of_each_partition_stands_below_the_table(draining: bool) -> None:
    figures = [
        {"name": "lag_seconds", "labels": {"partition": f"shard {shard}"}, "value": lag}
        for shard, lag in enumerate([0.0, 12.0, 83.0])
    ]
    console = Console(file=io.StringIO(), width=120, height=50, force_terminal=True, color_system=None)
    logs = stage("logs", "source", lag=83.0, figures=figures)
    console.print(picture(moment(logs, OUT, draining=draining), "SIGINT", None, None))
    shown = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert shown[-2].rstrip() == "lag of logs: shard 2 1m 23s, shard 1 12s"


@pytest.mark.parametrize("width", [10, 20, 30, 40, 50, 60, 72, 80, 90, 100])
def test_the_table_fits_any_terminal(width: int) -> None:
    late = Late("[parsed]", 3, 12, 288, 4.2, "process")
    for lines in (drawn(width), drawn(width, late, 18)):
        assert max(len(line) for line in lines) <= width
        if width >= 20:
            assert any("18,112" in line for line in lines)


def test_the_table_of_a_drain() -> None:
    late = Late("[parsed]", 3, 12, 288, 4.2, "process")
    assert drawn(120, late, 18)[-2:] == [
        "12s  draining (SIGINT)  18 s left  press Ctrl-C again to abandon the rest",
        "waiting for [parsed]: 300 rows (3 workers busy, in process), the oldest for 4.2 s",
    ]
