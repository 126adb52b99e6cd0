"""One run at a time: who holds the lock is named, and the system gives it back, whatever becomes of the holder."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etlcore.state import AlreadyRunning, StateError, hold, holder_of
from etlcore.state.lock import lock_file

PATIENCE = 120.0

# Says what became of it, and keeps the lock until its standard input ends.
HOLD = """
import sys
from pathlib import Path
from etlcore.state import AlreadyRunning, hold
sys.stdin.readline()
try:
    lock = hold(Path(sys.argv[1]), sys.argv[2], "run")
except AlreadyRunning as error:
    print("refused", error, flush=True)
else:
    lock.note_run("r1")
    print("held", flush=True)
    sys.stdin.read()
"""


class Other:
    """Another process that wants the lock."""

    def __init__(self, directory: Path, pipeline: str = "p", code: str = HOLD) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(directory), pipeline],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def go(self) -> Other:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        self.process.stdout.close()


@pytest.fixture
def other(tmp_path: Path) -> Any:
    """Start other processes; they are killed at the end of the test."""
    started: list[Other] = []

    def start(directory: Path = tmp_path, **about: Any) -> Other:
        started.append(Other(directory, **about))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.end()


def test_a_second_one_is_told_who_holds_it(tmp_path: Path, other: Callable[..., Other]) -> None:
    first = other().go()
    assert first.line() == "held\n"
    with pytest.raises(AlreadyRunning) as refused:
        hold(tmp_path, "p", "run")
    assert refused.value.holder is not None
    assert (refused.value.holder.pid, refused.value.holder.run) == (first.process.pid, "r1")
    text = str(refused.value)
    assert f"the pipeline p is in use with the state directory {tmp_path}, by run r1, process " in text
    assert f"stop it first (kill {first.process.pid}), or give this run a state directory of its own: --state" in text
    with pytest.raises(AlreadyRunning) as refused:
        hold(tmp_path, "p", "replay")
    assert str(refused.value).endswith(f"stop it first (kill {first.process.pid})")
    first.end()
    hold(tmp_path, "p", "run").release()


def test_of_many_at_once_one_gets_it(other: Callable[..., Other]) -> None:
    others = [other() for _ in range(8)]
    for one in others:
        one.go()
    said = [one.line() for one in others]
    assert sorted(line.split()[0] for line in said) == ["held"] + ["refused"] * 7
    holder = others[said.index("held\n")]
    for line in said:
        if line != "held\n":
            assert f"process {holder.process.pid} on " in line


def test_kill_9_gives_it_back_and_leaves_no_holder(tmp_path: Path, other: Callable[..., Other]) -> None:
    first = other().go()
    assert first.line() == "held\n"
    found = holder_of(tmp_path, "p")
    assert found is not None
    assert found.pid == first.process.pid
    first.process.kill()
    first.process.wait(PATIENCE)
    assert holder_of(tmp_path, "p") is None, "what is written there is of a process that is gone"
    with hold(tmp_path, "p", "run"):
        found = holder_of(tmp_path, "p")
        assert found is not None
        assert found.pid == os.getpid()
    assert holder_of(tmp_path, "p") is None


FORKS = """
import os, sys, time
from pathlib import Path
from etlcore.state import hold
sys.stdin.readline()
lock = hold(Path(sys.argv[1]), sys.argv[2], "run")
child = os.fork()
if child == 0:
    os.setsid()
    os.close(1)
    while not (Path(sys.argv[1]) / "end").exists():
        time.sleep(0.01)
    os._exit(0)
