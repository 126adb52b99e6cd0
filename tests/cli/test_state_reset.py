"""`etl state reset`: where the next run begins, by what it then reads."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from typing import Any

import pytest

from .dead_support import PATIENCE, bury, etl, letters

PIPELINE = """
    name: p
    stages:
      in: {source: files, with: {path: "*.log", format: lines}}
      out: {sink: console}
"""


@pytest.fixture
def place(place: Any) -> Any:
    """Two files, of three lines and of one, which a run has read."""
    place.write("p.yaml", PIPELINE)
    (place.path / "a.log").write_text("a1\na2\na3\n")
    (place.path / "b.log").write_text("b1\n")
    assert read(place) == ["a1", "a2", "a3", "b1"]
    return place


def read(place: Any, file: str = "p.yaml") -> list[str]:
    """What a run reads."""
    code, out, err = place.run(file)
    assert code == 0, err
    return sorted(json.loads(line)["line"] for line in out.splitlines())


def positions(place: Any) -> dict[str, Any]:
    """``{partition: position}`` as they are shown."""
    (found,) = json.loads(etl(place, "state", "show", "p.yaml", "--json").stdout)["pipelines"]
    return {one["partition"]: one["position"] for one in found["positions"]}


def reset(place: Any, *arguments: str) -> list[str]:
    done = etl(place, "state", "reset", "p.yaml", "--yes", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def append(place: Any, name: str, text: str) -> None:
    with open(place.path / name, "a") as file:
        file.write(text)


def test_to_the_beginning(place: Any) -> None:
    before = positions(place)
    head, first, second, count = reset(place, "--to", "begin")
    assert head.split() == ["stage", "partition", "before", "after"]
    for line, (partition, position) in zip((first, second), before.items(), strict=True):
        assert line.split(None, 1)[0] == "in"
        assert partition in line
        assert json.dumps(position) in line
        assert line.endswith("  -")
    assert count == "2 positions moved"
    assert positions(place) == {}
    assert read(place) == ["a1", "a2", "a3", "b1"]
    assert reset(place, "--to", "begin", "--stage", "in")[-1] == "2 positions moved"
    assert reset(place, "--to", "begin") == ["nothing to move"]


def test_to_the_end(place: Any) -> None:
    append(place, "a.log", "a4\na5, not whole")
    append(place, "c.log", "c1\n")
    assert reset(place, "--to", "end")[-1] == "2 positions moved"
    assert reset(place, "--to", "end")[-1] == "nothing to move"
    append(place, "a.log", " yet\n")
    append(place, "b.log", "b2\n")
    assert read(place) == ["a5, not whole yet", "b2"]


def test_to_the_end_before_the_first_run(place: Any) -> None:
    done = etl(place, "state", "reset", "p.yaml", "--to", "end", "--yes", "--state", "other")
    assert done.returncode == 0, done.stderr
    append(place, "b.log", "b2\n")
    code, out, _ = place.run("p.yaml", "--state", "other")
    assert (code, [json.loads(line)["line"] for line in out.splitlines()]) == (0, ["b2"])


def test_to_a_value_of_one_partition(place: Any) -> None:
    (partition,) = (name for name in positions(place) if name.startswith("a.log"))
    earlier = positions(place)[partition]
    append(place, "a.log", "a4\n")
    assert read(place) == ["a4"]
    reset(place, "--to", json.dumps(earlier), "--partition", partition)
    assert positions(place)[partition] == earlier
    assert read(place) == ["a4"]
    reset(place, "--to", "begin", "--partition", partition)
    assert read(place) == ["a1", "a2", "a3", "a4"]
    reset(place, "--to", "end", "--partition", partition)
    assert read(place) == []


def test_it_asks_and_does_nothing_without_a_yes(place: Any) -> None:
    before = positions(place)
    for answer in ("n\n", "\n", None):
        done = etl(place, "state", "reset", "p.yaml", "--to", "begin", answer=answer)
        assert done.returncode == 2
        assert len(done.stdout.splitlines()) == 3, "what would be moved is shown"
        assert "Move them? [y/N]: " in done.stderr
        assert "nothing was moved" in done.stderr
    assert "--yes does it without asking" in done.stderr
    assert positions(place) == before
    done = etl(place, "state", "reset", "p.yaml", "--to", "begin", answer="y\n")
    assert done.returncode == 0
    assert positions(place) == {}


def test_nobody_runs_the_pipeline_while_it_asks(place: Any) -> None:
    controller, terminal = pty.openpty()
    command = [str(place.etl), "state", "reset", "p.yaml", "--to", "begin"]
    asking = subprocess.Popen(
        command,
        cwd=place.path,
        env=place.env,
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(terminal)
    assert asking.stderr is not None
    asked = ""
    while "[y/N]" not in asked:
        asked += asking.stderr.read(1)
    code, _, err = place.run("p.yaml")
    assert code == 2
    assert f"the pipeline p is in use with the state directory .etl, by reset, process {asking.pid} on " in err
    os.write(controller, b"y\n")
    asking.communicate(timeout=PATIENCE)
    os.close(controller)
    assert asking.returncode == 0
    assert read(place) == ["a1", "a2", "a3", "b1"]


def test_dead_letters_stay(place: Any) -> None:
    bury(place.path / ".etl", [{"n": 1}])
    reset(place, "--to", "begin")
    assert len(letters(place)) == 1


def test_many_partitions_are_not_all_shown(place: Any) -> None:
    for number in range(30):
        (place.path / f"m{number}.log").write_text("x\n")
    lines = reset(place, "--to", "end")
    assert len(lines) == 1 + 20 + 2
    assert lines[-2:] == ["and 12 more partitions", "30 positions moved"]


# -- several sources, and who keeps what ------------------------------------------------------------------------------


def test_all_sources_or_one(place: Any) -> None:
    place.write(
        "p.yaml",
        """
        name: p
        stages:
          a: {source: files, with: {path: a.log, format: lines}}
          b: {source: files, with: {path: b.log, format: lines}}
          out: {sink: console, from: [a, b]}
        """,
    )
    assert read(place) == ["a1", "a2", "a3", "b1"]
    reset(place, "--to", "begin", "--stage", "b")
    assert read(place) == ["b1"]
    reset(place, "--to", "begin")
    assert read(place) == ["a1", "a2", "a3", "b1"]


KEEPS = """
    import json
    import pathlib

    from etlcore import Batch, Component, Position, Source, hookimpl

    @hookimpl
    def etl_components():
        yield Component("keeps", "source", "keeps:Keeps")

    class Keeps(Source):
        # A server with two shards of ten rows, and its checkpoints; all in a file.

        @property
        def file(self):
            return self.context.directory / "server.json"

        def committed(self):
            return json.loads(self.file.read_text()) if self.file.exists() else {}

        def commit(self, positions):
            self.file.write_text(json.dumps({**self.committed(), **positions}))

        def read(self):
            for shard in ("s0", "s1"):
                first = max(self.committed().get(shard, 0), self.context.positions.get(shard, 0))
                for n in range(first, 10):
                    yield Batch.from_rows([{"line": f"{shard} {n}"}], position=Position(shard, n + 1))

        def position_at(self, where):
            at = {"begin": 0, "end": 10}.get(where) if isinstance(where, str) else where.year - 2020
            return {"s0": at, "s1": at}

        def reset(self, positions):
            if (self.context.directory / "busy").exists():
                raise RuntimeError("somebody reads there: tell them to stop")
            self.commit(positions)

        def close(self):
            (self.context.directory / "closed").touch()
