"""`etl state reset` and a consumer group: its checkpoints are moved on the server, and only while nobody reads."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from .support import ETL, GROUP, LOGSTORE, PATIENCE, PROJECT, EtlRun, Store, ids_in


@pytest.fixture
def filled(store: Store) -> Store:
    """Two shards, twenty log groups each."""
    store.create(2).put(200, per_group=5)
    return store


def _pipeline(store: Store, name: str = "p", **options: Any) -> Path:
    return store.pipeline(
        f"""
        name: {name}
        stages:
          logs: {store.source(**options)}
          out: {{sink: files, with: {{path: "{name}.jsonl"}}}}
        """,
        name,
    )


def _read(store: Store, name: str = "p") -> list[int]:
    """What a run to the end reads now; the file begins anew for each."""
    file = store.directory / f"{name}.jsonl"
    file.unlink(missing_ok=True)
    store.run(_pipeline(store, name, until="end"), "once").ended(0)
    return sorted(ids_in(file))


def _reset(
    store: Store, *arguments: str, name: str = "p", state: str | None = None
) -> subprocess.CompletedProcess[str]:
    more = [] if state is None else ["--state", str(store.directory / state)]
    command = [str(ETL), "state", "reset", str(store.directory / f"{name}.yaml"), "--yes", *more, *arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)


def _moved(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()[-1]


def _member(store: Store, name: str, **options: Any) -> EtlRun:
    """A run of the group that goes on, with a state directory of its own."""
    run = store.run(_pipeline(store, name, **options), name, "--state", str(store.directory / f"state-{name}"))
    run.until(lambda: [event for event in store.control.events("heartbeat") if event["assigned"]], "shards of its own")
    return run


def test_to_the_beginning_and_to_the_end(filled: Store) -> None:
    assert _read(filled) == filled.ids()
    assert _read(filled) == []
    assert _moved(_reset(filled, "--to", "begin")) == "2 positions moved"
    assert filled.checkpoints() == {0: 0, 1: 0}
    assert _read(filled) == filled.ids()
    filled.put(20)
    assert _moved(_reset(filled, "--to", "end")) == "2 positions moved"
    assert _read(filled) == []
    assert _moved(_reset(filled, "--to", "end")) == "nothing to move"


def test_to_a_time_of_receipt(filled: Store) -> None:
    assert _read(filled) == filled.ids()
    filled.control.advance_clock(600)
    filled.put(20)
    between = datetime.now(UTC) + timedelta(seconds=300)
    assert _moved(_reset(filled, "--to", between.isoformat(timespec="seconds"))) == "nothing to move"
    assert len(_read(filled)) == 20
    assert _moved(_reset(filled, "--to", between.isoformat(timespec="seconds"))) == "2 positions moved"
    assert _read(filled) == list(range(200, 220))


def test_one_shard_to_a_cursor(filled: Store) -> None:
    assert _read(filled) == filled.ids()
    found = _reset(filled, "--to", "begin", "--partition", "shard 1").stdout.splitlines()
    begin, end = found[1].split()[4], found[1].split()[3]
    assert filled.checkpoints() == {0: 20, 1: 0}
    assert _moved(_reset(filled, "--to", end, "--partition", "shard 1")) == "1 position moved"
    assert _read(filled) == []
    assert _moved(_reset(filled, "--to", begin, "--partition", "shard 1")) == "1 position moved"
    assert _read(filled) == sorted(number for group in filled.groups[1] for number in group)
    for value, message in (
        ("7", "shard 1: 7 is no cursor"),
        ('"xx"', "shard 1: InvalidShardCheckPoint"),
        ("null", "shard 1: None is no cursor"),
    ):
        done = _reset(filled, "--to", value, "--partition", "shard 1")
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_a_group_that_does_not_exist_yet(filled: Store) -> None:
    _pipeline(filled)
    done = _reset(filled, "--to", "end")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "stage logs: there is no consumer group readers yet: the first run makes it, and begins where the option"
    )


def test_a_service_that_is_not_there(filled: Store) -> None:
    _pipeline(filled, endpoint="http://127.0.0.1:9")
    done = _reset(filled, "--to", "end")
    assert done.returncode == 2
    assert "stage logs: the logstore demo/logs at http://127.0.0.1:9" in done.stderr
    assert "check `endpoint`, `proxy` and the network" in done.stderr


def test_refused_while_another_reads(filled: Store) -> None:
    """Whoever it is, on whatever machine: the group counts on it, and nothing is moved under it."""
    _pipeline(filled)
    other = _member(filled, "other", group_timeout_seconds=300)
    filled.wait_for_state(lambda state: state["rows_behind"] == 0)
    before = filled.checkpoints()
    [name] = {event["consumer"] for event in filled.control.events("heartbeat")}
    after = filled.control.last_event()
    done = _reset(filled, "--to", "begin")
    assert done.returncode == 2
    assert done.stderr == (
        f"stage logs: the consumer group readers is in use, by {name}: stop it, wait 300 s until the group has given "
        "it up, and try again\n"
    )
    assert filled.checkpoints() == before
    assert not [event for event in filled.control.events("checkpoint", after=after) if event["forced"]]
    other.stop().ended(0)
    done = _reset(filled, "--to", "begin")
    assert done.returncode == 2, "the group still counts on it"
    filled.control.evict(PROJECT, LOGSTORE, GROUP, name)
    assert _moved(_reset(filled, "--to", "begin")) == "2 positions moved"
    assert _read(filled) == filled.ids()


def test_refused_while_another_reads_that_has_committed_nothing(filled: Store) -> None:
    _pipeline(filled)
    filled.pipeline(
        f"""
        name: other
        stages:
          logs: {filled.source()}
          gate: {{transform: python, with: {{call: "stages.py:gate", options: {{file: "never"}}}}}}
          out: {{sink: blackhole}}
        """,
        "other",
    )
    run = filled.run(filled.directory / "other.yaml", "other", "--state", str(filled.directory / "state-other"))
    run.until(lambda: filled.control.events("pull"), "pages")
    assert filled.checkpoints() == {0: 0, 1: 0}
    done = _reset(filled, "--to", "end")
    assert done.returncode == 2
    assert "the consumer group readers is in use, by " in done.stderr


def test_after_kill_9_at_once_by_the_state_directory_that_knows(filled: Store) -> None:
    """The group counts on the killed one for five minutes; but its name is kept there, and nobody has it."""
    own = _member(filled, "p", group_timeout_seconds=300)
    filled.wait_for_state(lambda state: state["rows_behind"] == 0)
    done = _reset(filled, "--to", "begin", state="state-p")
    assert done.returncode == 2
    assert "the pipeline p is in use with the state directory" in done.stderr, "by the lock, before the group is asked"
    own.kill()
    done = _reset(filled, "--to", "begin", state="somewhere-else")
    assert done.returncode == 2, "nobody there knows whether it lives"
    assert _moved(_reset(filled, "--to", "begin", state="state-p")) == "2 positions moved"
    assert filled.checkpoints() == {0: 0, 1: 0}


def test_another_pipeline_that_shares_the_state_directory_is_alive(filled: Store) -> None:
    """Its name is in the same directory, but somebody has it."""
    _pipeline(filled)
    other = filled.run(_pipeline(filled, "other"), "other")
    other.until(lambda: filled.control.events("checkpoint"), "a commit")
    done = _reset(filled, "--to", "begin")
    assert done.returncode == 2
    assert "the consumer group readers is in use, by " in done.stderr
    other.stop().ended(0)
    assert _moved(_reset(filled, "--to", "begin")) == "2 positions moved"


def test_the_emulator_of_a_pipeline(tmp_path: Path) -> None:
    """`endpoint: emulator` runs while it is asked, and keeps what was moved."""
    file = tmp_path / "p.yaml"
    file.write_text(
        """
        name: p
        stages:
          logs:
            source: sls
            with: {endpoint: emulator, project: demo, logstore: nginx, consumer_group: g, until: end}
          out: {sink: files, with: {path: out.jsonl}}
        """
    )

    def run() -> int:
        done = subprocess.run([str(ETL), "run", str(file), "-q"], capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        return len((tmp_path / "out.jsonl").read_text().splitlines())

    rows = run()
    assert rows > 0
    assert run() == rows
    command = [str(ETL), "state", "reset", str(file), "--to", "begin", "-y"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert run() == 2 * rows
    shown = subprocess.run(
        [str(ETL), "state", "show", str(file), "--json"], capture_output=True, text=True, timeout=PATIENCE
    )
    (found,) = json.loads(shown.stdout)["pipelines"]
    assert found["positions"] == []
    assert set(found["runs"][0]["committed"]["logs"]["positions"]) == {f"shard {n}" for n in range(4)}
