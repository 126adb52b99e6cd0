"""What the sink's tests have in common: one emulator over real HTTP for a module, a logstore of its own for each test.

What was written is read back with the unmodified official SDK.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from etlcore_sls.emulator import Emulator
from etlcore_sls.sink import SlsSink
from etlcore_sls.sink_config import SlsSinkConfig

PROJECT = "demo"
PATIENCE = 120.0  # seconds that a test waits for what must happen, on however slow a machine
_numbers = itertools.count(1)


class Figures:
    """`etlcore.components.Metrics` that remembers."""

    def __init__(self) -> None:
        self.counts: dict[str, float] = {}

    def gauge(self, name: str, value: float, **labels: str) -> None:
        raise AssertionError("the sink has no gauges")

    def count(self, name: str, value: float = 1, **labels: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + value


class Surroundings:
    """An `etlcore.components.Context`."""

    pipeline, stage, worker, workers = "p", "out", 0, 1

    def __init__(self, directory: Path) -> None:
        self.directory = self.state_directory = directory
        self.log = logging.getLogger("etlcore.test")
        self.metrics = Figures()
        self.stopping = threading.Event()
        self.positions: dict[str, Any] = {}


@dataclass(frozen=True)
class Log:
    """One log as it is stored."""

    shard: int
    group: int
    """The place of its LogGroup in the shard."""
    time: int
    time_ns: int | None
    topic: str
    source: str
    tags: dict[str, str]
    fields: dict[str, str]


class Target:
    """One logstore to write to."""

    def __init__(self, emulator: Emulator, directory: Path, shards: int = 2) -> None:
        self.emulator = emulator
        self.control = emulator.control
        self.directory = directory
        self.logstore = f"target-{next(_numbers)}"
        self.control.create(PROJECT, self.logstore, shards=shards)
        self._sinks: list[SlsSink] = []

    def config(self, **options: Any) -> SlsSinkConfig:
        given = {
            "endpoint": self.emulator.endpoint,
            "project": PROJECT,
            "logstore": self.logstore,
            "access_key_id": self.emulator.key.access_key_id,
            "access_key_secret": self.emulator.key.secret,
            **options,
        }
        return SlsSinkConfig.model_validate({name: value for name, value in given.items() if value is not None})

    def made(self, **options: Any) -> SlsSink:
        """A sink that is not open yet; it is closed after the test."""
        sink = SlsSink()
        sink.config = self.config(**options)
        sink.context = Surroundings(self.directory)
        self._sinks.append(sink)
        return sink

    def sink(self, **options: Any) -> SlsSink:
        sink = self.made(**options)
        sink.open(sink.context)
        return sink

    def fault(self, action: str, **fields: Any) -> int:
        """A fault of writing to this logstore."""
        return int(self.control.fault(action, "put_logs", logstore=self.logstore, **fields))

    def puts(self) -> list[dict[str, Any]]:
        """The writes that took effect, in order."""
        return list(self.control.events("put", logstore=self.logstore))

    def logs(self) -> list[Log]:
        """All logs, shard by shard, in the order in which they were written."""
        return list(read_back(self.emulator, self.logstore))

    def values(self, name: str = "n") -> list[str]:
        return [log.fields[name] for log in self.logs()]

    def close(self) -> None:
        self.control.clear_faults()
        for sink in self._sinks:
            sink.close()


def read_back(emulator: Emulator, logstore: str, project: str = PROJECT) -> Iterator[Log]:
    """What a logstore holds, by the official SDK."""
    from aliyun.log import LogClient

    client = LogClient(emulator.endpoint, emulator.key.access_key_id, emulator.key.secret, source="127.0.0.1")
    client._isRowIp = True
    for shard in sorted(found["shardID"] for found in client.list_shards(project, logstore).get_shards_info()):
        cursor = client.get_cursor(project, logstore, shard, "begin").get_cursor()
        end = client.get_cursor(project, logstore, shard, "end").get_cursor()
        number = itertools.count()
        while cursor != end:
            page = client.pull_logs(project, logstore, shard, cursor, 1000)
            cursor = page.get_next_cursor()
            for group in page.get_loggroup_list().LogGroups:
                yield from _logs(shard, next(number), group)


def _logs(shard: int, number: int, group: Any) -> Iterator[Log]:
    tags = {tag.Key: tag.Value for tag in group.LogTags}
    for log in group.Logs:
        fields = {content.Key: content.Value for content in log.Contents}
        assert len(fields) == len(log.Contents), "a field is there twice"
        time_ns = log.Time_ns if log.HasField("Time_ns") else None
        yield Log(shard, number, log.Time, time_ns, group.Topic, group.Source, tags, fields)


class Place:
    """A directory for runs of `etl`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / "state"
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("ETL_", "SLS_", "ALI"))}
        self._started: list[subprocess.Popen[str]] = []

    def start(self, file: Path | str, *arguments: str) -> subprocess.Popen[str]:
        """`etl run FILE`, in the background."""
        etl = Path(sys.executable).with_name("etl")
        state = ["--state", str(self.state), "--report", str(self.path / "report.json")]
        process = subprocess.Popen(
            [str(etl), "run", *state, *arguments, str(file)],
            cwd=self.path,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(process)
        return process

    def end(self, process: subprocess.Popen[str], code: int = 0) -> str:
        """Wait for the end; what the run said."""
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == code, output
        return output

    def run(self, file: Path | str, *arguments: str, code: int = 0) -> str:
        return self.end(self.start(file, *arguments), code)

    def stop(self, process: subprocess.Popen[str]) -> None:
        process.send_signal(signal.SIGTERM)

    def report(self) -> dict[str, Any]:
        return dict(json.loads((self.path / "report.json").read_text()))

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def make_target(emulator: Emulator, tmp_path: Path) -> Iterator[Callable[..., Target]]:
    made: list[Target] = []

    def make(shards: int = 2, emulator: Emulator = emulator) -> Target:
        made.append(Target(emulator, tmp_path, shards))
        return made[-1]

    yield make
    for target in made:
        target.close()


@pytest.fixture
def target(make_target: Callable[..., Target]) -> Target:
    """A logstore of two shards."""
    return make_target()


@pytest.fixture
def read_logs() -> Callable[..., Iterator[Log]]:
    """`read_back`, for a test with an emulator of its own."""
    return read_back


@pytest.fixture
def place(tmp_path: Path, emulator: Emulator) -> Iterator[Place]:
    """A place to run `etl` in, with the emulator's key in the environment."""
    place = Place(tmp_path)
    place.env["ALIBABA_CLOUD_ACCESS_KEY_ID"] = emulator.key.access_key_id
    place.env["ALIBABA_CLOUD_ACCESS_KEY_SECRET"] = emulator.key.secret
    yield place
    place.close()
