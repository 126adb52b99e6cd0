"""A contract for each hostile sink; not collected by itself, `test_hostile` runs it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from etlcore.testing import SinkContract
from tests.testing import hostile_sinks as sinks


class Files(SinkContract):
    kills = 1
    huge = 2000

    def options(self, directory: Path) -> dict[str, Any]:
        return {"path": str(directory / "out{worker}.jsonl")}

    def stored(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        files = sorted(Path(options["path"]).parent.glob("out*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]


class Databases(SinkContract):
    kills = 1
    huge = 2000

    def options(self, directory: Path) -> dict[str, Any]:
        return {"path": str(directory / "out.db")}

    def stored(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(options["path"])) as db:
            return [json.loads(row) for (row,) in db.execute("SELECT row FROM rows")]


class TestHonestSink(Files):
    component = sinks.Honest
    kills = 2


class TestHonestTransaction(Databases):
    component = sinks.HonestTransaction
    kills = 3


class TestTwoTransactions(Databases):
    kills = 2
    component = sinks.TwoTransactions


class TestForgetsOtherPositions(Databases):
    component = sinks.ForgetsOtherPositions


class TestWantsRows(Databases):
    component = sinks.WantsRows


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


class TestRefusesRepeats(Files):
    component = sinks.RefusesRepeats


class TestLeavesLock(Files):
    component = sinks.LeavesLock


class TestRefusesToStop(Files):
    component = sinks.RefusesToStop


class TestWorkersOverwrite(Files):
    component = sinks.WorkersOverwrite


class TestNeedsRows(Files):
    component = sinks.NeedsRows


class TestCutsHugeBatches(Files):
    component = sinks.CutsHugeBatches


class TestSpoilsText(Files):
    component = sinks.SpoilsText


class TestSkipsNulls(Files):
    component = sinks.SkipsNulls


class TestKnowsFirstColumns(Files):
    component = sinks.KnowsFirstColumns


class TestSkipsWhatJsonLacks(Files):
    component = sinks.SkipsWhatJsonLacks
