"""`etl dead list`, `show` and `purge`: real runs leave the letters, real processes look at them."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import sqlite3
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from .dead_support import PATIENCE, bury, etl, letters

ODD = """
    from etlcore import Reject

    def even(row):
        if row["n"] % 2:
            raise Reject(f"{row['n']} is odd")
        if row["n"] == 4:
            raise ValueError("four is right out")
        return row
"""

PIPELINE = """
    name: numbers
    stages:
      in: {source: generate, with: {rows: 6, batch: 1, fields: {n: "{id}"}}}
      even:
        transform: python
        with: {call: "odd.py:even"}
        on_error: dead_letter
      out: {sink: blackhole}
"""


@pytest.fixture
def ran(place: Any) -> Any:
    """A run has left four dead letters: of 1, 3 and 5, which were rejected, and of 4, which raised."""
    place.write("odd.py", ODD)
    place.write("p.yaml", PIPELINE)
    code, _, err = place.run("p.yaml")
    assert code == 0, err
    return place


def lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout.splitlines()


# -- list -------------------------------------------------------------------------------------------------------------


def test_list(ran: Any) -> None:
    head, *found, count, hint = lines(etl(ran, "dead", "list", "p.yaml"))
    assert head.split() == ["id", "time", "stage", "attempts", "reason"]
    reasons = [line.split(None, 5) for line in found]
    assert [(number, stage, attempts) for number, _, _, stage, attempts, _ in reasons] == [
        ("1", "even", "1"),
        ("2", "even", "1"),
        ("3", "even", "1"),
        ("4", "even", "1"),
    ]
    assert [reason for *_, reason in reasons][:2] == ["1 is odd", "3 is odd"]
    assert "four is right out" in reasons[2][-1]
    assert count == "4 dead letters of numbers in .etl"
    assert hint == "  -> etl dead show p.yaml 4"
    assert etl(ran, *hint.split()[2:]).returncode == 0, "the hint is a command"


def test_list_as_json_has_everything(ran: Any) -> None:
    found = [json.loads(line) for line in lines(etl(ran, "dead", "list", "p.yaml", "--json"))]
    assert [letter["row"] for letter in found] == [{"n": n} for n in (1, 3, 4, 5)]
    first, _, raised, _ = found
    assert first["reason"] == "1 is odd"
    assert first["traceback"] is None
    assert first["version"] == hashlib.sha256((ran.path / "p.yaml").read_bytes()).hexdigest()
    assert len(first["run"]) == 12
    assert list(first["positions"].values()) == [2], "the position behind the row"
    assert (first["attempts"], first["replayed_from"]) == (1, None)
    assert datetime.now(UTC) - datetime.fromisoformat(first["time"]) < timedelta(seconds=PATIENCE)
    assert raised["traceback"].rstrip().endswith("four is right out") or "ValueError" in raised["traceback"]


def test_filters_of_list(place: Any) -> None:
    now = datetime.now(UTC)
    bury(place.path / ".etl", [{"n": 1}], reason="no URI", time=now - timedelta(days=3))
    bury(place.path / ".etl", [{"n": 2}], reason="No room", stage="out", time=now - timedelta(hours=3))
    bury(place.path / ".etl", [{"n": 3}], reason="no uri", time=now)
    bury(place.path / ".etl", [{"n": 4}], pipeline="q")

    def found(*filters: str) -> list[int]:
        return [json.loads(line)["id"] for line in lines(etl(place, "dead", "list", "--json", *filters))]

    assert found() == [1, 2, 3, 4]
    assert found("--stage", "out") == [2]
    assert found("--reason", "uri") == [1, 3]
    assert found("--since", "1d") == [2, 3, 4]
    assert found("--before", "1h") == [1, 2]
    assert found("--since", (now - timedelta(hours=4)).isoformat(), "--before", "90m") == [2]
    assert found("--limit", "2") == [3, 4]
    assert found("--stage", "nothing") == []
    place.write("p.yaml", "stages: {this is no: [pipeline")
    assert etl(place, "dead", "list", "p.yaml").returncode == 2, "not even the name can be read"
    place.write("p.yaml", "stages: {in: {source: no_such_thing}}\n")
    assert len(lines(etl(place, "dead", "list", "p.yaml", "--json"))) == 3, "its name is enough"
    place.write("other.yaml", "name: q\n")
    assert len(lines(etl(place, "dead", "list", "other.yaml", "--json"))) == 1
    place.env["Q"] = "q"
    place.write("env.yaml", "{name: '${Q}', stages: {in: {source: generate}, out: {sink: console}}}\n")
    assert len(lines(etl(place, "dead", "list", "env.yaml", "--json"))) == 1


def test_a_local_time_is_this_machines(place: Any) -> None:
    place.env["TZ"] = "Asia/Shanghai"
    bury(place.path / ".etl", [{}], time=datetime(2024, 5, 1, 0, 30, tzinfo=UTC))
    assert "2024-05-01 08:30:00" in etl(place, "dead", "list").stdout
    assert etl(place, "dead", "list", "--since", "2024-05-01T08:00", "--json").stdout
    assert not etl(place, "dead", "list", "--since", "2024-05-01T08:00Z", "--json").stdout
    assert etl(place, "dead", "list", "--since", "2024-05-01", "--before", "2024-05-02", "--json").stdout


def test_a_list_is_cut_to_the_newest_and_says_so(place: Any) -> None:
    bury(place.path / ".etl", [{"n": n} for n in range(120)], reason="a reason\nof many lines " + "x" * 500)
    shown = lines(etl(place, "dead", "list"))
    assert len(shown) == 53
    assert max(map(len, shown)) < 200
    assert shown[-2] == "120 dead letters in .etl, the newest 50 shown"
    assert shown[1].startswith("71 ")
    assert len(lines(etl(place, "dead", "list", "--limit", "200"))) == 123


def test_nothing_to_list_makes_nothing(place: Any) -> None:
    place.write("p.yaml", PIPELINE)
    assert lines(etl(place, "dead", "list", "p.yaml")) == ["no dead letters of numbers in .etl"]
    assert not (place.path / ".etl").exists()


# -- show -------------------------------------------------------------------------------------------------------------


def test_show(ran: Any) -> None:
    text = etl(ran, "dead", "show", "p.yaml", "3").stdout
    head, *rest = text.splitlines()
    assert head == "dead letter 3 of numbers"
    assert "  stage     even" in rest
    assert "  attempts  1" in rest
    version = hashlib.sha256((ran.path / "p.yaml").read_bytes()).hexdigest()
    assert f"  version   {version}" in rest
    assert "  position  worker 0/1: 5" in rest
    assert '      "n": 4' in rest
    assert "  traceback" in rest
    assert any("four is right out" in line for line in rest)
    assert any("odd.py" in line for line in rest)


def test_show_several_without_a_file(ran: Any) -> None:
    done = etl(ran, "dead", "show", "2", "1", "2")
    assert [line for line in done.stdout.splitlines() if line.startswith("dead letter")] == [
        "dead letter 1 of numbers",
        "dead letter 2 of numbers",
    ]
    found = [json.loads(line)["id"] for line in lines(etl(ran, "dead", "show", "--json", "4", "1"))]
    assert found == [1, 4]


def test_what_json_lacks_is_shown_readably(place: Any) -> None:
    row = {"bytes": b"\x00\xff", "time": datetime(2024, 5, 1, tzinfo=UTC), "text": "\ud800", "中": "文"}
    bury(place.path / ".etl", [row])
    shown = etl(place, "dead", "show", "1").stdout
    assert '"$bytes": "AP8="' in shown
    assert '"$datetime": "2024-05-01T00:00:00+00:00"' in shown
    found = json.loads(etl(place, "dead", "show", "1", "--json").stdout)
    assert found["row"]["中"] == "文"


def test_a_letter_that_is_not_there(ran: Any) -> None:
    done = etl(ran, "dead", "show", "p.yaml", "1", "99", "7")
    assert done.returncode == 2
    assert done.stdout.startswith("dead letter 1 of numbers\n")
    assert done.stderr == "there is no dead letter 99, 7 of numbers in .etl\n  -> etl dead list p.yaml\n"


# -- purge ------------------------------------------------------------------------------------------------------------


def test_purge_asks_and_says_what_it_means(ran: Any) -> None:
    done = etl(ran, "dead", "purge", "p.yaml", "--reason", "is odd", answer="n\n")
    assert done.returncode == 2
    assert done.stderr.splitlines()[:2] == ["letters  pipeline  stage", "3        numbers   even"]
    assert "Delete these 3 dead letters from .etl? [y/N]: " in done.stderr
    assert "nothing was deleted" in done.stderr
    assert len(letters(ran)) == 4
    done = etl(ran, "dead", "purge", "p.yaml", "--reason", "is odd", answer="y\n")
    assert (done.returncode, done.stdout) == (0, "3 dead letters deleted\n")
    assert [letter.row["n"] for letter in letters(ran)] == [4]


def test_purge_without_anybody_to_ask(ran: Any) -> None:
    done = etl(ran, "dead", "purge", "p.yaml")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-2:] == ["Error: nothing was deleted", "  -> --yes does it without asking"]
    assert len(letters(ran)) == 4
    assert lines(etl(ran, "dead", "purge", "p.yaml", "--yes", "--id", "1", "--id", "4")) == ["2 dead letters deleted"]
    assert [letter.id for letter in letters(ran)] == [2, 3]
    assert lines(etl(ran, "dead", "purge", "-y")) == ["2 dead letters deleted"]
    assert lines(etl(ran, "dead", "purge", "-y", "p.yaml")) == ["0 dead letters deleted"]


def test_letters_that_come_while_it_asks_are_not_meant(ran: Any) -> None:
    """Answered on a terminal, after another process has written a letter."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [str(ran.etl), "dead", "purge", "p.yaml"],
        cwd=ran.path,
        env=ran.env,
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(terminal)
    assert process.stderr is not None
    asked = ""
    while "[y/N]" not in asked:
        asked += process.stderr.read(1)
    bury(ran.path / ".etl", [{"n": 7}], pipeline="numbers")
    os.write(controller, b"y\n")
    out, _ = process.communicate(timeout=PATIENCE)
    os.close(controller)
    assert (process.returncode, out) == (0, "4 dead letters deleted\n")
    assert [letter.row["n"] for letter in letters(ran)] == [7]


