"""`etl state show`, the history behind it, one run at a time, and a state that cannot be used."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etlcore.state.lock import lock_file

from .dead_support import PATIENCE, Background, bury, etl, letters, rows_in

STAGES = """
    import os
    import pathlib
    import time

    from etlcore import Reject

    HERE = pathlib.Path(__file__).parent

    def gate(row):
        while row["n"] == 3 and not (HERE / "open").exists():
            (HERE / "reached").touch()
            time.sleep(0.01)
        return row

    def refuse(row):
        raise Reject("x" * 2000)

    def forks(row):
        if os.fork() == 0:
            os.close(1)
            os.close(2)
            while not (HERE / "end").exists():
                time.sleep(0.01)
            os._exit(0)
        return gate({"n": 3})

    def raises(row):
        raise ValueError(f"the key is {os.environ['KEY']}")
"""


def pipeline(work: str, rows: int = 5) -> str:
    return f"""
    name: p
    stages:
      in: {{source: generate, with: {{rows: {rows}, batch: 1, fields: {{n: "{{id}}"}}}}}}
      work: {{transform: python, with: {{call: "stages.py:{work}"}}}}
      out: {{sink: console}}
    """


@pytest.fixture
def place(place: Any) -> Any:
    place.write("stages.py", STAGES)
    place.write("p.yaml", pipeline("gate"))
    return place


def shown(place: Any, *arguments: str) -> Any:
    """`etl state show --json` of the pipeline p."""
    done = etl(place, "state", "show", "p.yaml", "--json", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    (found,) = json.loads(done.stdout)["pipelines"]
    return found


# -- the history ------------------------------------------------------------------------------------------------------


def test_a_run_in_the_history(place: Any) -> None:
    (place.path / "open").touch()
    assert place.run("p.yaml", "--report", "report.json")[0] == 0
    found = shown(place)
    report = place.json("report.json")
    (run,) = found["runs"]
    balance = {name: value for name, value in report["balance"].items() if name not in ("faults", "balanced")}
    assert run == {
        "run": report["run"],
        "pipeline": "p",
        "kind": "run",
        "file": str(place.path / "p.yaml"),
        "version": hashlib.sha256((place.path / "p.yaml").read_bytes()).hexdigest(),
        "started": report["started"],
        "ended": report["ended"],
        "reason": "end of input",
        "exit_code": 0,
        "balance": balance,
        "committed": {"in": {"partitions": 1, "complete": 1, "uncommitted_rows": 0, "positions": {"worker 0/1": 5}}},
        "under_way": False,
    }
    assert found["holder"] is None
    assert [(one["stage"], one["partition"], one["position"]) for one in found["positions"]] == [
        ("in", "worker 0/1", 5)
    ]
    assert found["dead_letters"] == {}


def test_a_run_under_way_and_a_killed_one(place: Any) -> None:
    with Background(place, "run", "p.yaml") as run:
        run.until((place.path / "reached").exists, "a row at the gate")
        found = shown(place)
        assert (found["holder"]["pid"], found["holder"]["host"]) == (run.pid, socket.gethostname())
        assert found["holder"]["run"] == found["runs"][0]["run"]
        assert (found["runs"][0]["under_way"], found["runs"][0]["ended"]) == (True, None)
        text = etl(place, "state", "show", "p.yaml").stdout
        assert f"  in use by run {found['holder']['run']}, process {run.pid} on " in text
        assert text.rstrip().endswith("under way")
        run.kill()
    found = shown(place)
    assert found["holder"] is None
    assert (found["runs"][0]["under_way"], found["runs"][0]["ended"]) == (False, None)
    text = etl(place, "state", "show", "p.yaml").stdout
    assert "  nobody runs it\n" in text
    assert "did not end: it was killed, or the machine stopped" in text


def test_a_failed_and_a_stopped_run(place: Any) -> None:
    place.env["KEY"] = "k"
    place.write("p.yaml", pipeline("raises"))
    assert place.run("p.yaml")[0] == 1
    place.write("p.yaml", pipeline("gate"))
    with Background(place, "run", "p.yaml", "--timeout", "0") as run:
        run.until((place.path / "reached").exists, "a row at the gate")
        run.process.send_signal(signal.SIGTERM)
        assert run.end() == 3
    stopped, failed = shown(place)["runs"]
    assert (failed["exit_code"], failed["reason"]) == (1, "stage work failed")
    assert stopped["exit_code"] == 3
    assert stopped["reason"].startswith("SIGTERM; abandoned at the deadline of 0 s")
    assert stopped["balance"]["abandoned"] > 0
    assert failed["version"] != stopped["version"]
    assert shown(place)["holder"] is None, "a run with a worker that is stuck has let go"


def test_show_as_text(place: Any) -> None:
    (place.path / "open").touch()
    place.run("p.yaml")
    place.run("p.yaml")
    bury(place.path / ".etl", [{}] * 3)
    bury(place.path / ".etl", [{}] * 2, stage="out")
    lines = etl(place, "state", "show", "p.yaml").stdout.splitlines()
    assert lines[0] == "state in .etl"
    assert lines[2:5] == ["p", "  nobody runs it", "  positions:"]
    assert lines[5].split() == ["stage", "partition", "committed", "position"]
    assert lines[6].split()[:3] == ["in", "worker", "0/1"]
    assert lines[6].split()[-1] == "5"
    assert lines[7] == "  dead letters: out 2, work 3"
    assert lines[8] == "  last runs:"
    assert len(lines[10:]) == 2
    assert lines[10].split()[4:9] == ["0", "0", "0", "0", "0"], "exit code, then rows: the second run had nothing to do"
    assert lines[11].split()[4:9] == ["0", "5", "5", "0", "0"]
    assert len(etl(place, "state", "show", "p.yaml", "--runs", "1").stdout.splitlines()) == 11
    assert "last runs" not in etl(place, "state", "show", "p.yaml", "--runs", "0").stdout


def test_all_pipelines_of_a_directory(place: Any) -> None:
    (place.path / "open").touch()
    place.run("p.yaml")
    place.write("q.yaml", "name: q\nstages: {in: {source: generate, with: {rows: 1}}, out: {sink: blackhole}}\n")
    place.run("q.yaml")
    bury(place.path / ".etl", [{}], pipeline="r")
    text = etl(place, "state", "show").stdout
    assert [line for line in text.splitlines() if line and not line.startswith(" ")] == ["state in .etl", "p", "q", "r"]
    assert [one["pipeline"] for one in json.loads(etl(place, "state", "show", "--json").stdout)["pipelines"]] == [
        "p",
        "q",
        "r",
    ]


def test_a_state_that_is_not_there_yet(place: Any) -> None:
    done = etl(place, "state", "show", "p.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "state in .etl",
        "",
        "p",
        "  nobody runs it",
        "  positions: none",
        "  dead letters: none",
    ]
    assert not (place.path / ".etl").exists()
    (place.path / "empty").mkdir()
    assert etl(place, "state", "show", "--state", "empty").stdout == "state in empty\nnothing is kept there yet\n"


def test_positions_that_a_source_keeps_itself_are_shown_from_the_last_run(place: Any, site: Any) -> None:
    site.install(
        "own",
        "1.0",
        {"own": "own"},
        {
            "own.py": """
            from etlcore import Batch, Component, Position, Source, hookimpl

            @hookimpl
            def etl_components():
                yield Component("own", "source", "own:Own")

            class Own(Source):
                def read(self):
                    for n in range(int((self.context.directory / "parts").read_text())):
                        yield Batch.from_rows([{"n": 0}], position=Position(f"part {n:02}", f"at {n}"))

                def commit(self, positions):
                    pass
            """
        },
    )
    place.env["PYTHONPATH"] = str(site.path)
    place.write("p.yaml", pipeline("gate").replace('generate, with: {rows: 5, batch: 1, fields: {n: "{id}"}}', "own"))
    for parts in ("30", "0"):  # a run that has nothing to do commits nothing
        place.write("parts", parts)
        code, _, err = place.run("p.yaml")
        assert code == 0, err
        for arguments in ([], ["--runs", "0"]):
            lines = etl(place, "state", "show", "p.yaml", *arguments).stdout.splitlines()
            assert lines[4] == "  positions: none kept here; the last runs committed"
            assert lines[6].split(None, 1) == ["in", 'part 00    "at 0"']
            assert "    and 10 more partitions: --json shows all" in lines
        assert len(shown(place, "--runs", "0")["committed"]) == 30
    done = etl(place, "state", "reset", "p.yaml", "--to", "end", "--yes")
    assert done.returncode == 2
    assert "stage in: its source keeps its positions itself, and etlcore cannot move them" in done.stderr


# -- one run at a time ------------------------------------------------------------------------------------------------


def test_a_second_run_is_told_who_runs(place: Any) -> None:
    with Background(place, "run", "p.yaml") as run:
        run.until((place.path / "reached").exists, "a row at the gate")
        held = shown(place)["holder"]["run"]
        for verb in (["run"], ["dead", "replay"], ["state", "reset", "--to", "begin", "--yes"]):
            done = etl(place, *verb, "p.yaml")
            assert (done.returncode, done.stdout) == (2, "")
            assert f"the pipeline p is in use with the state directory .etl, by run {held}, process {run.pid} on " in (
                done.stderr
            )
            assert f"stop it first (kill {run.pid})" in done.stderr
            assert len(done.stderr.splitlines()) == 1
        assert "or give this run a state directory of its own: --state" in etl(place, "run", "p.yaml").stderr

        (place.path / "open").touch()  # other pipelines and other directories are free
        place.write("q.yaml", pipeline("gate").replace("name: p", "name: q"))
        (place.path / "reached").unlink()
        assert etl(place, "run", "q.yaml").returncode == 0
        assert etl(place, "run", "p.yaml", "--state", "other").returncode == 0
        assert run.end() == 0
    assert etl(place, "run", "p.yaml").returncode == 0


def test_the_refusal_as_json(place: Any) -> None:
    with Background(place, "run", "p.yaml") as run:
        run.until((place.path / "reached").exists, "a row at the gate")
        done = etl(place, "run", "p.yaml", "--log-format", "json")
        (line,) = map(json.loads, done.stderr.splitlines())
        assert (done.returncode, line["event"], line["level"]) == (2, "message", "error")
        assert f"process {run.pid} on " in line["message"]


def test_after_kill_9_the_next_run_begins_at_once_and_goes_on(place: Any) -> None:
    with Background(place, "run", "p.yaml") as run:
        run.until((place.path / "reached").exists, "a row at the gate")
        run.kill()
        seen = [row["n"] for row in rows_in(run.out)]
    (place.path / "open").touch()
    code, out, _ = place.run("p.yaml")
    assert code == 0
    assert sorted({*seen, *(json.loads(line)["n"] for line in out.splitlines())}) == [0, 1, 2, 3, 4]


def test_a_process_that_a_stage_left_behind_keeps_nobody_away(place: Any) -> None:
    place.write("p.yaml", pipeline("forks", rows=1))
    try:
        with Background(place, "run", "p.yaml", start_new_session=True) as run:
            run.until((place.path / "reached").exists, "the fork")
            run.kill()
            place.write("p.yaml", pipeline("gate", rows=1))
            assert place.run("p.yaml")[0] == 0
            os.killpg(run.pid, 0)  # it is still there
    finally:
        (place.path / "end").touch()


# -- a state that cannot be used --------------------------------------------------------------------------------------


def damaged(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[100:] = os.urandom(len(content) - 100)
    file.write_bytes(content)


def newer(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def foreign(file: Path) -> None:
    file.unlink()
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE notes (text)")
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (damaged, "is damaged"),
        (newer, "has version 99, this etlcore reads up to"),
        (foreign, "is a database, but not an etlcore state file"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_state_file_that_cannot_be_read(place: Any, spoil: Callable[[Path], None], message: str) -> None:
    (place.path / "open").touch()
    place.run("p.yaml")
    file = place.path / ".etl" / "state.db"
    kept = file.read_bytes()
    spoil(file)
    spoiled = file.read_bytes()
    for verb in (
        ["run"],
        ["dead", "list"],
        ["dead", "replay"],
        ["state", "show"],
        ["state", "reset", "--to", "end", "-y"],
    ):
        done = etl(place, *verb, "p.yaml")
        assert (done.returncode, done.stdout) == (2, ""), verb
        assert message in done.stderr
        assert ".etl/state.db" in done.stderr
        assert "Traceback" not in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert file.read_bytes() == spoiled, "nothing is written to it"
    file.write_bytes(kept)
    assert shown(place)["positions"][0]["position"] == 5


def full(place: Any, *arguments: str, room: int) -> subprocess.CompletedProcess[str]:
    """`etl ARGUMENTS…` with its state directory on a disk of ``room`` kilobytes, which it leaves in `kept`."""
    script = """
        mkdir -p disk kept && mount -t tmpfs -o size="$1"k none disk && cp -a kept/. disk/ && shift
        "$@"; code=$?
        rm -rf kept && cp -a disk kept  # a log of an earlier state must not stay beside the file
        exit $code
    """
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", str(room), str(place.etl), *arguments, "--state", "disk"],
        cwd=place.path,
        env=place.env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def _may_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
    return tried.returncode == 0


mounts = pytest.mark.skipif(not _may_mount(), reason="no small disk can be mounted here")


@mounts
@pytest.mark.parametrize("room", [4, 8, 16, 40])
def test_no_room_to_begin_with(place: Any, room: int) -> None:
    (place.path / "open").touch()
    done = full(place, "run", "p.yaml", room=room)
    assert (done.returncode, done.stdout) == (2, ""), "nothing was read"
    assert "has no room left" in done.stderr
    assert "free some space on its disk and start again" in done.stderr
    assert "Traceback" not in done.stderr


@mounts
def test_the_disk_is_full_in_the_middle_and_nothing_is_lost(place: Any) -> None:
    """Dead letters of 2 kB each fill the disk: the run stops, and what it wrote and what the next one reads is all."""
    place.write("p.yaml", pipeline("refuse", rows=300))
    done = full(place, "run", "p.yaml", room=400)
    assert done.returncode == 1, done.stderr
    assert "has no room left" in done.stderr
    assert "cause: stage work, in write dead letters" in done.stderr
    assert "free some space on its disk and start again: nothing is lost" in done.stderr
    assert "Traceback" not in done.stderr
    done = full(place, "run", "p.yaml", room=20_000)
    assert done.returncode == 0, done.stderr
    found = etl(place, "dead", "list", "--state", "kept", "--json").stdout.splitlines()
    assert {json.loads(line)["row"]["n"] for line in found} == set(range(300))


def test_a_file_that_may_not_grow_is_told_as_well(place: Any) -> None:
    """The same where a quota stands in the way, not the disk."""
    place.write("p.yaml", pipeline("refuse", rows=300))

    def quota() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    done = etl(place, "run", "p.yaml", "--timeout", "4", preexec_fn=quota)
    assert done.returncode == 1, done.stderr
    assert "draining: waiting for in (1 worker busy, in commit); " in done.stderr, "and not for the stage that failed"
    assert "start again: nothing is lost" in done.stderr
    assert "Traceback" not in done.stderr
    assert place.run("p.yaml")[0] == 0
    assert {letter.row["n"] for letter in letters(place)} == set(range(300))


@mounts
def test_a_disk_that_is_read_only(place: Any) -> None:
    (place.path / "open").touch()
    assert place.run("p.yaml")[0] == 0
    script = 'mount --bind .etl .etl && mount -o remount,bind,ro .etl && "$@"'

    def read_only(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["unshare", "-rm", "sh", "-c", script, "sh", str(place.etl), *arguments, "p.yaml"]
        return subprocess.run(command, cwd=place.path, env=place.env, capture_output=True, text=True, timeout=PATIENCE)

    for verb in (["run"], ["dead", "replay"], ["state", "reset", "--to", "end", "-y"]):
        done = read_only(*verb)
        assert (done.returncode, done.stdout) == (2, "")
        assert ".etl" in done.stderr
        assert "choose another" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_lock_file_that_cannot_be_made(place: Any) -> None:
    (place.path / ".etl").mkdir()
    lock_file(place.path / ".etl", "p").mkdir()
    done = etl(place, "run", "p.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the lock file .etl/p-" in done.stderr
    assert "or choose another state directory" in done.stderr


# -- secrets ----------------------------------------------------------------------------------------------------------


def test_a_secret_is_not_in_what_is_kept(place: Any, site: Any) -> None:
    site.install(
        "keyed",
        "1.0",
        {"keyed": "keyed"},
        {
            "keyed.py": """
            from pydantic import BaseModel, SecretStr
            from etlcore import Component, RowTransform, hookimpl

            @hookimpl
            def etl_components():
                yield Component("keyed", "transform", "keyed:Keyed")

            class Keyed(RowTransform):
                class Config(BaseModel):
                    key: SecretStr

                def map(self, row):
                    raise ValueError("refused with " + self.config.key.get_secret_value())
            """
        },
    )
    place.env |= {"PYTHONPATH": str(site.path), "KEY": "open-sesame"}
    text = pipeline("gate").replace('python, with: {call: "stages.py:gate"}', "keyed, with: {key: '${KEY}'}")
    place.write("p.yaml", text.replace("}}\n      out", "}, on_error: dead_letter}\n      out"))
    code, _, err = place.run("p.yaml")
    assert code == 0, err
    shown = etl(place, "dead", "list", "--json").stdout
    assert "refused with ********" in shown
    assert "open-sesame" not in shown
    for file in (place.path / ".etl").iterdir():
        assert b"open-sesame" not in file.read_bytes()
