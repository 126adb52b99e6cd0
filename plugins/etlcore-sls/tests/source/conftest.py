"""What the source's tests have in common: a logstore on the emulator, and members of its consumer group.

A `Member` drives one source on a thread of its own, the way the runtime does: read and commit in turn, and after the
end of reading commits until all is settled. A test decides when rows are settled, and so what may be committed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from etlcore_sls.config import SlsConfig
from etlcore_sls.emulator import Emulator
from etlcore_sls.source import SlsSource

from etlcore import Batch, Position

PROJECT, LOGSTORE, GROUP = "demo", "logs", "readers"
PATIENCE = 60.0  # seconds that a test waits for what must happen, on however slow a machine


class Figures:
    """`etlcore.components.Metrics` that remembers."""

    def __init__(self) -> None:
        self.gauges: dict[tuple[str, str], float] = {}
        self.counts: dict[str, float] = {}

    def gauge(self, name: str, value: float, **labels: str) -> None:
        self.gauges[name, labels.get("partition", "")] = value

    def count(self, name: str, value: float = 1, **labels: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + value


class _Log(logging.Logger):
    """A member's own log, which remembers what was said; pytest sees it as that of ``etlcore.test``."""

    def __init__(self, member: Member) -> None:
        super().__init__("etlcore.test", logging.INFO)
        self.parent = logging.getLogger(self.name)
        self._member = member

    def handle(self, record: logging.LogRecord) -> None:
        super().handle(record)
        self._member.hear(record.getMessage())


