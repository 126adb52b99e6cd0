"""How fast the emulator answers over loopback: ``python plugins/etlcore-sls/tests/emulator/benchmark.py``.

The emulator runs in a process of its own. The client reads what comes and decodes nothing, so the figures are those
of the server, of the loopback and of a client that costs as little as it can; with ``--sdk`` the official one pulls.
"""

from __future__ import annotations

import argparse
import http.client
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

from aliyun.log import LogClient
from etlcore_sls.emulator import EmulatorProcess, Samples

PROJECT, LOGSTORE = "demo", "nginx"


def client_of(emulator: EmulatorProcess) -> LogClient:
    client = LogClient(emulator.endpoint, emulator.key.access_key_id, emulator.key.secret, source="s")
    client._isRowIp = True
    return client


class Puller:
    """Reads one shard to its end, again and again, over one connection."""

    def __init__(self, emulator: EmulatorProcess, shard: int, compression: str, count: int) -> None:
        self._client = client_of(emulator)
        self._connection = http.client.HTTPConnection("127.0.0.1", emulator.port)
        self._resource = f"/logstores/{LOGSTORE}/shards/{shard}"
        self._begin = self._client.get_begin_cursor(PROJECT, LOGSTORE, shard).get_cursor()
        self._compression, self._count = compression, count
        self.requests = self.raw_bytes = self.wire_bytes = self.groups = 0

    def run(self, until: float) -> None:
        cursor = self._begin
        while time.monotonic() < until:
            headers = {"Host": f"{PROJECT}.x", "Accept-Encoding": self._compression}
            params = {"type": "log", "cursor": cursor, "count": str(self._count)}
            self._client._auth.sign_request("GET", self._resource, params, headers, b"")
            self._connection.request("GET", f"{self._resource}?{urlencode(params)}", headers=headers)
            response = self._connection.getresponse()
            body = response.read()
            assert response.status == 200, body
            self.requests += 1
            self.wire_bytes += len(body)
            self.raw_bytes += int(response.headers["x-log-bodyrawsize"])
            self.groups += int(response.headers["x-log-count"])
            cursor = self._begin if response.headers["x-log-end-of-cursor"] else response.headers["x-log-cursor"]


def pull(emulator: EmulatorProcess, name: str, shards: int, compression: str, count: int, seconds: float) -> None:
    pullers = [Puller(emulator, shard, compression, count) for shard in range(shards)]
    started = time.monotonic()
    threads = [threading.Thread(target=puller.run, args=(started + seconds,)) for puller in pullers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - started
    raw, wire, requests = (
        sum(getattr(puller, field) for puller in pullers) / took for field in ("raw_bytes", "wire_bytes", "requests")
    )
    print(f"{name:44} {raw / 1e6:8.1f} MB/s raw {wire / 1e6:8.1f} MB/s on the wire {requests:8.0f} requests/s")  # noqa: T201


def sdk_pull(emulator: EmulatorProcess, seconds: float) -> None:
    client = client_of(emulator)
    begin = cursor = client.get_begin_cursor(PROJECT, LOGSTORE, 0).get_cursor()
    raw, started = 0, time.monotonic()
    while time.monotonic() < started + seconds:
        page = client.pull_logs(PROJECT, LOGSTORE, 0, cursor)
        raw += page.get_raw_size()
        cursor = begin if page.get_header("x-log-end-of-cursor") else page.get_next_cursor()
    print(f"{'the SDK, pages decoded by nobody':44} {raw / 1e6 / (time.monotonic() - started):8.1f} MB/s raw")  # noqa: T201


def rate(name: str, what: str, call: Callable[[], int], seconds: float) -> None:
    done, started = 0, time.monotonic()
    while time.monotonic() < started + seconds:
        done += call()
    print(f"{name:44} {done / (time.monotonic() - started):8.0f} {what}/s")  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each figure")
    parser.add_argument("--logs", type=int, default=100_000)
    parser.add_argument("--sdk", action="store_true", help="pull with the official client, too")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        for data in (None, str(Path(folder) / "data.db")):
            started = time.monotonic()
            with EmulatorProcess(data=data, samples=Samples(logs=options.logs)) as emulator:
                where = "file" if data else "memory"
                print(f"{where}: {options.logs:,} sample logs ready after {time.monotonic() - started:.2f} s")  # noqa: T201
                for compression in ("lz4", "zstd", ""):
                    name = f"{where}, pages of 1000, {compression or 'plain'}"
                    pull(emulator, f"{name}, 1 connection", 1, compression, 1000, options.seconds)
                    pull(emulator, f"{name}, 4 connections", 4, compression, 1000, options.seconds)
                pull(emulator, f"{where}, pages of 1 LogGroup, lz4, 1 connection", 1, "lz4", 1, options.seconds)
                client = client_of(emulator)
                client.create_consumer_group(PROJECT, LOGSTORE, "g", 60)
                held = client.heart_beat(PROJECT, LOGSTORE, "g", "a", []).get_shards()
                beat = lambda: len([client.heart_beat(PROJECT, LOGSTORE, "g", "a", held)])  # noqa: B023, E731
                rate(f"{where}, heartbeats by the SDK", "requests", beat, options.seconds)
                if options.sdk:
                    sdk_pull(emulator, options.seconds)


if __name__ == "__main__":
    main()
