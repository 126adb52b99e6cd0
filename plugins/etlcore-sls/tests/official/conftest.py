"""The official `ConsumerWorker` and our source side by side: one emulator, one logstore, a consumer group for each.

`Bench.official` is a process with the client as it is published (`consumer.py`); `Bench.ours` is a process of
``etl run`` with the source `sls` and one sink. Both hand over each row, the text in its field ``n``, to a function of
the test (`parties.py`), which may raise or wait: so the fault is the same for both.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aliyun.log import LogClient
from etlcore_sls.emulator import Emulator

from .parties import HERE, PATIENCE, Handle, Official, Ours, Party

PROJECT, LOGSTORE = "demo", "logs"
OFFICIAL, OURS = "official", "etlcore"  # the two groups
TIMEOUT = 60  # seconds after which either group gives a consumer up; only the emulator's clock ever comes so far


def _nothing(rows: list[str]) -> None: ...


class Bench:
    """The emulator, its logstore, and both parties."""

    def __init__(self, emulator: Emulator, directory: Path) -> None:
        self.emulator = emulator
        self.control = emulator.control
        self.client = LogClient(emulator.endpoint, emulator.key.access_key_id, emulator.key.secret)
        self.client._isRowIp = True
        self.directory = directory
        self._parties: list[Party] = []

    def create(self, shards: int = 1) -> None:
        self.control.create(PROJECT, LOGSTORE, shards=shards)

    def put(self, rows: range, shard: int = 0) -> list[str]:
        """Put rows, one to a log group; their texts."""
        self.control.put(PROJECT, LOGSTORE, [{"n": str(n)} for n in rows], shard=shard, rows_per_group=1)
        return [str(n) for n in rows]

    def _directory(self) -> Path:
        return self.directory / f"party-{len(self._parties)}"

    def official(
        self, handle: Handle = _nothing, name: str = "a", *, kind: str = "commits", **options: Any
    ) -> Official:
        """An official consumer, not started yet. ``kind`` of processor: see `consumer.py`."""
        key = self.emulator.key
        given = {
            "endpoint": "http://cn-emulator.log.aliyuncs.com",  # never resolved: requests go to the proxy
            "access_key_id": key.access_key_id,
            "access_key": key.secret,
            "project": PROJECT,
            "logstore": LOGSTORE,
            "consumer_group_name": OFFICIAL,
            "consumer_name": name,
            "data_fetch_interval": 0.1,
            "heartbeat_interval": 1,
            **options,
        }
        settings = {"kind": kind, "options": given, "timeout": TIMEOUT}
        party = Official(handle, self._directory(), self.emulator.endpoint, settings)
        self._parties.append(party)
        return party

    def ours(
        self,
        handle: Handle = _nothing,
        name: str = "a",
        *,
        sink: str | None = None,
        site: Path | None = None,
        timeout: str = "10m",
        **options: Any,
    ) -> Ours:
        """A run of ours, not started yet; a batch that fails is tried again and again.

        ``sink`` is a component of a plugin in ``site``, with the option ``port``, instead of the sink `python`.
        """
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

        def pipeline(port: int) -> dict[str, Any]:
            call = {"call": f"{HERE / 'desk.py'}:deliver", "per": "batch", "options": {"port": port}}
            out = {"sink": sink, "with": {"port": port}} if sink else {"sink": "python", "with": call}
            patient = {"on_error": {"retries": 100_000, "wait": "10ms", "longest_wait": "50ms"}, "batch": 1}
            stages = {"logs": {"source": "sls", "with": given}, "out": {**out, **patient}}
            return {"shutdown": {"timeout": timeout}, "commit": {"interval": "50ms"}, "stages": stages}

        party = Ours(handle, self._directory(), pipeline, site)
        self._parties.append(party)
        return party

    def checkpoint(self, group: str, shard: int = 0) -> int | None:
        """How many log groups a group has committed."""
        state = self.control.group_state(PROJECT, LOGSTORE, group)
        return next(found["checkpoint"] for found in state["shards"] if found["shard"] == shard)

    def until_checkpoint(self, group: str, value: int, shard: int = 0, **where: Any) -> None:
        """Wait until a group has committed so many log groups."""
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
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Emulator() as emulator:
        bench = Bench(emulator, tmp_path)
        try:
            yield bench
        finally:
            bench.close()
