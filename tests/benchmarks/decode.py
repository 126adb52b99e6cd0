"""What a pull of SLS brings, decoded: the SDK's dicts, the source's rows, and the source's Arrow columns."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from etlcore_sls.emulator import Samples
from etlcore_sls.emulator.samples import sample_groups

from .contest import Contest, Measured, run_process, take_turns
from .decode_ways import WAYS

PAGE_BYTES = 10 * 1024 * 1024  # about what a pull brings at most


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--logs", type=int, default=200_000, help="sample nginx logs of fifteen fields (200,000)")
    parser.add_argument("--repeat", type=int, default=5, help="how often each way is measured (5)")


def run(given: argparse.Namespace) -> Contest:
    """Measure all ways over the same responses."""
    with tempfile.TemporaryDirectory() as directory:
        for number, page in enumerate(_pages(given.logs)):
            (Path(directory) / f"{number:04}.page").write_bytes(page)
        entries = take_turns({name: partial(_decode, name, directory) for name in WAYS}, given.repeat)
    said = {(found["logs"], found["characters"]) for entry in entries for found in map(_said, entry.runs)}
    if len(said) != 1 or said.pop()[0] != given.logs:
        raise RuntimeError("the ways do not agree on what the logs hold")
    return Contest(
        "SLS responses decoded",
        given.logs,
        "logs",
        entries,
        [
            ("columns", "SDK dicts"),
            ("columns", "rows"),
            ("one column", "SDK dicts"),
            ("columns, then dicts", "rows"),
        ],
    )


def _pages(logs: int) -> Iterator[bytes]:
    page: list[bytes] = []
    for group in sample_groups(Samples(logs=logs, shards=1), 0, 1_700_000_000.0):
        if page and sum(map(len, page)) + len(group.framed) > PAGE_BYTES:
            yield b"".join(page)
            page = []
        page.append(group.framed)
    yield b"".join(page)


def _decode(way: str, directory: str) -> Measured:
    measured = run_process([sys.executable, "-m", "tests.benchmarks.decode_ways", way, directory])
    found = _said(measured)
    return replace(measured, seconds=found["seconds"], cpu_seconds=found["cpu_seconds"])


def _said(measured: Measured) -> dict[str, float]:
    found: dict[str, float] = json.loads(measured.said)
    return found