class Member:
    """A source at work. It is also its own `etlcore.components.Context`."""

    pipeline = stage = "logs"

    def __init__(self, config: SlsConfig, directory: Path, worker: int = 0, workers: int = 1) -> None:
        self.config = config
        self.worker, self.workers = worker, workers
        self.directory = self.state_directory = directory
        self.positions: dict[str, Any] = {}
        self.columns: frozenset[str] | None = None
        self.metrics = Figures()
        self.said: list[str] = []
        self.log = _Log(self)
        self.stopping = threading.Event()
        self.settling = threading.Event()
        self.settling.set()
        self.reading = threading.Event()
        self.reading.set()
        self.abandoned = threading.Event()
        self.closed = threading.Event()
        self.changed = threading.Condition()
        self.rows: list[dict[str, Any]] = []
        self.batches: list[Batch] = []
        self.steps = 0
        self.forgotten: list[str] = []
        self.commit_errors: list[Exception] = []
        self.error: BaseException | None = None
        self.at_end = self.read_closed = False
        self._unsettled: list[Position] = []
        self._pause_at: int | None = None
        self._source = SlsSource()
        self._source.config = config
        self._source.context = self
        self._thread = threading.Thread(target=self._live, name=f"member-{worker}", daemon=True)

    # --- what a test does --------------------------------------------------------------------------------------------

    def start(self) -> Member:
        self._thread.start()
        return self

    def hold(self) -> Member:
        """From now on, what is read is not settled."""
        self.settling.clear()
        return self

    def settle(self) -> None:
        """Settle what is held, and what comes."""
        self.settling.set()

    def pause_at(self, rows: int) -> Member:
        """Read no further once there are so many rows, until ``reading`` is set."""
        self._pause_at = rows
        return self

    def stop(self) -> Member:
        self.stopping.set()
        return self

    def abandon(self) -> Member:
        """Stop, and let what is not settled be read again."""
        self.abandoned.set()
        return self.stop()

    def ended(self, error: type[BaseException] | None = None) -> Member:
        """Wait until the source is closed. Raises what the source raised, unless an ``error`` is expected."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the source did not end"
        if error is not None:
            assert isinstance(self.error, error), f"expected {error.__name__}, got {self.error!r}"
        elif self.error is not None:
            raise self.error
        return self

    def until(self, condition: Callable[[Member], bool]) -> Member:
        """Wait until something holds for this member; looked at after each of its steps."""
        with self.changed:
            held = self.changed.wait_for(lambda: condition(self) or not self._thread.is_alive(), PATIENCE)
            if not condition(self):
                if self.error is not None:
                    raise self.error
                raise AssertionError("the member ended" if held else f"waited in vain; {len(self.rows)} rows were read")
        return self

    def until_rows(self, count: int) -> Member:
        return self.until(lambda member: len(member.rows) >= count)

    def until_said(self, text: str) -> Member:
        """Wait until a line of its log holds this text."""
        return self.until(lambda member: any(text in line for line in member.said))

    def values(self, column: str = "n") -> list[str]:
        return [row[column] for row in self.rows]

    # --- what the runtime does ---------------------------------------------------------------------------------------

    def hear(self, line: str) -> None:
        """The source has written this into its log."""
        with self.changed:
            self.said.append(line)
            self.changed.notify_all()

    def claim(self, partition: str) -> bool:
        """There is no transactional sink behind this source."""
        return True

    def forget(self, partition: str) -> None:
        self.forgotten.append(partition)
        self._unsettled = [position for position in self._unsettled if position.partition != partition]

    def _live(self) -> None:
        try:
            self._source.open(self)
            self._read()
            while self._unsettled and not self.abandoned.is_set():
                self._commit()
                self._step()
                self.settling.wait(0.02)
        except BaseException as error:  # noqa: BLE001 - the test raises it
            self.error = error
        finally:
            try:
                self._source.close()
            except BaseException as error:  # noqa: BLE001
                self.error = self.error or error
            self.closed.set()
            self._step()

    def _read(self) -> None:
        reading = self._source.read()
        try:
            for batch in reading:
                if batch is not None:
                    self.batches.append(batch)
                    self.rows.extend(batch.rows)
                    self._unsettled.extend(position for _, position in batch.marks)
                self._commit()
                if self._pause_at is not None and len(self.rows) >= self._pause_at:
                    self._pause_at = None
                    self.reading.clear()
                self._step()
                while not (self.reading.wait(0.02) or self.stopping.is_set()):
                    self._commit()
                    self._step()
                if self.stopping.is_set():
                    break
            else:
                self.at_end = True
        finally:
            reading.close()
            self.read_closed = True

    def _commit(self) -> None:
        if not self.settling.is_set() or not self._unsettled:
            return
        advanced = {position.partition: position.value for position in self._unsettled}
        try:
            self._source.commit(advanced)
        except Exception as error:  # noqa: BLE001 - as the runtime: tried again at the next step
            self.commit_errors.append(error)
            return
        self._unsettled.clear()

    def _step(self) -> None:
        with self.changed:
            self.steps += 1
            self.changed.notify_all()


class Store:
    """An emulator with one logstore, whose logs are numbered in a field ``n``."""

    def __init__(self, emulator: Emulator, directory: Path) -> None:
        self.emulator = emulator
        self.control = emulator.control
        self.directory = directory
        self.members: list[Member] = []

    def create(self, shards: int) -> Store:
        self.control.create(PROJECT, LOGSTORE, shards=shards)
        return self

    def put(self, shard: int, numbers: range, per_group: int = 10, **fields: Any) -> None:
        rows = [{"n": str(number)} for number in numbers]
        self.control.put(PROJECT, LOGSTORE, rows, shard=shard, rows_per_group=per_group, **fields)

    def config(self, **options: Any) -> SlsConfig:
        given = {
            "endpoint": self.emulator.endpoint,
            "project": PROJECT,
            "logstore": LOGSTORE,
            "consumer_group": GROUP,
            "access_key_id": self.emulator.key.access_key_id,
            "access_key_secret": self.emulator.key.secret,
            "poll_seconds": 0.05,
            "heartbeat_seconds": 0.1,
            **options,
        }
        return SlsConfig.model_validate({name: value for name, value in given.items() if value is not None})

    def member(self, worker: int = 0, workers: int = 1, directory: str = "state", **options: Any) -> Member:
        """A member that is not started yet."""
        member = Member(self.config(**options), self.directory / directory, worker, workers)
        self.members.append(member)
        return member

    def sdk(self) -> Any:
        """The official client, for what only it can do here."""
        from aliyun.log import LogClient

        client = LogClient(self.emulator.endpoint, self.emulator.key.access_key_id, self.emulator.key.secret)
        client._isRowIp = True
        return client

    def names(self) -> list[str]:
        """The consumers that were heard of, in order of appearance."""
        return list(dict.fromkeys(event["consumer"] for event in self.control.events("heartbeat")))

    def after_beats(self, count: int, **where: Any) -> list[dict[str, Any]]:
        """Wait for so many more heartbeats; these."""
        return list(
            self.control.wait_for("heartbeat", count=count, after=self.control.last_event(), timeout=PATIENCE, **where)
        )

    def hits(self, fault: int, count: int = 1) -> None:
        """Wait until so many requests have run into a fault."""
        self.control.wait_for("fault", fault=fault, count=count, timeout=PATIENCE)

    def one_ended(self, *members: Member) -> None:
        """Wait until at least one of these has ended."""
        deadline = time.monotonic() + PATIENCE
        while not any(member.closed.wait(0.05) for member in members):
            assert time.monotonic() < deadline, "none of the members ended"

    def state(self) -> dict[str, Any]:
        return dict(self.control.group_state(PROJECT, LOGSTORE, GROUP))

    def checkpoints(self) -> dict[int, int | None]:
        """How many log groups of each shard are committed; None where there is no checkpoint."""
        return {shard["shard"]: shard["checkpoint"] for shard in self.state()["shards"]}

    def owners(self) -> dict[int, str]:
        return {shard["shard"]: shard["owner"] for shard in self.state()["shards"]}

    def wait(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until something holds for the group's state."""
        self.control.wait_for("heartbeat", group=GROUP, timeout=PATIENCE)
        return dict(self.control.wait_for_state(PROJECT, LOGSTORE, GROUP, condition, timeout=PATIENCE))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store without a logstore: the test says how many shards. All members are ended after the test."""
    with Emulator() as emulator:
        store = Store(emulator, tmp_path)
        yield store
        emulator.control.clear_faults()
        for member in store.members:
            if member._thread.ident is not None:
                member.reading.set()
                member.abandon()
                member._thread.join(PATIENCE)
