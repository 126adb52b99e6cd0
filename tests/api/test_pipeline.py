"""Pipelines from Python: out of a file or built in code, tried out stage by stage, and run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import etlcore
from etlcore import Batch, Pipeline, Reject, RowTransform, RunFailed, Sink, Source
from etlcore.spec import SpecError
from etlcore.state import AlreadyRunning, hold
from etlcore.trial import TrialError

FILE = """
name: numbers
stages:
  numbers: {source: generate, with: {rows: 10, fields: {n: "{id}"}}}
  odd: {transform: filter, with: {where: number(n) > 6}}
  out: {sink: files, with: {path: out.jsonl}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "numbers.yaml").write_text(FILE, encoding="utf-8")
    return tmp_path / "numbers.yaml"


def written(file: Path) -> list[int]:
    return [json.loads(line)["n"] for line in file.with_name("out.jsonl").read_text("utf-8").splitlines()]


def test_a_file_is_run_as_on_the_command_line(file: Path) -> None:
    ran = etlcore.run(file)
    assert (ran.ok, ran.exit_code, written(file)) == (True, 0, [7, 8, 9])
    assert ran.report.balance.delivered == 3
    assert "balanced: 10 read = 3 delivered + 7 filtered" in str(ran)
    assert "balanced" in ran._repr_html_()
    assert ran.to_json()["exit_code"] == 0
    assert etlcore.run(file).report.balance.read == 0, "it goes on where the last run was committed"
    assert etlcore.run(file, state=file.parent / "other").report.balance.read == 10


def test_what_is_wrong_with_a_file(tmp_path: Path, file: Path) -> None:
    assert etlcore.check(file) == []
    file.write_text(FILE.replace("filter", "filtre").replace("rows", "rwos"), encoding="utf-8")
    problems = etlcore.check(file)
    assert [(problem.place.line, problem.place.column) for problem in problems if problem.place] == [(4, 38), (5, 20)]
    assert [problem.hint.partition("?")[0] for problem in problems] == ["did you mean `rows`", "did you mean `filter`"]
    with pytest.raises(SpecError):
        etlcore.run(file)
    assert os.listdir(tmp_path) == ["numbers.yaml"]


def test_values_of_an_environment_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        "stages: {in: {source: generate, with: {rows: '${ROWS}'}}, out: {sink: blackhole}}", encoding="utf-8"
    )
    assert etlcore.run(tmp_path / "p.yaml", environ={"ROWS": "7"}).report.balance.read == 7
    assert "ROWS" in etlcore.check(tmp_path / "p.yaml", environ={})[0].message


def test_a_stage_that_fails_raises(tmp_path: Path) -> None:
    def broken(row: dict[str, Any]) -> dict[str, Any]:
        return {"x": 1 / row["n"]}

    rows: list[dict[str, Any]] = []
    pipeline = Pipeline("bad", directory=tmp_path).source("in", [{"n": 1}, {"n": 0}]).transform("t", broken)
    pipeline.sink("out", rows)
    with pytest.raises(RunFailed) as raised:
        pipeline.run()
    assert raised.value.ran.exit_code == 1
    assert "ZeroDivisionError" in str(raised.value)
    assert pipeline.run(check=False).exit_code == 1


def test_a_pipeline_is_built_of_names_classes_functions_and_lists(tmp_path: Path) -> None:
    class Count(Source):
        class Config(BaseModel):
            upto: int

        def read(self) -> Iterator[Batch | None]:
            yield Batch.from_rows([{"n": n} for n in range(self.config.upto)])

    class Refuse(RowTransform):
        def map(self, row: dict[str, Any]) -> dict[str, Any]:
            if row["n"] == 3:
                raise Reject("three is not wanted")
            return row

    def twice(row: dict[str, Any]) -> dict[str, Any]:
        return {"n": row["n"] * 2}

    def letters() -> Iterator[dict[str, Any]]:
        yield {"n": 100}

    rows: list[dict[str, Any]] = []
    taken: list[dict[str, Any]] = []

    class Take(Sink):
        def write(self, batch: Batch) -> None:
            taken.extend(batch.rows)

    pipeline = (
        Pipeline("own", directory=tmp_path, shutdown={"timeout": "5s"})
        .source("numbers", Count, {"upto": 5})
        .source("letters", letters)
        .transform("refused", Refuse, from_=["numbers", "letters"])
        .transform("doubled", twice, workers=2)
        .sink("out", rows)
        .sink("taken", Take, from_="doubled")
        .sink("file", "files", {"path": "out.jsonl"}, from_="doubled")
    )
    assert pipeline.checked.shutdown_timeout == 5
    ran = pipeline.run()
    assert sorted(row["n"] for row in rows) == sorted(row["n"] for row in taken) == [0, 2, 4, 8, 200]
    assert (tmp_path / "out.jsonl").read_text("utf-8").count("\n") == 5
    assert ran.report.dead_letters == 1
    (letter,) = pipeline.dead_letters()
    assert (letter.stage, letter.reason, letter.row) == ("refused", "three is not wanted", {"n": 3})