print(child, flush=True)
sys.stdin.read()
"""


def test_a_process_that_a_stage_has_forked_does_not_keep_it(tmp_path: Path, other: Callable[..., Other]) -> None:
    first = other(code=FORKS).go()
    child = int(first.line())
    first.process.send_signal(signal.SIGKILL)
    first.process.wait(PATIENCE)
    try:
        os.kill(child, 0)  # it lives
        with hold(tmp_path, "p", "run"):
            pass
    finally:
        (tmp_path / "end").touch()


def test_pipelines_and_directories_are_locked_apart(tmp_path: Path) -> None:
    with (
        hold(tmp_path, "p", "run"),
        hold(tmp_path, "P", "run"),
        hold(tmp_path, "p.q", "run"),
        hold(tmp_path, "p q", "run"),
        hold(tmp_path / "other", "p", "run"),
    ):
        assert holder_of(tmp_path, "q") is None
    assert len({lock_file(tmp_path, name).name.casefold() for name in ("p", "P", "p.q", "p q", "p-q")}) == 5


def test_a_name_that_is_long_and_chinese_makes_a_file(tmp_path: Path) -> None:
    name = "日志" * 50
    with hold(tmp_path, name, "run"):
        found = holder_of(tmp_path, name)
        assert found is not None
        assert found.pipeline == name


def test_one_process_has_it_once(tmp_path: Path) -> None:
    with hold(tmp_path, "p", "run"), pytest.raises(AlreadyRunning):
        hold(tmp_path, "p", "run")
    with hold(tmp_path, "p", "run"):
        pass


def test_the_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    directory = tmp_path / "a" / ".etl"
    with hold(directory, "p", "run"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert stat.S_IMODE(lock_file(directory, "p").stat().st_mode) == 0o600
        assert (directory / ".gitignore").read_text() == "*\n"


def test_looking_makes_nothing_and_keeps_nobody_away(tmp_path: Path) -> None:
    directory = tmp_path / ".etl"
    assert holder_of(directory, "p") is None
    assert not directory.exists()
    hold(directory, "p", "run").release()
    assert holder_of(directory, "p") is None
    hold(directory, "p", "run").release()


def test_somebody_who_merely_looks_is_waited_for(tmp_path: Path) -> None:
    """The lock is taken for a moment to see whether a killed holder has it: a run that begins then must not fail."""
    path = lock_file(tmp_path, "p")
    path.write_text(json.dumps({"pipeline": "p", "what": "run", "pid": 1, "host": "gone", "started": "2024-01-01"}))
    path.write_text("")
    looking = os.open(path, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    waiting = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), "p"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert waiting.stdin is not None
    waiting.stdin.write("\n")
    waiting.stdin.flush()
    until = time.monotonic() + PATIENCE
    while str(path) not in _open_files(waiting.pid):  # it has opened the file, and so is about to try
        assert time.monotonic() < until
        time.sleep(0.001)
    os.close(looking)
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "held\n"
    waiting.communicate()


def _open_files(pid: int) -> list[str]:
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
        except OSError:
            continue
    return found


def test_a_holder_that_says_nothing_is_still_a_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etlcore.state.lock._PATIENCE", 0.1)
    path = lock_file(tmp_path, "p")
    with open(path, "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(AlreadyRunning, match="by another process: wait until it has ended"):
            hold(tmp_path, "p", "run")


def test_a_holder_on_another_host_is_named_with_it(tmp_path: Path) -> None:
    path = lock_file(tmp_path, "p")
    with open(path, "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        about = {"pipeline": "p", "what": "run", "pid": 2**30, "host": "far", "started": "2024-05-01T08:00:00+00:00"}
        stream.write(json.dumps(about))
        stream.flush()
        with pytest.raises(
            AlreadyRunning, match=r"process 1073741824 on far, since 2024-.*: stop it first, on far, or"
        ):
            hold(tmp_path, "p", "run")


def test_a_directory_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match=r"the state directory .*file/\.etl cannot be made \(.*\): make it"):
        hold(tmp_path / "file" / ".etl", "p", "run")
    lock_file(tmp_path, "p").mkdir()
    with pytest.raises(StateError, match=r"the lock file .* cannot be made \(Is a directory\)"):
        hold(tmp_path, "p", "run")


def test_a_file_system_without_locks_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with caplog.at_level(logging.WARNING), hold(tmp_path, "p", "run") as lock:
        lock.note_run("r")
    assert "its file system has no locks, so nothing keeps a second run of p away" in caplog.text
