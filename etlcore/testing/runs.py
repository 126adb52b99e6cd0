"""Runs of a component under test: in this process, and in one of its own as `etl run` does it."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from etlcore.batch import Row
from etlcore.plugins import Component, Plugins
from etlcore.plugins.records import Kind
from etlcore.runtime.report import Report
from etlcore.runtime.run import Run
from etlcore.runtime.status import Late
from etlcore.runtime.supervisor import CHANGED, supervise
from etlcore.spec import load
from etlcore.state import StateStore

PIPELINE = "contract"
"""The name of every pipeline of the kit."""

Stages = Mapping[str, Mapping[str, Any]]
"""``stages:`` of a pipeline file, as plain data."""


class Bench(Plugins):
    """What is installed, and some classes besides, each under a name of its own."""

    def __init__(self, classes: Mapping[str, type[Any]]) -> None:
        super().__init__()
        self._classes = dict(classes)

    def names(self) -> list[str]:
        return sorted({*super().names(), *self._classes})

    def distribution(self, name: str) -> str:
        return "etlcore.testing" if name in self._classes else super().distribution(name)

    def resolve(self, name: str, kind: Kind) -> Component:
        if name in self._classes:
            return Component(name, kind, "etlcore.testing.runs:Bench")
        return super().resolve(name, kind)

    def load(self, component: Component) -> type[Any]:
        return self._classes.get(component.name) or super().load(component)


@dataclass(slots=True)
class Commands:
    """Stops a run, from whichever thread."""

    queue: SimpleQueue[str] = field(default_factory=SimpleQueue)
    told: threading.Event = field(default_factory=threading.Event)
    draining: threading.Event = field(default_factory=threading.Event)
    """Set once the run has begun to drain."""

    def stop(self) -> None:
        """As a stop signal; the second one abandons what is left."""
        self.queue.put("SIGTERM")

    def stop_and_wait(self) -> None:
        """As a stop signal, unless there was one; returns once the run drains."""
        self.stop_once()
        self.draining.wait(60)

    def stop_once(self) -> None:
        """As a stop signal, however often it is called."""
        if not self.told.is_set():
            self.told.set()
            self.stop()


class Beside:
    """Waits for something beside a run, and then ends the run; it is told when the run is over."""

    def __init__(self, wait: Callable[[threading.Event], bool], then: Callable[[], None]) -> None:
        self.result = False
        self._wait, self._then = wait, then
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go, name="contract", daemon=True)

    def _go(self) -> None:
        self.result = self._wait(self._over)
        self._then()

    def __enter__(self) -> Beside:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()


class _Patience:
    """A watcher who stops a run that does not end, and abandons it when that does not help."""

    def __init__(self, commands: Commands, seconds: float) -> None:
        self._commands = commands
        self._until = time.monotonic() + seconds
        self._told = 0
        self.gone = False

    def tick(self, run: Run) -> None:
        if time.monotonic() > self._until and self._told < 2:
            self.gone = True
            self._told = 2
            self._commands.stop()
            self._commands.stop()

    def stopping(self, run: Run, timeout: float | None) -> None:
        self._commands.draining.set()

    def late(self, run: Run, late: Late, left: float) -> None: ...
    def abandoning(self, run: Run) -> None: ...


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended."""

    report: Report
    timed_out: bool
    """It had to be stopped, because it did not end by itself."""

    @property
    def trouble(self) -> str:
        """What went wrong in the run, in words; empty when nothing did."""
        lines = [f"{t.stage} failed in {t.during}: {t.error}" for t in self.report.failures]
        for stuck in self.report.stuck:
            stack = "".join(stuck.stack[-3:]).rstrip()
            lines.append(f"{stuck.stage} did not come back from {stuck.doing}:\n{stack}")
        if not lines and (self.timed_out or self.report.abandoned_because):
            lines.append("the run did not come to its end")
        lines += self.report.balance.faults
        return "\n".join(lines)


def write_pipeline(directory: Path, stages: Stages, *, timeout: float) -> Path:
    """A pipeline file; JSON is YAML, too. What is in the options stands for itself, also ``${…}``."""
    text = json.dumps(
        {
            "name": PIPELINE,
            "stages": stages,
            "shutdown": {"timeout": f"{timeout:g}s"},
            "commit": {"interval": "10ms"},
        },
        default=str,
        indent=1,
    )
    file = directory / "contract.yaml"
    file.write_text(text.replace("${", "$${"), encoding="utf-8")
    return file


def run_here(
    directory: Path,
    stages: Stages,
    classes: Mapping[str, type[Any]],
    state: Path,
    *,
    commands: Commands | None = None,
    patience: float,
) -> Ended:
    """Run a pipeline to its end in this process, by the real runtime. Raises SpecError when an option is wrong."""
    given = Commands() if commands is None else commands
    pipeline = load(write_pipeline(directory, stages, timeout=patience), plugins=Bench(classes))
    watcher = _Patience(given, patience)
    with StateStore(state) as store:
        run = Run(pipeline, store, changed=lambda: given.queue.put(CHANGED))
        report = supervise(run, given.queue, watcher)
    return Ended(report, watcher.gone)


@dataclass(frozen=True, slots=True)
class ChildFault:
    """A `faults.Fault` that ends the process, as data."""

    method: str
    number: int
    moment: str
    part: float = 0.0


@dataclass(frozen=True, slots=True)
class Job:
    """What a process is to run; it goes there in a file."""

    component: str | tuple[str, str, str]
    """A name, or (module, qualified name, file) of a class."""
    kind: Kind
    name: str
    """What the pipeline file calls the component."""
    file: Path
    state: Path
    journal: Path
    fault: ChildFault | None
    key: str | None
    """The column that the journal notes of the rows of a batch; None: no rows."""
    rows: list[list[Row]]
    """What the feed gives."""
    lockstep: bool
    out: Path
    """Where the sink at the end appends to."""


@dataclass(frozen=True, slots=True)
class Killed:
    """How a process ended."""

    code: int
    """Its exit code; -9 when it was killed."""
    journal: list[dict[str, Any]]
    stderr: str


def reference(cls: type[Any]) -> tuple[str, str, str]:
    """Where a class is, so that another process can import it. Raises ValueError for one made inside a function."""
    if "<locals>" in cls.__qualname__:
        raise ValueError(f"{cls.__qualname__} is made in a function: put it at the top of a module")
    module = sys.modules[cls.__module__]
    return cls.__module__, cls.__qualname__, str(getattr(module, "__file__", ""))


def run_process(job: Job, *, patience: float) -> Killed:
    """Run a job in a process of its own, to its end. Raises TimeoutError when it has none."""
    order = job.file.with_suffix(".job")
    order.write_bytes(pickle.dumps(job))
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "etlcore.testing.process", str(order)],
        cwd=job.file.parent,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _, stderr = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        _, stderr = process.communicate()
        raise TimeoutError(
            f"the process did not end within {patience:g} s:\n{stderr.decode(errors='replace')}"
        ) from None
    lines = job.journal.read_text().splitlines() if job.journal.exists() else []
    return Killed(process.returncode, [json.loads(line) for line in lines], stderr.decode(errors="replace"))