"""


@pytest.fixture
def keeps(place: Any, site: Any) -> Any:
    """A source that keeps its positions itself, after a run."""
    site.install("keeps", "1.0", {"keeps": "keeps"}, {"keeps.py": KEEPS})
    place.env["PYTHONPATH"] = str(site.path)
    place.write("p.yaml", "{name: p, stages: {in: {source: keeps}, out: {sink: console}}}\n")
    assert len(read(place)) == 20
    (place.path / "closed").unlink()
    return place


def test_positions_that_the_source_keeps(keeps: Any) -> None:
    assert [line.split() for line in reset(keeps, "--to", "begin")] == [
        ["stage", "partition", "before", "after"],
        ["in", "s0", "10", "0"],
        ["in", "s1", "10", "0"],
        ["2", "positions", "moved"],
    ]
    assert (keeps.path / "closed").exists()
    assert len(read(keeps)) == 20
    reset(keeps, "--to", "2026-01-02")
    assert read(keeps) == [f"s{shard} {n}" for shard in (0, 1) for n in range(6, 10)]
    reset(keeps, "--to", "9", "--partition", "s1")
    assert read(keeps) == ["s1 9"]


def test_a_refusal_of_the_source_is_told(keeps: Any) -> None:
    (keeps.path / "busy").touch()
    done = etl(keeps, "state", "reset", "p.yaml", "--to", "begin", "--yes")
    assert done.returncode == 2
    assert done.stderr == "stage in: somebody reads there: tell them to stop\n"
    assert (keeps.path / "closed").exists()
    assert read(keeps) == []


EXACTLY = """
    import json

    from etlcore import Component, TransactionalSink, hookimpl

    @hookimpl
    def etl_components():
        yield Component("exactly", "sink", "exactly:Exactly")

    class Exactly(TransactionalSink):
        # Rows and positions in one file, which is replaced as a whole.

        def open(self, context):
            self.file = context.directory / "rows.json"
            text = self.file.read_text() if self.file.exists() else '{"rows": [], "positions": {}}'
            self.kept = json.loads(text)

        def positions(self):
            return self.kept["positions"]

        def write(self, batch, positions=None):
            self.kept["rows"] += [row["line"] for row in batch.rows]
            self.kept["positions"].update(positions or {})
            new = self.file.with_suffix(".new")
            new.write_text(json.dumps(self.kept))
            new.replace(self.file)
