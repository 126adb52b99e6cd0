"""The official `ConsumerWorker` and our source side by side: one emulator, one logstore, a consumer group for each.

`Bench.official` runs the client as it is published, with the emulator as its HTTP proxy; `Bench.ours` runs a pipeline
of the source `sls` and one sink in the real runtime. Both hand each row, the text in its field ``n``, to a function of
the test, which may raise or wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from aliyun.log import LogClient
from aliyun.log.consumer import ConsumerProcessorBase, ConsumerWorker, CursorPosition, LogHubConfig
from etlcore_sls.config import SlsConfig
from etlcore_sls.emulator import Emulator
from etlcore_sls.source import SlsSource

from etlcore import Batch, Sink
from etlcore.runtime.report import Report
from etlcore.runtime.run import Run
from etlcore.runtime.supervisor import CHANGED, supervise
from etlcore.spec.model import Input, OnError, Pipeline, Stage, Take
from etlcore.state import StateStore

PROJECT, LOGSTORE = "demo", "logs"
OFFICIAL, OURS = "official", "etlcore"  # the two groups
TIMEOUT = 60  # seconds after which either group gives a consumer up; only the emulator's clock ever comes so far
PATIENCE = 60.0  # seconds that a test waits for what must happen, on however slow a machine

Handle = Callable[[list[str]], None]
"""What is done with the rows of one batch."""


class Seen:
    """The rows that were handled, in order; ``handle`` is done first, and what it raises leaves its rows out."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._changed = threading.Condition()
        self.rows: list[str] = []

    def batch(self, rows: list[str]) -> None:
        self._handle(rows)
        with self._changed:
            self.rows += rows
            self._changed.notify_all()

    def until(self, rows: Iterable[str]) -> None:
        """Wait until each of these has been handled."""
        wanted = set(rows)
        with self._changed:
            assert self._changed.wait_for(lambda: wanted <= set(self.rows), PATIENCE), f"only {self.rows}"


class Official(Seen):
    """One official consumer, and its processor. It commits each batch that was handled, unless told otherwise."""

    def __init__(
        self, config: LogHubConfig, handle: Handle, processor: Callable[[Official], Callable[[], Any]] | None
    ) -> None:
        super().__init__(handle)
        config.consumer_group_time_out = TIMEOUT
        self.worker = ConsumerWorker((processor or _committing)(self), config)
        self.worker.daemon = True

    def start(self) -> Official:
        self.worker.start()
        return self

    def ended(self) -> Official:
        """Wait for the end of the worker's thread, whatever it ended of."""
        self.worker.join(PATIENCE)
        assert not self.worker.is_alive(), "the official worker does not end"
        return self

    def stop(self) -> Official:
        self.worker.shutdown()
        return self.ended()

    def clean_up(self) -> None:
        if self.worker.ident is not None:
            self.stop()
            if self.worker.heart_beat.ident is not None:
                self.worker.heart_beat.join(PATIENCE)
        self.worker.executor.shutdown()


def numbers(log_groups: Any) -> list[str]:
    """The field ``n`` of each log that a processor is given."""
    return [content.Value for group in log_groups.LogGroups for log in group.Logs for content in log.Contents]


def _committing(official: Official) -> Callable[[], Any]:
    class Processor(ConsumerProcessorBase):  # type: ignore[misc]
        def process(self, log_groups: Any, check_point_tracker: Any) -> None:
            official.batch(numbers(log_groups))
            self.save_checkpoint(check_point_tracker, force=True)

    return Processor


class _Nobody:
    def tick(self, run: Run) -> None: ...
    def stopping(self, run: Run, timeout: float | None) -> None: ...
    def late(self, run: Run, late: object, left: float) -> None: ...


class Ours(Seen):
    """A run of the pipeline ``logs`` (our source) and ``out`` (a sink that handles the rows)."""

    def __init__(
        self,
        config: SlsConfig,
        directory: Path,
        handle: Handle,
        sink: type[Sink] | None,
        on_error: OnError,
        timeout: float,
    ) -> None:
        super().__init__(handle)
        seen = self

        class Handles(Sink):
            def write(self, batch: Batch) -> None:
                seen.batch([row["n"] for row in batch.rows])

        self._commands: SimpleQueue[str] = SimpleQueue()
        self._store = StateStore(directory)
        logs = Stage("logs", "source", "sls", SlsSource, config)
        out = Stage(
            *("out", "sink", "test", sink or Handles, None, (Input("logs"),)), take=Take(rows=1), on_error=on_error
        )
        pipeline = Pipeline("ours", (logs, out), Path("."), shutdown_timeout=timeout, commit_interval=0.05)
        self.run = Run(pipeline, self._store, changed=lambda: self._commands.put(CHANGED))
        self._report: Report | None = None
        self._thread = threading.Thread(target=self._live, name="ours", daemon=True)

    def _live(self) -> None:
        self._report = supervise(self.run, self._commands, _Nobody())

    def start(self) -> Ours:
        self._thread.start()
        return self

    def tell_to_stop(self) -> Ours:
        self._commands.put("SIGTERM")
        deadline = time.monotonic() + PATIENCE
        while not self.run.stopping.is_set():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return self

    def ended(self) -> Report:
        self._thread.join(PATIENCE)
        assert self._report is not None, "the run does not end"
        assert self._report.balance.holds, self._report.balance
        return self._report

    def stop(self) -> Report:
        return self.tell_to_stop().ended()

    def clean_up(self) -> None:
        if self._thread.ident is not None:
            self._commands.put("SIGTERM")
            self._commands.put("SIGTERM")
            self._thread.join(PATIENCE)
        self._store.close()