# -- what is wrong ----------------------------------------------------------------------------------------------------

WRONG = [
    (["dead", "list", "no.yaml"], "no.yaml: cannot be read: No such file or directory", "did you mean p.yaml?"),
    (["dead", "list", "--state", "nowhere"], "there is no state directory nowhere", "--state DIR"),
    (["dead", "list"], "there is no state directory .etl", "name the pipeline FILE"),
    (["dead", "list", "--since", "soon"], "'soon' is no time", "write 2024-05-01"),
    (["dead", "list", "--before", "2024-13-01"], "'2024-13-01' is no time", "2h"),
    (["dead", "list", "--since", "99999999999w"], "is no time", ""),
    (["dead", "list", "--limit", "0"], "0 is not in the range x>=1", ""),
    (["dead", "show"], "Missing argument '[FILE] ID…'", "etl dead show --help"),
    (["dead", "show", "p.yaml"], "no id is given", "etl dead list p.yaml"),
    (["dead", "show", "p.yaml", "1", "x"], "'x' is not the id of a dead letter", "etl dead list"),
    (["dead", "show", "--state", "nowhere", "1"], "there is no state directory nowhere", ""),
    (["dead", "purge", "--id", "x", "-y"], "'x' is not a valid integer", ""),
    (["dead", "purge", "-y"], "there is no state directory .etl", "--state DIR"),
    (["dead", "bury"], "No such command 'bury'", "etl dead --help"),
    (["dead", "replay"], "Missing argument 'FILE'", ""),
    (["dead", "replay", "no.yaml"], "no.yaml: cannot be read", "did you mean p.yaml?"),
    (["dead", "replay", "no.yaml", "--dry-run"], "no.yaml: cannot be read", "did you mean p.yaml?"),
    (["dead", "replay", "p.yaml", "--into", "x"], "--into needs --stage", "--stage STAGE --into OTHER"),
    (["dead", "replay", "p.yaml", "--timeout", "soon"], "'soon' is no number of seconds", ""),
]


