"""Following a log with real runs: it is rotated, truncated, replaced and written to, and the runs are killed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.builtin.rotating import Writer

PATIENCE = 120  # seconds: far beyond what any of these takes

PIPELINE = """
name: followed
commit: {interval: 20ms}
stages:
  in: {source: files, with: {path: "app.log*", follow: true, poll_seconds: 0.02, rotated_seconds: 0.5}}
  out: {sink: files, with: {path: OUT}}
"""


class Runs:
    """`etl run` on one pipeline, again and again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        etl = str(Path(sys.executable).with_name("etl"))
        with open(self._directory / "messages", "ab") as messages:
            self._process = subprocess.Popen(
                [etl, "run", "p.yaml", "--quiet"], cwd=self._directory, stdout=subprocess.DEVNULL, stderr=messages
            )

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def end(self, number: int) -> int:
        """Send a signal, and wait for the end; the exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        return process.wait(timeout=PATIENCE)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        for _ in range(PATIENCE * 100):
            if condition():
                return
            assert self.running(), (self._directory / "messages").read_text()
            threading.Event().wait(0.01)
        raise AssertionError("it never came true")


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    runs = Runs(tmp_path)
    yield runs
    runs.end(signal.SIGKILL)


def delivered(directory: Path) -> set[int]:
    """The numbers of the lines in the sink's files, finished or not; a line that is not whole does not count."""
    places = [directory / "out.jsonl", *(directory / "out").rglob("*.jsonl")]
    lines = [line for file in places if file.exists() for line in file.read_bytes().split(b"\n")[:-1]]
    return {json.loads(line)["n"] for line in lines}


@pytest.mark.parametrize(("seed", "out"), [(1, "out.jsonl"), (2, "out/")])
def test_no_line_is_lost_whatever_is_done_to_the_file_and_to_the_runs(
    tmp_path: Path, runs: Runs, seed: int, out: str
) -> None:
    (tmp_path / "p.yaml").write_text(PIPELINE.replace("OUT", out))
    dice = random.Random(seed)
    writer = Writer(tmp_path, dice)
    acts = [writer.append] * 6 + [writer.rename, writer.late, writer.copytruncate, writer.compress]
    kills = 0
    while kills < 4:
        for _ in range(dice.randint(0, 4)):
            dice.choice(acts)()  # nobody runs
        runs.start()
        writer.append()
        first = len(writer.written)
        for _ in range(dice.randint(5, 15)):
            dice.choice(acts)()
        so_far = set(writer.written[: dice.randint(first, len(writer.written))] if dice.random() < 0.8 else [])
        runs.wait_for(lambda wanted=so_far: delivered(tmp_path) >= wanted)  # type: ignore[misc]
        for _ in range(dice.randint(0, 10)):
            dice.choice(acts)()
        if dice.random() < 0.5:  # what is thrown away before anybody has read it, nobody can deliver
            writer.end_line()
            runs.wait_for(lambda: delivered(tmp_path) == set(writer.written))
            dice.choice([writer.truncate, writer.replace])()
            writer.append()
        runs.end(signal.SIGKILL)
        kills += 1
    runs.start()
    writer.append()  # so that it has something to do, and is not stopped before it has begun
    writer.close()
    runs.wait_for(lambda: delivered(tmp_path) == set(writer.written))
    assert runs.end(signal.SIGTERM) == 0, (tmp_path / "messages").read_text()
    assert delivered(tmp_path) == set(writer.written)
    assert "Traceback" not in (tmp_path / "messages").read_text()


def test_one_name_is_enough_to_follow_a_file_that_is_renamed(tmp_path: Path, runs: Runs) -> None:
    """Killed before anything of it counts, and renamed while nobody runs: the next run finds it."""
    (tmp_path / "p.yaml").write_text(PIPELINE.replace("OUT", "out.jsonl").replace("app.log*", "app.log"))
    writer = Writer(tmp_path, random.Random(3))
    for _ in range(3):
        runs.start()
        writer.append()
        writer.end_line()
        runs.wait_for(lambda: delivered(tmp_path) == set(writer.written))
        runs.end(signal.SIGKILL)
        writer.append()
        writer.rename()
    runs.start()
    writer.append()
    writer.close()
    runs.wait_for(lambda: delivered(tmp_path) == set(writer.written))
    assert runs.end(signal.SIGTERM) == 0
