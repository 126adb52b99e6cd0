"""From SIGTERM to the end of the process, with many idle shards: `etl run` and the official ConsumerWorker."""

from __future__ import annotations

import argparse
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from etlcore_sls.emulator import Emulator

from ..e2e.support import PATIENCE, Store
from .measure import Comparison, Series


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--shards", type=int, default=32, help="idle shards that one process holds (32)")
    parser.add_argument("--repeat", type=int, default=5, help="how often etl run is measured (5)")
    parser.add_argument("--repeat-official", type=int, default=1, help="how often the official client is (1)")


def run(given: argparse.Namespace) -> Comparison:
    """Measure both, each time on a fresh emulator."""
    ours = [_stop_etl(given.shards) for _ in range(given.repeat)]
    theirs = [_stop_official(given.shards) for _ in range(given.repeat_official)]
    return Comparison(
        f"SIGTERM to exit, {given.shards} idle shards",
        Series("etl run", ours),
        Series("official ConsumerWorker", theirs),
    )


@contextmanager
def _store(shards: int) -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as directory, Emulator() as emulator:
        store = Store(emulator, Path(directory)).create(shards)
        try:
            yield store
        finally:
            store.close()


def _stop_etl(shards: int) -> float:
    with _store(shards) as store:
        file = store.pipeline(
            f"""
            name: idle
            stages:
              logs: {store.source(poll_seconds=1, heartbeat_seconds=5)}
              out: {{sink: blackhole}}
            """
        )
        process = store.run(file).process
        return _seconds_to_stop(store, shards, process)


def _stop_official(shards: int) -> float:
    with _store(shards) as store, store.official("official") as process:
        return _seconds_to_stop(store, shards, process)


def _seconds_to_stop(store: Store, shards: int, process: subprocess.Popen[bytes]) -> float:
    for shard in range(shards):  # each was asked, and asked again
        store.control.wait_for("pull", shard=shard, count=2, timeout=PATIENCE)
    began = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    code = process.wait(PATIENCE)
    seconds = time.perf_counter() - began
    if code != 0:
        raise RuntimeError(f"the process ended with {code}")
    return seconds
