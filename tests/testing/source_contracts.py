"""A contract for each hostile source; not collected by itself, `test_hostile` runs it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etlcore.testing import SourceContract
from tests.testing import hostile_sources as sources


class Files(SourceContract):
    def options(self, directory: Path) -> dict[str, Any]:
        self._append(directory / "in.jsonl", range(30))
        return {"path": str(directory / "in.jsonl"), "follow": self.endless}

    def _append(self, file: Path, numbers: range) -> list[dict[str, Any]]:
        rows = [{"id": number, "text": f"row {number}"} for number in numbers]
        with file.open("a") as out:
            out.writelines(json.dumps(row) + "\n" for row in rows)
        return rows

    def expected(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [json.loads(line) for line in Path(options["path"]).read_text().splitlines()]

    def more(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        return self._append(Path(options["path"]), range(100, 105))


class TestHonestSource(Files):
    component = sources.Honest


class TestHonestEndless(Files):
    component = sources.Honest
    endless = True


class TestHonestStore(Files):
    component = sources.HonestStore


class TestNeverNone(Files):
    component = sources.NeverNone
    endless = True
    heartbeat = 0.5


class TestStartsAnew(Files):
    component = sources.StartsAnew


class TestClaimsTooMuch(Files):
    component = sources.ClaimsTooMuch


class TestPositionsAreTuples(Files):
    component = sources.PositionsAreTuples


class TestRunsBackwards(Files):
    component = sources.RunsBackwards


class TestDoesNotLetGo(Files):
    component = sources.DoesNotLetGo


class TestEachReadsAll(Files):
    component = sources.EachReadsAll


class TestEndsForGood(Files):
    component = sources.EndsForGood


class TestCommitsAtClose(Files):
    component = sources.CommitsAtClose


class TestCommitsWhatItRead(Files):
    component = sources.CommitsWhatItRead


class TestHasPlainSecret(Files):
    component = sources.HasPlainSecret


class TestCommitsOnce(Files):
    component = sources.CommitsOnce
    patience = 10.0
