"""Real `etl` processes, watched from outside: what they print, when they are ready, how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ETL = Path(sys.executable).with_name("etl")
PATIENCE = 120.0
"""Seconds until something that must come is given up: far beyond what it takes on a slow machine."""


def wait_until(holds: Callable[[], Any], what: str) -> Any:
    """Wait until ``holds()`` is true and return it."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found = holds()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"in {PATIENCE:g} s never: {what}")


class Running:
    """An `etl` process; its output is read all the time."""

    def __init__(self, command: list[str], *, cwd: Path, env: dict[str, str], stdout: int) -> None:
        self.process = subprocess.Popen(command, cwd=cwd, env=env, stdout=stdout, stderr=subprocess.PIPE)
        self._streams = {"out": b"", "err": b""}
        self._changed = threading.Condition()
        self._readers = [self._reader("err", self.process.stderr)]
        if self.process.stdout is not None:
            self._readers.append(self._reader("out", self.process.stdout))

    def _reader(self, name: str, stream: Any) -> threading.Thread:
        def read() -> None:
            while data := os.read(stream.fileno(), 65536):
                with self._changed:
                    self._streams[name] += data
                    self._changed.notify_all()

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread

    @property
    def out(self) -> str:
        return self._streams["out"].decode()

    @property
    def err(self) -> str:
        return self._streams["err"].decode()

    def wait_for(self, text: str, stream: str = "err") -> None:
        """Wait until the process has printed ``text``."""
        with self._changed:
            seen = self._changed.wait_for(lambda: text.encode() in self._streams[stream], PATIENCE)
        assert seen, f"never printed {text!r}:\n{self.err}"

    def send(self, *signals: signal.Signals) -> None:
        """Send one or more signals; several reach the process at once."""
        if len(signals) > 1:
            os.kill(self.process.pid, signal.SIGSTOP)
        for number in signals:
            os.kill(self.process.pid, number)
        if len(signals) > 1:
            os.kill(self.process.pid, signal.SIGCONT)

    def end(self) -> int:
        """Wait for the end and give the exit code."""
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return code


class Workplace:
    """A directory with a pipeline file and the Python files beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("ETL_", "PYTHON"))}
        self.etl = ETL
        self.started: list[Running] = []

    def write(self, name: str, text: str) -> Path:
        """A file, its text without common indentation."""
        file = self.path / name
        file.write_text(textwrap.dedent(text))
        return file

    def start(self, *arguments: str, stdout: int = subprocess.PIPE) -> Running:
        """`etl run ARGUMENTS…`, in the background."""
        running = Running([str(ETL), "run", *arguments], cwd=self.path, env=self.env, stdout=stdout)
        self.started.append(running)
        return running

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """`etl run ARGUMENTS…` to its end: exit code, standard output, standard error."""
        running = self.start(*arguments)
        return running.end(), running.out, running.err

    def wait_file(self, name: str) -> Path:
        """Wait until a stage has made a file."""
        return wait_until(lambda: (self.path / name).exists() and self.path / name, f"the file {name}")

    def json(self, name: str) -> Any:
        return json.loads((self.path / name).read_text())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workplace]:
    """A place of the test's own; what is still running there at the end is killed."""
    made = Workplace(tmp_path)
    yield made
    for running in made.started:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


GATE = """
    import pathlib, threading, time

    HERE = pathlib.Path(__file__).parent

    def pass_gate(row):
        # Row 3 (of 0, 1, 2, …) waits for the file `open`, and says with the file `reached` that it does.
        if row["n"] == 3 and not (HERE / "open").exists():
            (HERE / "reached").touch()
            wait_in_the_gate()
        return row

    def wait_in_the_gate():
        while not (HERE / "open").exists():
            time.sleep(0.01)
"""

GATED = """
    name: gated
    stages:
      numbers:
        source: generate
        with: {rows: 20, batch: 1, fields: {n: "{id}"}}
      gate:
        transform: python
        with: {call: "gate.py:pass_gate"}
        queue: {rows: 4}
        batch: {rows: 1}
      out: {sink: console}
"""


@pytest.fixture
def gated(place: Workplace) -> Workplace:
    """A pipeline of 20 numbers whose fourth is stuck until the test makes the file `open`."""
    place.write("gate.py", GATE)
    place.write("p.yaml", GATED)
    return place


def numbers(out: str) -> list[int]:
    """The column ``n`` of JSON lines."""
    return [json.loads(line)["n"] for line in out.splitlines()]


@pytest.fixture(name="numbers")
def numbers_fixture() -> Callable[[str], list[int]]:
    return numbers
