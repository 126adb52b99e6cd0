"""The measurements run; what they measure is for a person to judge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .__main__ import main


def test_stop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["stop", "--shards", "1", "--repeat", "1", "--json", str(tmp_path / "stop.json")])
    assert "SIGTERM to exit, 1 idle shards" in capsys.readouterr().out
    found = json.loads((tmp_path / "stop.json").read_text())
    assert [(series["name"], len(series["seconds"])) for series in found["series"]] == [
        ("etl run", 1),
        ("official ConsumerWorker", 1),
    ]
    assert found["ratio"] > 0


def test_decode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["decode", "--logs", "500", "--repeat", "1", "--json", str(tmp_path / "decode.json")])
    assert "columns : SDK dicts" in capsys.readouterr().out
    found = json.loads((tmp_path / "decode.json").read_text())
    assert [entry["name"] for entry in found["entries"]] == [
        "SDK dicts",
        "rows",
        "columns",
        "one column",
        "columns, then dicts",
    ]
    assert all(entry["per_second"] > 0 and entry["peak_bytes"] > 0 for entry in found["entries"])


def test_sls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["sls", "--logs", "2000", "--repeat", "1", "--json", str(tmp_path / "sls.json")])
    assert "etl run : official ConsumerWorker" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "sls.json").read_text())["entries"]) == 6
