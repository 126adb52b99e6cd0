"""The source and the sink of SLS keep the plugin contract, against the emulator over real HTTP."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from etlcore_sls.emulator import Emulator

from etlcore.testing import SinkContract, SourceContract

PROJECT = "contract"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


class Logstores:
    """Gives each scene of a contract a logstore of its own."""

    emulator: Emulator

    @pytest.fixture(autouse=True)
    def _emulator(self, emulator: Emulator) -> None:
        self.emulator = emulator

    def connection(self) -> dict[str, Any]:
        logstore = f"logs-{next(_numbers)}"
        self.emulator.control.create(PROJECT, logstore, shards=2)
        return {
            "endpoint": self.emulator.endpoint,
            "project": PROJECT,
            "logstore": logstore,
            "access_key_id": self.emulator.key.access_key_id,
            "access_key_secret": self.emulator.key.secret,
        }


class TestSlsSource(Logstores, SourceContract):
    component = "sls"
    endless = True

    def options(self, directory: Path) -> dict[str, Any]:
        self.rows: list[dict[str, Any]] = []
        given = self.connection()
        self.more(given, 30)
        return {**given, "consumer_group": "etl", "fetch_groups": 2, "poll_seconds": 0.05, "heartbeat_seconds": 0.3}

    def expected(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        return list(self.rows)

    def more(self, options: Mapping[str, Any], count: int = 5) -> list[dict[str, Any]]:
        rows = [{"n": str(len(self.rows) + number)} for number in range(count)]
        self.emulator.control.put(PROJECT, options["logstore"], rows, rows_per_group=3)
        self.rows += rows
        return rows

    def identity(self, row: Mapping[str, Any]) -> str:
        return str(row["n"])


class TestSlsSourceThatEnds(TestSlsSource):
    endless = False

    def options(self, directory: Path) -> dict[str, Any]:
        return {**super().options(directory), "until": "end"}


class TestSlsSink(Logstores, SinkContract):
    component = "sls"

    def options(self, directory: Path) -> dict[str, Any]:
        return self.connection()

    def stored(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Read by the official SDK."""
        from aliyun.log import LogClient

        key = self.emulator.key
        client = LogClient(self.emulator.endpoint, key.access_key_id, key.secret, source="127.0.0.1")
        client._isRowIp = True  # else it looks up an address of its own for the loopback name
        rows = []
        where = (options["project"], options["logstore"])
        for shard in client.list_shards(*where).get_shards_info():
            cursor = client.get_cursor(*where, shard["shardID"], "begin").get_cursor()
            end = client.get_cursor(*where, shard["shardID"], "end").get_cursor()
            while cursor != end:
                page = client.pull_logs(*where, shard["shardID"], cursor, 1000)
                cursor = page.get_next_cursor()
                groups = page.get_loggroup_list().LogGroups
                rows += [{c.Key: c.Value for c in log.Contents} for group in groups for log in group.Logs]
        return rows
