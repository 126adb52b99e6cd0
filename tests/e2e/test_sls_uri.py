"""The pipeline that the README runs, as it is in the repository: the sample logs to their end, and once more."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from etlcore_sls.emulator import Emulator, Settings

from .support import ETL, PATIENCE, EtlRun

PIPELINE = Path(__file__).parents[2] / "pipelines" / "sls_uri.yaml"
SAMPLES = 20_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The pipeline file, in a directory of its own: its state is kept beside it."""
    return Path(shutil.copy(PIPELINE, tmp_path))


def test_every_sample_log_is_read_once_delivered_or_dead_lettered_and_committed(file: Path) -> None:
    first = EtlRun(file, "first").ended(0)
    assert first.balance["balanced"]
    assert first.balance["read"] == SAMPLES
    assert first.balance["filtered"] == first.balance["abandoned"] == 0
    assert 0 < first.balance["dead"] == first.report["dead_letters"] < 20
    rows = [json.loads(line) for line in first.out.read_text().splitlines()]
    assert len(rows) == first.balance["delivered"] == SAMPLES - first.balance["dead"]
    assert all(row["path"].startswith("/") for row in rows)
    committed = {entry["partition"]: entry for entry in first.report["committed"]}
    assert sorted(committed) == ["shard 0", "shard 1", "shard 2", "shard 3"]
    assert all(entry["complete"] and entry["at_end"] for entry in committed.values())
    assert _behind(file) == {0: 0, 1: 0, 2: 0, 3: 0}

    second = EtlRun(file, "second").ended(0)
    assert second.balance["balanced"]
    assert second.balance["read"] == 0
    assert second.out.read_text() == ""


def _behind(file: Path) -> dict[int, int]:
    """How many rows of each shard are not committed, in the emulator's own data."""
    with Emulator(Settings(data=str(file.parent / ".etl" / "sls-emulator.db"))) as emulator:
        state = emulator.control.group_state("demo", "nginx", "etlcore")
    return {shard["shard"]: shard["rows_behind"] for shard in state["shards"]}


def test_standard_output_may_be_closed_by_its_reader(file: Path) -> None:
    """``etl run sls_uri.yaml | head -1``: a whole line, one sentence that says why it ended, and no row lost."""
    command = f'"{ETL}" run "{file}" --report "{file.parent}/report.json" 2>"{file.parent}/err" | head -n 1'
    shell = subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"], capture_output=True, text=True, timeout=PATIENCE
    )
    assert shell.returncode == 1
    line, end = shell.stdout[:-1], shell.stdout[-1:]
    assert end == "\n"
    assert "path" in json.loads(line)
    said = (file.parent / "err").read_text()
    assert said.count("standard output was closed by its reader") == 1
    assert "Traceback" not in said
    report = json.loads((file.parent / "report.json").read_text())
    assert report["balance"]["balanced"]

    rest = EtlRun(file, "rest").ended(0)
    settled = report["balance"]["delivered"] + report["balance"]["dead"]
    assert rest.balance["read"] >= SAMPLES - settled > 0