@pytest.mark.parametrize(("arguments", "message", "hint"), WRONG, ids=lambda value: str(value)[:50])
def test_wrong_command_lines(place: Any, arguments: list[str], message: str, hint: str) -> None:
    place.write("p.yaml", PIPELINE)
    done = etl(place, *arguments)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert message in done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["list", "show", "purge"])
def test_a_state_file_that_cannot_be_used(place: Any, verb: str) -> None:
    (place.path / ".etl").mkdir()
    file = place.path / ".etl" / "state.db"
    more = {"list": [], "show": ["1"], "purge": ["-y"]}[verb]

    def refused() -> str:
        done = etl(place, "dead", verb, *more)
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1
        return done.stderr

    file.write_bytes(b"no database" * 1000)
    assert "is not an etlcore state file" in refused()
    file.unlink()
    bury(place.path / ".etl", [{}])
    _set_version(file, 99)
    assert "the state file .etl/state.db has version 99, this etlcore reads up to " in refused()
    assert "install the etlcore that wrote it, or a newer one" in refused()
    _set_version(file, 2)
    assert len(letters(place)) == 1, "nothing was lost"


def _set_version(file: Path, version: int) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()


def test_every_option_has_a_help_text(place: Any) -> None:
    from etlcore.cli.dead import dead
    from etlcore.cli.state import state

    commands = [*dead.commands.values(), *state.commands.values()]
    for command in commands:
        assert command.help
        for option in command.params:
            if option.param_type_name == "option":
                assert getattr(option, "help", None), f"{command.name}: {option.name}"
    shown = etl(place, "--help").stdout
    assert "\n  dead " in shown
    assert "\n  state " in shown