"""


@pytest.mark.parametrize("source", ["files", "keeps"])
def test_positions_that_a_transactional_sink_keeps(keeps: Any, site: Any, source: str) -> None:
    """A run reads nothing that is before them, so they are moved as well as the source's own."""
    site.install("exactly", "1.0", {"exactly": "exactly"}, {"exactly.py": EXACTLY})
    made = {"files": "{source: files, with: {path: a.log, format: lines}}", "keeps": "{source: keeps}"}[source]
    (keeps.path / "server.json").unlink()
    keeps.write("p.yaml", f"{{name: p, stages: {{in: {made}, out: {{sink: exactly}}}}}}\n")
    count = {"files": 3, "keeps": 20}[source]

    def rows() -> int:
        code, _, err = keeps.run("p.yaml", "--state", "exactly")
        assert code == 0, err
        return len(keeps.json("rows.json")["rows"])

    assert rows() == count
    assert rows() == count
    done = etl(keeps, "state", "reset", "p.yaml", "--to", "begin", "--yes", "--state", "exactly")
    assert done.returncode == 0, done.stderr
    assert rows() == 2 * count
    done = etl(keeps, "state", "reset", "p.yaml", "--to", "end", "--yes", "--state", "exactly")
    assert done.stdout.splitlines()[-1] == "nothing to move"


# -- what is wrong ----------------------------------------------------------------------------------------------------

WRONG = [
    (["--to", "soon"], "'soon' is neither begin, end, a time nor JSON", "a text is written with quotes: '\"soon\"'"),
    (["--to", "2024-13-01"], "'2024-13-01' is neither begin", ""),
    ([], "Missing option '--to'", "etl state reset --help"),
    (["--to", "end", "--stage", "out"], "the pipeline p has no source 'out'", "its sources are: in"),
    (["--to", "end", "--partition", "x"], "stage in has no partition 'x'", "its partitions are: a.log"),
    (["--to", "7", "--partition", "x"], "stage in has no partition 'x'", "its partitions are: a.log"),
    (
        ["--to", "7"],
        "stage in has 2 partitions, and a value is the position of one",
        "--partition PARTITION (one of a.",
    ),
    (["--to", "7d"], "stage in: files do not say when a line was written", "give a position: --to VALUE"),
]


@pytest.mark.parametrize(("arguments", "message", "hint"), WRONG, ids=lambda value: str(value)[:40])
def test_wrong_command_lines(place: Any, arguments: list[str], message: str, hint: str) -> None:
    before = positions(place)
    done = etl(place, "state", "reset", "p.yaml", "--yes", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr
    assert positions(place) == before


def test_a_value_where_there_are_no_positions_yet(place: Any) -> None:
    done = etl(place, "state", "reset", "p.yaml", "--to", "7", "--yes", "--state", "other")
    assert done.returncode == 2
    assert "stage in has no positions yet, and a value is the position of one" in done.stderr


def test_a_source_that_does_not_know(place: Any) -> None:
    place.write("g.yaml", "{name: g, stages: {in: {source: generate, with: {rows: 3}}, out: {sink: blackhole}}}\n")
    assert place.run("g.yaml")[0] == 0
    done = etl(place, "state", "reset", "g.yaml", "--to", "end", "--yes")
    assert done.returncode == 2
    assert done.stderr == (
        "stage in: its source does not know its positions at end\n  -> give a position: --to VALUE\n"
    )
    done = etl(place, "state", "reset", "g.yaml", "--to", "1", "--yes")
    assert done.stdout.splitlines()[1].split() == ["in", "worker", "0/1", "3", "1"]
    assert "2 read" in place.run("g.yaml")[2]


def test_a_pipeline_file_that_is_wrong(place: Any) -> None:
    place.write("p.yaml", "stages: {in: {source: filse}, out: {sink: console}}\n")
    done = etl(place, "state", "reset", "p.yaml", "--to", "end", "--yes")
    assert done.returncode == 2
    assert "did you mean `files`?" in done.stderr
