"""One field of an SLS logstore of four shards: `etl run`, a bare loop of pulls, and the official ConsumerWorker."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

from etlcore_sls.emulator import EmulatorProcess, Samples

from ..e2e.support import ETL
from .contest import Contest, Measured, run_process, take_turns

SHARDS = 4
_numbers = count()  # no two runs are of one consumer group


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--logs", type=int, default=1_000_000, help="sample nginx logs of fifteen fields (1,000,000)")
    parser.add_argument("--repeat", type=int, default=5, help="how often each way is measured (5)")
    parser.add_argument("--without-official", action="store_true", help="leave the official ConsumerWorker out")


def run(given: argparse.Namespace) -> Contest:
    """Measure all ways on one emulator. All are timed from the start of their process."""
    with _emulator(given.logs) as emulator, tempfile.TemporaryDirectory() as directory:
        ways: dict[str, Callable[[], Measured]] = {
            "etl run": lambda: _etl(emulator, given.logs, Path(directory)),
            "etl run, columns: [request_uri]": lambda: _etl(
                emulator, given.logs, Path(directory), "columns: [request_uri]"
            ),
            "pull_logs and the decoder": lambda: _loop(emulator, given.logs, "columns"),
            "pull_logs and the decoder, request_uri": lambda: _loop(emulator, given.logs, "one_column"),
            "pull_logs and dicts": lambda: _loop(emulator, given.logs, "dicts"),
        }
        if not given.without_official:
            ways["official ConsumerWorker"] = lambda: _official(emulator, given.logs)
        entries = take_turns(ways, given.repeat)
    return Contest(
        f"SLS, {SHARDS} shards, one field of each log",
        given.logs,
        "logs",
        entries,
        [
            ("etl run", "pull_logs and the decoder"),
            ("etl run, columns: [request_uri]", "pull_logs and the decoder, request_uri"),
            *((name, other) for name in list(ways)[:2] for other in list(ways)[4:]),
        ],
    )


@contextmanager
def _emulator(logs: int) -> Iterator[EmulatorProcess]:
    emulator = EmulatorProcess(samples=Samples(logs=logs, shards=SHARDS), timeout=1200.0)
    try:
        yield emulator
    finally:
        emulator.close()


def _etl(emulator: EmulatorProcess, logs: int, directory: Path, option: str = "") -> Measured:
    """The pipeline, with a new consumer group and its commits."""
    number = next(_numbers)
    file, report = directory / f"{number}.yaml", directory / f"{number}.json"
    file.write_text(
        f"""
        name: read
        stages:
          logs:
            source: sls
            with:
              endpoint: {emulator.endpoint}
              project: demo
              logstore: nginx
              consumer_group: etl-{number}
              until: end
              {option}
          uris: {{transform: select, with: {{columns: [request_uri]}}}}
          out: {{sink: blackhole}}
        """
    )
    command = [str(ETL), "run", str(file), "--state", str(directory / f"state-{number}"), "--report", str(report)]
    measured = run_process([*command, "--log-level", "warning"], _environ(emulator))
    delivered = json.loads(report.read_text())["balance"]["delivered"]
    _check(delivered, logs)
    return measured


def _loop(emulator: EmulatorProcess, logs: int, way: str) -> Measured:
    measured = _way(emulator, emulator.endpoint, "loop", way)
    _check(int(measured.said), logs)
    return measured


def _official(emulator: EmulatorProcess, logs: int) -> Measured:
    """The official consumer knows no end: it counts to the last log, says when, and the process is gone at once."""
    proxy = {"http_proxy": emulator.endpoint}
    measured = _way(emulator, "http://cn-emulator.log.aliyuncs.com", "official", str(logs), proxy)
    _check(int(measured.said), logs)
    return replace(measured, said="")


def _way(
    emulator: EmulatorProcess, endpoint: str, way: str, argument: str, environ: Mapping[str, str] | None = None
) -> Measured:
    command = [sys.executable, "-m", "tests.benchmarks.sls_ways", way, endpoint, f"g{next(_numbers)}", argument]
    return run_process(command, {**_environ(emulator), **(environ or {})})


def _environ(emulator: EmulatorProcess) -> dict[str, str]:
    key = emulator.key
    return {"ALIBABA_CLOUD_ACCESS_KEY_ID": key.access_key_id, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": key.secret}


def _check(found: int, logs: int) -> None:
    if found != logs:
        raise RuntimeError(f"{found} logs were read, not {logs}")
