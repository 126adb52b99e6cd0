"""What `etl explain` says a pipeline guarantees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from etlcore.cli.explain import explain as verb
from etlcore.explain import explain
from etlcore.spec import load_text
from etlcore.stage_plan import plan

FILES = "in: {source: files, with: {path: x.jsonl}}"
KEEPS = "sel: {transform: select, with: {columns: [a]}}"
FUNCTION = 'fun: {transform: python, with: {call: "json:dumps"}}'
LOSES = "out: {sink: console}"
OVERWRITES = "out: {sink: blackhole}"
COUNTS_ONCE = "out: {sink: sqlite, with: {path: out.db, table: out}}"


def text(*stages: str) -> str:
    return "stages:\n" + "".join(f"  {stage}\n" for stage in stages)


@pytest.mark.parametrize(
    ("stages", "guarantee", "because"),
    [
        ((FILES, KEEPS, LOSES), "at-least-once", "out (console) writes a row again"),
        ((FILES, KEEPS, OVERWRITES), "effectively-once", "leaves the same result"),
        ((FILES, FUNCTION, OVERWRITES), "at-least-once", "fun (python) may give other rows"),
        ((FILES, FUNCTION, COUNTS_ONCE), "effectively-once", "the source's positions in one transaction"),
        (('in: {source: python, with: {call: "json:loads"}}', LOSES), "at-most-once", "cannot read again"),
    ],
)
def test_the_guarantee_follows_from_what_components_declare(
    stages: tuple[str, ...], guarantee: str, because: str
) -> None:
    (way,) = explain(load_text(text(*stages), file="p.yaml"))
    assert way.guarantee == guarantee
    assert any(because in reason for reason in way.why), way.why
    assert bool(way.more) == (guarantee != "effectively-once")


def test_what_each_end_costs_in_front_of_a_transactional_sink() -> None:
    (way,) = explain(load_text(text(FILES, KEEPS, COUNTS_ONCE), file="p.yaml"))
    clean, *others = way.costs
    assert clean == ("end of input, or a first signal", "nothing")
    assert [end.partition(",")[0].partition(" (")[0] for end, _ in others] == [
        "a stop that takes longer than 30 s",
        "a stage that stops the run",
        "a crash",
    ]
    assert all("is read again; each row is there once" in cost for _, cost in others)


def test_every_way_is_named() -> None:
    pipeline = load_text(
        text(
            FILES,
            "a: {transform: select, from: in, with: {columns: [a]}}",
            "b: {transform: select, from: in, with: {columns: [a]}}",
            "out: {sink: console, from: [a, b]}",
            "too: {sink: blackhole, from: b}",
        ),
        file="p.yaml",
    )
    assert {way.stages: way.guarantee for way in explain(pipeline)} == {
        ("in", "a", "out"): "at-least-once",
        ("in", "b", "out"): "at-least-once",
        ("in", "b", "too"): "effectively-once",
    }


def test_rows_that_are_dropped_are_said_to_be() -> None:
    stages = (FILES, "sel: {transform: select, on_error: drop, with: {columns: [a]}}", OVERWRITES)
    (way,) = explain(load_text(text(*stages), file="p.yaml"))
    assert any("sel drops rows that fail" in reason for reason in way.why)
    assert any("on_error: dead_letter" in change for change in way.more)


def test_the_plan_of_a_stage() -> None:
    policy = "{retries: 3, then: dead_letter}"
    stages = (FILES, f"out: {{sink: console, queue: 20, batch: {{rows: 5, seconds: 1}}, on_error: {policy}}}")
    out = plan(load_text(text(*stages), file="p.yaml"))[1]
    assert (out.queue, out.batch, out.order) == ("20 rows, 64 MiB", "5 rows, within 1 s", "kept")
    assert out.on_error == "3 retries, pause after 50 failures in a row, dead letter"


def test_the_verb_writes_text_and_json(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(text(FILES, KEEPS, LOSES))
    said = CliRunner().invoke(verb, [str(file)], catch_exceptions=False)
    assert "in -> sel -> out: at-least-once" in said.output
    assert "a crash (kill -9, power)" in said.output
    data = json.loads(CliRunner().invoke(verb, [str(file), "--json"], catch_exceptions=False).output)
    assert data["ways"][0]["guarantee"] == "at-least-once"
    assert [stage["stage"] for stage in data["stages"]] == ["in", "sel", "out"]


def test_how_stages_will_run_and_why() -> None:
    pipeline = load_text(
        """
        defaults: {workers: 2, batch: {rows: 100, seconds: 0.5}}
        stages:
          in: {source: generate}
          shared: {transform: filter, with: {where: id > 1}, workers: 4}
          in_turn: {transform: filter, with: {where: id > 1}, ordered: true, on_error: drop}
          keyed: {transform: filter, with: {where: id > 1}, key: id, queue: 7}
          out: {sink: sqlite, with: {path: a.db, table: t}, workers: 1, batch: 5, on_error: dead_letter}
        """,
        file="p.yaml",
    )
    why = {stage.stage: stage.why for stage in plan(pipeline)}
    assert why["in"]["workers"] == "as `defaults` says; they share out the partitions"
    assert why["shared"]["workers"] == "as the stage says; they take batches side by side"
    assert why["shared"]["order"] == "4 workers; `ordered: true`, or `key: COLUMN` would keep it"
    assert why["shared"]["batch"].startswith(
        "as `defaults` says: waiting batches are joined and split to fit; a worker"
    )
    assert why["shared"]["on_error"].startswith("the default: a row that fails stops the run")
    assert why["in_turn"]["order"].startswith("`ordered`: a worker that is ahead waits")
    assert (
        why["in_turn"]["on_error"]
        == "as the stage says; a batch that fails is halved until the rows that fail are alone"
    )
    assert why["keyed"]["order"] == "`key`: rows with the same id go to the same worker"
    assert (why["keyed"]["queue"], why["shared"]["queue"]) == ("as the stage says", "the default")
    assert why["out"]["workers"].startswith("a transactional sink has one")
    assert why["out"]["batch"] == "as the stage says: waiting batches are joined and split to fit"
    assert why["out"]["on_error"].endswith("is over after a while, so it is tried again first")


def test_only_what_is_not_usual_is_told(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("stages: {in: {source: generate}, out: {sink: console}}", encoding="utf-8")
    shown = CliRunner().invoke(verb, [str(tmp_path / "p.yaml")]).output
    assert "\nbecause\n" not in shown
    (tmp_path / "p.yaml").write_text(
        "stages: {in: {source: generate}, out: {sink: console, workers: 2}}", encoding="utf-8"
    )
    shown = CliRunner().invoke(verb, [str(tmp_path / "p.yaml")]).output
    assert "\nbecause\n  out  workers  2: as the stage says; they write side by side\n" in shown
