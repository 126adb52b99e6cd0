"""Single disasters, each on purpose: a full disk, a sink that is down for long, a crash between two commits."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from etlcore_sls.emulator import Emulator

from tests.chaos.scene import HERE, install
from tests.e2e.support import PATIENCE, EtlRun, Store, counted, ids_in, until

MEGABYTE = 1024 * 1024


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Emulator() as emulator:
        store = Store(emulator, tmp_path)
        shutil.copy(HERE / "stages.py", tmp_path / "stages.py")
        yield store
        emulator.control.clear_faults()
        store.close()


# --- exactly once ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sink", ["chaos.exact, with: {path: out.db}", "sqlite, with: {path: out.db, table: delivered}"]
)
def test_what_a_transactional_sink_has_is_not_read_again_though_its_commit_never_reached_the_service(
    store: Store, sink: str
) -> None:
    store.create(2).put(100, per_group=5)
    file = store.pipeline(
        f"""
        name: exact
        commit: {{interval: 20ms}}
        stages:
          logs: {store.source(until="${UNTIL:-never}")}
          out: {{sink: {sink}}}
        """
    )
    environ = install(store.directory / "site")
    store.control.fault("error", "update_checkpoint", status=503, code="ServerBusy")
    run = store.run(file, "killed", environ=environ)
    run.until(lambda: _in(store.directory / "out.db") == store.ids(), "all rows in the sink")
    run.kill()
    assert store.committed() == []
    store.control.clear_faults()
    store.put(10, per_group=5)
    store.run(file, "last", environ={**environ, "UNTIL": "end"}).ended(0)
    assert _in(store.directory / "out.db") == store.ids(), "each once"
    assert store.committed() == store.ids()


def _in(file: Path) -> list[int]:
    if not file.exists():
        return []
    with contextlib.closing(sqlite3.connect(file, timeout=60)) as db:
        try:
            return sorted(int(number) for (number,) in db.execute("SELECT id FROM delivered"))
        except sqlite3.OperationalError:  # the table is not made yet
            return []


# --- a sink that is down ---------------------------------------------------------------------------------------------


def test_a_sink_that_is_down_for_longer_than_every_retry_costs_a_pause_and_neither_rows_nor_memory(
    store: Store,
) -> None:
    rows, queue, down, file = 20_000, 200, store.directory / "down", store.directory / "out.jsonl"
    policy = {"retries": 2, "wait": "5ms", "longest_wait": "50ms", "breaker": 4, "then": "dead_letter"}
    call = {"call": "stages.py:deliver", "per": "batch", "options": {"file": str(file), "down": str(down)}}
    text = store.pipeline(
        f"""
        name: down
        defaults: {{queue: {queue}, batch: 50}}
        stages:
          logs: {store.source(until="end", fetch_groups=2, fetch_bytes=1024 * 1024)}
          way: {{transform: python, with: {{call: "stages.py:step", options: {{name: way, does: pass}}}}}}
          out: {json.dumps({"sink": "python", "with": call, "on_error": policy})}
        """
    )
    store.create(1).put(rows, per_group=100)
    down.touch()
    run = store.run(text, "down").said("out pauses after 4 failures in a row")
    before = _memory(run)
    until(lambda: _still(store), "the source to stop reading")
    after = _memory(run)
    assert not file.exists()
    assert store.committed() == []
    assert after - before < 64 * MEGABYTE, f"{(after - before) / MEGABYTE:.0f} MB more, while the sink is down"
    down.unlink()
    run.said("out works again").ended(0)
    events = [event["event"] for event in run.report["events"] if event["stage"] == "out"]
    assert events.index("paused") < events.index("resumed")
    assert run.report["dead_letters"] == 0
    ids = ids_in(file)
    assert len(ids) == len(set(ids)), "nothing is read twice"
    assert sorted(ids) == store.ids() == store.committed()


def _still(store: Store) -> bool:
    """A second has passed without a pull, though there is more to be had."""
    before = store.control.last_event()
    time.sleep(1.0)
    return not store.control.events("pull", after=before)


def _memory(run: EtlRun) -> int:
    """Bytes of memory that the process has now."""
    [line] = [it for it in Path(f"/proc/{run.process.pid}/status").read_text().splitlines() if it.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


# --- a full disk -----------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs root, to mount a small file system")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def _fill(disk: Path, leave: int) -> Path:
    """A file that takes all the room but about so many bytes."""
    ballast = disk / "ballast"
    room = os.statvfs(disk)
    ballast.write_bytes(b"\0" * max(0, room.f_bavail * room.f_frsize - leave))
    return ballast


@pytest.mark.parametrize("full", ["sink", "state"])
def test_a_full_disk_loses_nothing_and_repeats_only_what_was_not_committed(store: Store, disk: Path, full: str) -> None:
    sink = (disk if full == "sink" else store.directory) / "out.jsonl"
    state = (disk if full == "state" else store.directory) / "state"
    stage = {"call": "stages.py:step", "options": {"name": "odd", "does": "reject", "every": 2}}
    file = store.pipeline(
        f"""
        name: full
        commit: {{interval: 50ms}}
        shutdown: {{timeout: 20s}}
        stages:
          logs: {store.source(until="${UNTIL:-never}", fetch_groups=4)}
          odd: {json.dumps({"transform": "python", "with": stage, "batch": 20})}
          out: {{sink: files, with: {{path: {sink}}}, batch: 20}}
        """
    )
    store.create(2).put(200, per_group=5)
    first = store.run(file, "first", "--state", str(state))
    first.until(lambda: store.control.events("group_created") and store.committed() == store.ids(), "a first commit")
    ballast = _fill(disk, 8192)
    store.put(6000, per_group=5)
    deadline = time.monotonic() + PATIENCE
    while first.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert first.process.returncode in (1, 3), first.stderr
    assert "No space left" in first.stderr or "full" in first.stderr, first.stderr
    assert "Traceback" not in first.stderr
    committed = set(store.committed())
    assert committed <= set(ids_in(sink)) | _dead(state), "nothing is committed but what is there"
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
    store.run(file, "last", "--state", str(state), environ={"UNTIL": "end"}).ended(0)
    ids = ids_in(sink)
    assert set(ids) | _dead(state) == set(store.ids())
    assert set(ids) & _dead(state) == set()
    assert not set(counted(ids)) & committed, "what was committed is not read again"


def _dead(state: Path) -> set[int]:
    with contextlib.closing(sqlite3.connect(state / "state.db", timeout=60)) as db:
        return {int(json.loads(row)["id"]) for (row,) in db.execute("SELECT row FROM dead_letters")}
