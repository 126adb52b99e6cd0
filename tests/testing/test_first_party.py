"""The built-in stages keep the contract that they ask of others."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from etlcore.testing import SinkContract, SourceContract, TransformContract

# -- sources -----------------------------------------------------------------------------------------------------------


class TestGenerate(SourceContract):
    component = "generate"

    def options(self, directory: Path) -> dict[str, Any]:
        return {"rows": 30, "batch": 4}

    def expected(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [{"id": number} for number in range(options["rows"])]

    def identity(self, row: Mapping[str, Any]) -> str:
        return str(row["id"])


class Lines(SourceContract):
    component = "files"

    def options(self, directory: Path) -> dict[str, Any]:
        for name in ("a", "b", "c"):
            _append(directory / f"{name}.jsonl", name, 10)
        return {"path": str(directory / "*.jsonl"), "batch": 4, "follow": self.endless, "poll_seconds": 0.05}

    def expected(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        files = Path(options["path"]).parent.glob("*.jsonl")
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def more(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        directory = Path(options["path"]).parent
        return [*_append(directory / "a.jsonl", "more", 3), *_append(directory / "d.jsonl", "d", 3)]

    def order(self, value: Any) -> Any:
        return value["offset"]


class TestFilesSource(Lines):
    pass


class TestFilesSourceThatFollows(Lines):
    endless = True


class TestPythonSource(SourceContract):
    component = "python"

    def options(self, directory: Path) -> dict[str, Any]:
        (directory / "given.py").write_text("def rows():\n    for n in range(30):\n        yield {'n': n}\n")
        return {"call": "given.py:rows", "batch": 4}

    def expected(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [{"n": n} for n in range(30)]


def _append(file: Path, name: str, count: int) -> list[dict[str, Any]]:
    rows = [{"of": name, "n": number} for number in range(count)]
    with file.open("a") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)
    return rows


# -- transforms --------------------------------------------------------------------------------------------------------


class TestSelect(TransformContract):
    component = "select"
    options = {"columns": {"key": "id", "said": "text"}}  # noqa: RUF012
    examples = (([{"id": 1, "text": "a", "more": 2}, {"id": 2}], [{"key": 1, "said": "a"}, {"key": 2, "said": None}]),)


class TestFilter(TransformContract):
    component = "filter"
    options = {"where": "status >= 500"}  # noqa: RUF012
    examples = (([{"status": 200, "n": 1}, {"status": 503, "n": 2}], [{"status": 503, "n": 2}]),)


class TestParseUri(TransformContract):
    component = "parse_uri"
    examples = (
        (
            [{"request_uri": "/item/7?user=9&q=a%20b"}],
            [{"request_uri": "/item/7?user=9&q=a%20b", "path": "/item/7", "query": {"user": "9", "q": "a b"}}],
        ),
    )


class TestRename(TransformContract):
    component = "rename"
    options = {"columns": {"id": "key"}}  # noqa: RUF012
    examples = (([{"id": 1, "text": "a"}, {"id": 2, "text": "b"}], [{"key": 1, "text": "a"}, {"key": 2, "text": "b"}]),)


class TestCast(TransformContract):
    component = "cast"
    options = {"columns": {"n": "int"}}  # noqa: RUF012
    examples = (([{"n": "1"}, {"n": "one"}, {"n": "3"}], [{"n": 1}, {"n": 3}]),)


class TestRoute(TransformContract):
    component = "route"
    options = {"routes": {"errors": "status >= 500"}}  # noqa: RUF012
    examples = (([{"status": 200, "n": 1}, {"status": 503, "n": 2}], [{"status": 200, "n": 1}]),)


class TestPythonTransform(TransformContract):
    component = "python"
    examples = (([{"n": 1}, {"n": 2}], [{"n": 1, "twice": 2}, {"n": 2, "twice": 4}]),)

    def options(self, directory: Path) -> dict[str, Any]:
        (directory / "twice.py").write_text("def twice(row):\n    return {**row, 'twice': (row.get('n') or 0) * 2}\n")
        return {"call": "twice.py:twice"}


# -- sinks -------------------------------------------------------------------------------------------------------------


class TestFilesSink(SinkContract):
    component = "files"

    def options(self, directory: Path) -> dict[str, Any]:
        return {"path": str(directory / "out{worker}.jsonl")}

    def stored(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        return _whole_lines(Path(options["path"]).parent, "out*.jsonl")


class TestFilesSinkOfDirectories(SinkContract):
    component = "files"

    def options(self, directory: Path) -> dict[str, Any]:
        return {"path": f"{directory}/out/", "roll_bytes": 500}

    def stored(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        # What a killed run had begun is in .writing, and is published by the next run.
        return _whole_lines(Path(options["path"]), "**/*.jsonl")


def _whole_lines(directory: Path, pattern: str) -> list[dict[str, Any]]:
    """The rows in files; a line that a kill has cut off does not count."""
    files = sorted(directory.glob(pattern))
    return [json.loads(line) for file in files for line in file.read_bytes().split(b"\n")[:-1]]


class TestPythonSink(SinkContract):
    component = "python"
    exempt = {  # noqa: RUF012
        "test_several_workers_store_every_row": "the function is the user's, and so is what its workers share",
    }

    def options(self, directory: Path) -> dict[str, Any]:
        (directory / "keep.py").write_text(
            "import json\n\n"
            "def keep(batch, path):\n"
            "    with open(path, 'a') as out:\n"
            "        out.writelines(json.dumps(row, default=str) + '\\n' for row in batch.rows)\n"
        )
        path = str(directory / "out.jsonl")
        return {"call": "keep.py:keep", "per": "batch", "options": {"path": path}}

    def stored(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        return _whole_lines(Path(options["options"]["path"]).parent, "out.jsonl")


class TestSqlite(SinkContract):
    component = "sqlite"

    def options(self, directory: Path) -> dict[str, Any]:
        return {"path": str(directory / "out.db"), "table": "rows"}

    def stored(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(options["path"])) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute("SELECT * FROM rows")]


class TestConsole(SinkContract):
    component = "console"
    exempt = SinkContract.reading_back("what it prints is somebody else's: the tests of the command line read it")


class TestBlackhole(SinkContract):
    component = "blackhole"
    exempt = SinkContract.reading_back("it forgets what it is given")