class Bench:
    """The emulator, its logstore, and both parties."""

    def __init__(self, emulator: Emulator, directory: Path) -> None:
        self.emulator = emulator
        self.control = emulator.control
        self.client = LogClient(emulator.endpoint, emulator.key.access_key_id, emulator.key.secret)
        self.client._isRowIp = True
        self._directory = directory
        self._parties: list[Official | Ours] = []

    def create(self, shards: int = 1) -> None:
        self.control.create(PROJECT, LOGSTORE, shards=shards)

    def put(self, rows: range, shard: int = 0) -> list[str]:
        """Put rows, one to a log group; their texts."""
        self.control.put(PROJECT, LOGSTORE, [{"n": str(n)} for n in rows], shard=shard, rows_per_group=1)
        return [str(n) for n in rows]

    def official(
        self,
        handle: Handle = lambda rows: None,
        name: str = "a",
        *,
        processor: Callable[[Official], Callable[[], Any]] | None = None,
        **options: Any,
    ) -> Official:
        """An official consumer, not started yet; ``processor(official)`` makes processors of another kind."""
        key = self.emulator.key
        given = {"data_fetch_interval": 0.1, "heartbeat_interval": 1, "max_fetch_log_group_size": 1000, **options}
        config = LogHubConfig(
            *("http://cn-emulator.log.aliyuncs.com", key.access_key_id, key.secret),
            *(PROJECT, LOGSTORE, OFFICIAL, name, CursorPosition.BEGIN_CURSOR),
            **given,
        )
        party = Official(config, handle, processor)
        self._parties.append(party)
        return party

    def ours(
        self,
        handle: Handle = lambda rows: None,
        name: str = "a",
        *,
        sink: type[Sink] | None = None,
        retries: int = 1000,
        timeout: float = 30.0,
        **options: Any,
    ) -> Ours:
        """A run of ours, not started yet; a row that fails is tried again so many times."""
        key = self.emulator.key
        given = {
            "endpoint": self.emulator.endpoint,
            "access_key_id": key.access_key_id,
            "access_key_secret": key.secret,
            "project": PROJECT,
            "logstore": LOGSTORE,
            "consumer_group": OURS,
            "consumer": name,
            "group_timeout_seconds": TIMEOUT,
            "heartbeat_seconds": 0.2,
            "poll_seconds": 0.1,
            **options,
        }
        on_error = OnError("stop", retries=retries, wait=0.01, longest_wait=0.05)
        directory = self._directory / f"state-{len(self._parties)}"
        party = Ours(SlsConfig.model_validate(given), directory, handle, sink, on_error, timeout)
        self._parties.append(party)
        return party

    def checkpoint(self, group: str, shard: int = 0) -> int | None:
        """How many log groups a group has committed."""
        state = self.control.group_state(PROJECT, LOGSTORE, group)
        return next(found["checkpoint"] for found in state["shards"] if found["shard"] == shard)

    def until_checkpoint(self, group: str, value: int, shard: int = 0, **where: Any) -> None:
        where = {"group": group, "shard": shard, "value": value, "accepted": True, **where}
        self.control.wait_for("checkpoint", timeout=PATIENCE, **where)

    def beats(self, group: str, count: int = 3, name: str = "a") -> list[dict[str, Any]]:
        """Wait for so many more heartbeats of a consumer; these."""
        mark = self.control.last_event()
        where = {"group": group, "consumer": name}
        return self.control.wait_for("heartbeat", count=count, after=mark, timeout=PATIENCE, **where)

    def close(self) -> None:
        self.control.clear_faults()
        for party in self._parties:
            party.clean_up()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """For what waits in a test; opened after it."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with Emulator() as emulator:
        monkeypatch.setenv("http_proxy", emulator.endpoint)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        bench = Bench(emulator, tmp_path)
        try:
            yield bench
        finally:
            bench.close()