def test_what_is_built_is_checked_like_a_file() -> None:
    pipeline = Pipeline("wrong").source("in", "generate", {"rwos": 5}).sink("out", "console", wrokers=2)
    with pytest.raises(SpecError) as raised:
        pipeline.run()
    assert "did you mean `rows`?" in str(raised.value)
    assert "did you mean `workers`?" in str(raised.value)

    class Count(Source):
        class Config(BaseModel):
            upto: int

        def read(self) -> Iterator[Batch | None]:
            yield None

    with pytest.raises(SpecError, match="needs the option `upto`"):
        _ = Pipeline("p").source("in", Count).sink("out", "blackhole").checked


@pytest.mark.parametrize(
    ("kind", "component", "message"),
    [
        ("source", Sink, "Sink is no Source"),
        ("transform", 5, "a transform is the name of a component, a function or a subclass of Transform, not 5"),
        ("sink", 5, "a sink is the name of a component, a list, a function or a subclass of Sink, not 5"),
    ],
)
def test_what_can_be_no_component(kind: str, component: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        getattr(Pipeline("p"), kind)("x", component)


def test_building_has_its_limits(file: Path) -> None:
    with pytest.raises(ValueError, match="there is a stage `a` already"):
        Pipeline("p").source("a", "generate").sink("a", "console")
    with pytest.raises(ValueError, match="numbers is out of a file: add the stage there"):
        etlcore.load(file).sink("more", "console")
    with pytest.raises(TypeError, match="an option is a object, which no file can hold"):
        _ = Pipeline("p").source("a", "generate", {"rows": object()}).checked


def test_as_a_file(tmp_path: Path) -> None:
    pipeline = Pipeline("p").source("in", "generate", {"rows": 3}).sink("out", "console", workers=2)
    (tmp_path / "p.yaml").write_text(pipeline.to_yaml(), encoding="utf-8")
    again = etlcore.load(tmp_path / "p.yaml")
    assert again.stages == ["in", "out"]
    assert again.checked.stages[1].workers == 2
    with pytest.raises(ValueError, match="is made of a part of this program"):
        Pipeline("p").source("in", [{"a": 1}]).to_yaml()


def test_one_stage_at_a_time(file: Path) -> None:
    pipeline = etlcore.load(file)
    step = pipeline.step("odd", [{"n": "5"}, {"n": "7"}])
    assert step.rows == [{"n": "7"}]
    assert pipeline.step("out", step).rows == [{"n": "7"}]
    assert not file.with_name("out.jsonl").exists(), "nothing is written"
    assert repr(step).splitlines() == ["odd", "n", "-", "7", "1 row"]
    assert "<td>7</td>" in step._repr_html_()
    with pytest.raises(TrialError, match="there is no stage `off`: the stages are numbers, odd, out"):
        pipeline.step("off", [])
    with pytest.raises(TrialError, match="stage `numbers` is a source"):
        pipeline.step("numbers", [])


def test_a_step_shows_what_was_refused_and_what_failed(tmp_path: Path) -> None:
    def check(row: dict[str, Any]) -> dict[str, Any]:
        if row["n"] < 0:
            raise Reject("below <zero>")
        return {"root": row["n"] ** 0.5 / row["n"]}

    pipeline = Pipeline("p").source("in", [{"n": 1}]).transform("t", check).sink("out", [])
    step = pipeline.step("t", [{"n": 4}, {"n": -1}])
    assert step.rows == [{"root": 0.5}]
    assert "dead letter: below <zero>: {'n': -1}" in repr(step)
    assert "below &lt;zero&gt;" in step._repr_html_()
    with pytest.raises(RunFailed, match="ZeroDivisionError"):
        pipeline.step("t", [{"n": 0}])


def test_tables_are_cut() -> None:
    pipeline = Pipeline("p").source("in", "generate").transform("t", lambda row: row).sink("out", "blackhole")
    rows = [{"n": n, "text": "x" * 100, "more": None} for n in range(100)]
    table = pipeline.step("t", rows).rows
    lines = repr(table).splitlines()
    assert lines[-1] == "100 rows, the first 20 shown"
    assert len(lines) == 23
    assert all(len(line) < 80 for line in lines)
    assert len(table) == 100
    assert table[99]["n"] == 99
    assert table.batch.arrow.num_rows == 100


def test_explained_and_drawn(file: Path) -> None:
    pipeline = etlcore.load(file)
    assert [way.guarantee for way in pipeline.explain()] == ["at-least-once"]
    assert [plan.stage for plan in pipeline.plan()] == ["numbers", "odd", "out"]
    assert pipeline.graph().startswith("numbers (source generate)\n")
    assert pipeline._repr_svg_().startswith("<svg ")
    assert repr(pipeline) == "<Pipeline numbers: numbers odd out>"
    etlcore.run(file)
    assert [(it.stage, it.partition) for it in pipeline.positions()] != []


def test_one_run_at_a_time(file: Path) -> None:
    state = file.parent / ".etl"
    with hold(state, "numbers", "run"), pytest.raises(AlreadyRunning):
        etlcore.run(file)


def test_it_may_be_run_on_another_thread(file: Path) -> None:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(etlcore.run(file).exit_code))
    thread.start()
    thread.join()
    assert found == [0]


