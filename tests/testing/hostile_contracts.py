"""A contract for each hostile component; not collected by itself, `test_hostile` runs it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etlcore.testing import SinkContract
from tests.testing import hostile_sinks as sinks


class Files(SinkContract):
    def options(self, directory: Path) -> dict[str, Any]:
        return {"path": str(directory / "out{worker}.jsonl")}

    def stored(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        files = sorted(Path(options["path"]).parent.glob("out*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]


class TestHonestSink(Files):
    component = sinks.Honest


class TestWritesAtClose(Files):
    component = sinks.WritesAtClose


class TestClosesWhatIsNotOpen(Files):
    component = sinks.ClosesWhatIsNotOpen


class TestLeavesThread(Files):
    component = sinks.LeavesThread


class TestEmptiesAtOpen(Files):
    component = sinks.EmptiesAtOpen


class TestSaysIdempotent(Files):
    component = sinks.SaysIdempotent


class TestChangesRows(Files):
    component = sinks.ChangesRows