INTERRUPTED = """
import sys
import etlcore
seen = []
def watch(run):
    if not seen and run.ledger.settled_rows():
        seen.append(1)
        print("running", flush=True)
try:
    ran = etlcore.run(sys.argv[1], watch=watch)
except etlcore.RunFailed as failed:
    ran = failed.ran
print(ran.exit_code, ran.report.reason, ran.report.balance.abandoned == 0, flush=True)
"""


def test_ctrl_c_drains(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        "stages: {in: {source: generate, with: {rows: null, rate: 5000}}, out: {sink: blackhole}}", encoding="utf-8"
    )
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "p.yaml")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "0 SIGINT True\n"
        assert process.wait(timeout=120) == 0


def test_importing_etlcore_costs_next_to_nothing() -> None:
    code = "import sys, etlcore; print({'pydantic', 'pyarrow', 'yaml', 'etlcore.api'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "set()\n"


def refusing(directory: Path, *, mended: bool, found: list[dict[str, Any]]) -> Pipeline:
    def check(row: dict[str, Any]) -> dict[str, Any]:
        if row["n"] % 2 and not mended:
            raise Reject("odd")
        return row

    rows = [{"n": n} for n in range(4)]
    return Pipeline("refusing", directory=directory).source("in", rows).transform("even", check).sink("out", found)


def test_dead_letters_are_replayed_and_purged(tmp_path: Path) -> None:
    found: list[dict[str, Any]] = []
    pipeline = refusing(tmp_path, mended=False, found=found)
    assert pipeline.replay() is None
    pipeline.run()
    ids = [letter.id for letter in pipeline.dead_letters()]
    assert len(ids) == 2
    again = pipeline.replay()
    assert again is not None
    assert again.report.dead_letters == 2, "they are refused again"

    mended = refusing(tmp_path, mended=True, found=found)
    replayed = mended.replay(ids=[letter.id for letter in mended.dead_letters()][:1])
    assert replayed is not None
    assert replayed.report.balance.delivered == 1
    assert [row["n"] for row in found] == [0, 2, 1]
    assert mended.purge(reason="even") == 0
    assert mended.purge(reason="odd") == 1
    assert mended.dead_letters() == []
    assert [run.kind for run in mended.history()] == ["replay", "replay", "run"]


def test_positions_are_moved(file: Path) -> None:
    pipeline = etlcore.load(file)
    pipeline.run()
    (position,) = pipeline.positions()
    assert pipeline.reset("begin") == {"numbers": {position.partition: None}}
    assert pipeline.run().report.balance.read == 10
    assert pipeline.reset(etlcore.Position(position.partition, 4)) == {"numbers": {position.partition: 4}}
    assert pipeline.run().report.balance.read == 6


def test_what_is_installed() -> None:
    from etlcore import api

    assert "etlcore" in [found.distribution for found in api.installed()]
    assert [described.kind for described in api.describe("generate")] == ["source"]
    assert "source generate" in api.json_schema()["definitions"]


def test_the_tests_of_a_pipeline(file: Path) -> None:
    file.write_text(
        FILE + "tests:\n  large: {given: {numbers: [{n: 9}, {n: 1}]}, expect: {out: [{n: 9}]}}\n"
        "  wrong: {given: {numbers: [{n: 9}]}, expect: {out: []}}\n",
        encoding="utf-8",
    )
    assert [(it.name, it.passed) for it in etlcore.load(file).test()] == [("large", True), ("wrong", False)]
    assert [it.name for it in etlcore.load(file).test(only="lar")] == ["large"]
    built = Pipeline("p", tests={"twice": {"given": {"in": [{"n": 1}]}, "expect": {"out": [{"n": 2}]}}})
    built.source("in", []).transform("t", lambda row: {"n": row["n"] * 2}).sink("out", [])
    assert [it.passed for it in built.test()] == [True]
