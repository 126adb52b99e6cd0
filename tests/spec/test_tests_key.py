"""``tests:`` of a pipeline file: what is wrong with it is placed and explained, and a run never looks at it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from etlcore.plugins import Plugins
from etlcore.spec import SpecError, load, load_text
from etlcore.spec.document import read
from etlcore.spec.model import Input, Refusal
from etlcore.spec.schema import json_schema

ETL = Path(sys.executable).with_name("etl")
STAGES = """\
stages:
  logs: {source: generate}
  parsed: {transform: parse_uri, with: {column: "${COLUMN:-uri}"}}
  out: {sink: console}
  other: {source: generate}
  more: {sink: blackhole}
"""
GIVEN = "given: {logs: [{uri: /a}]}"


def with_tests(text: str) -> str:
    """A pipeline with these tests, which begin in line 8."""
    return f"{STAGES}tests:\n{textwrap.indent(textwrap.dedent(text).strip(), '  ')}\n"


WRONG = {
    "no mapping": ("- one", "8:3", "`tests` must be a mapping (name: test), not a list", "write name: test"),
    "a test that is none": ("one: 1", "8:8", "`one` must be a mapping", "write given, expect"),
    "an unknown key": (
        f"one: {{{GIVEN}, expect: {{out: []}}, in_ordr: true}}",
        "8:56",
        "unknown key `in_ordr`",
        "did you mean `in_order`?",
    ),
    "a word from elsewhere": (
        f"one: {{{GIVEN}, outputs: {{out: []}}}}",
        "8:37",
        "unknown key `outputs`",
        "did you mean `expect`?",
    ),
    "nothing given": ("one: {expect: {out: []}}", "8:3", "test `one` gives no rows to any stage", "add given: {logs:"),
    "given to nobody": ("one: {given: {}, dead: {}}", "8:16", "`given` names no stage", "write given: {STAGE:"),
    "nothing expected": (f"one: {{{GIVEN}}}", "8:3", "test `one` expects nothing", "add expect: {STAGE: [ROW, …]}"),
    "given to a stage that is not there": (
        "one: {given: {lgs: []}, expect: {more: []}}",
        "8:17",
        "there is no stage `lgs`",
        "did you mean `logs`?",
    ),
    "given to an output": (
        "one: {given: {parsed.errors: []}, dead: {}}",
        "8:17",
        "`parsed.errors` is an output, not a stage",
        "name the stage, `parsed`, or one behind it",
    ),
    "rows that are none": ("one: {given: {logs: all}, dead: {}}", "8:23", "`logs` must be rows, not all", "write a"),
    "a row that is none": (
        "one: {given: {logs: [a]}, dead: {}}",
        "8:24",
        "a row must be a mapping of column to value, not a",
        "write it like {id: 1",
    ),
    "rows as one row": (
        "one: {given: {logs: {uri: /a}}, dead: {}}",
        "8:23",
        "`logs` must be a list of rows, not a mapping",
        "write a list of mappings",
    ),
    "a file that is not there": (
        "one: {given: {logs: {file: no.jsonl}}, dead: {}}",
        "8:30",
        "…no.jsonl cannot be read: No such file",
        "the path is relative to the pipeline file's directory",
    ),
    "an output that is not there": (
        f"one: {{{GIVEN}, expect: {{parsed.errors: []}}}}",
        "8:46",
        "stage `parsed` has no output `errors`",
        "write `parsed` alone",
    ),
    "what no row can come to": (
        f"one: {{{GIVEN}, expect: {{more: []}}}}",
        "8:46",
        "no given row can come to `more`: what is given goes to `logs`, `parsed` and `out` alone",
        "give rows to `other` or `more`",
    ),
    "what is in front of the rows": (
        "one: {given: {parsed: []}, expect: {logs: []}}",
        "8:39",
        "no given row can come to `logs`",
        "give rows to `logs`",
    ),
    "dead letters of a source": (
        f"one: {{{GIVEN}, dead: {{logs: [x]}}}}",
        "8:44",
        "`logs` is a source: in a test it refuses no rows, as it is not read",
        "name a transform",
    ),
    "dead letters of a sink": (
        f"one: {{{GIVEN}, dead: {{out: [x]}}}}",
        "8:44",
        "`out` is a sink: in a test it refuses no rows, as nothing is written",
        "name a transform",
    ),
    "dead letters that are none": (
        f"one: {{{GIVEN}, dead: {{parsed: x}}}}",
        "8:52",
        "`parsed` must be a list of refused rows, not x",
        "write a list of reasons",
    ),
    "a dead letter that is none": (
        f"one: {{{GIVEN}, dead: {{parsed: [[x]]}}}}",
        "8:53",
        "a refused row must be a reason or a mapping, not a list",
        "write a list of reasons",
    ),
    "a key of a dead letter": (
        f"one: {{{GIVEN}, dead: {{parsed: [{{reson: x}}]}}}}",
        "8:54",
        "unknown key `reson`",
        "did you mean `reason`?",
    ),
    "columns": (
        f"one: {{{GIVEN}, dead: {{}}, columns: most}}",
        "8:56",
        "`columns` must be all or some, not most",
        "all: rows have exactly the expected columns",
    ),
    "an environment that is none": (
        f"one: {{{GIVEN}, dead: {{}}, environ: {{COLUMN: [a]}}}}",
        "8:65",
        "`COLUMN` must be text, not a list",
        "write a text",
    ),
}

BEYOND_A_SCHEMA = {
    "given to a stage that is not there",
    "given to an output",
    "a file that is not there",
    "an output that is not there",
    "what no row can come to",
    "what is in front of the rows",
    "dead letters of a source",
    "dead letters of a sink",
}


@pytest.fixture(scope="module")
def schema() -> Draft7Validator:
    return Draft7Validator(json_schema(Plugins(), [].append))


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_placed_and_explained(name: str, schema: Draft7Validator) -> None:
    text, place, message, hint = WRONG[name]
    with pytest.raises(SpecError) as raised:
        load_text(with_tests(text), file="p.yaml", environ={}, tests=True)
    (problem,) = raised.value.problems
    assert str(problem.place) == f"p.yaml:{place}"
    assert message.removeprefix("…") in problem.message
    assert problem.hint.startswith(hint)
    refused = list(schema.iter_errors(read(with_tests(text), "p.yaml").value))
    assert bool(refused) == (name not in BEYOND_A_SCHEMA)
    assert load_text(with_tests(text), environ={}).tests == (), "a run does not look at them"


def test_all_that_a_test_may_say(schema: Draft7Validator) -> None:
    text = with_tests(
        """
        one:
          description: All of it.
          given: {logs: [{uri: /a, no: 012, n: 1.0}], other: []}
          expect: {parsed: [{uri: "${NOT_FILLED}"}], more: []}
          dead: {parsed: [bad, {row: {n: 1}}, {reason: 5}]}
          environ: {COLUMN: no, OTHER: "x"}
          in_order: yes
          columns: some
        two: {given: {out: []}, expect: {out: []}}
        """
    )
    one, two = load_text(text, file="p.yaml", environ={}, tests=True).tests
    assert one.given == {"logs": [{"uri": "/a", "no": "012", "n": 1.0}], "other": []}
    assert one.expect == {Input("parsed"): [{"uri": "${NOT_FILLED}"}], Input("more"): []}
    assert one.dead == {"parsed": [Refusal("bad"), Refusal("", {"n": 1}), Refusal("5")]}
    assert (one.environ, one.in_order, one.further_columns) == ({"COLUMN": "no", "OTHER": "x"}, True, True)
    assert one.pipeline is not None
    assert one.pipeline.stages[1].config.column == "no"  # type: ignore[union-attr]
    assert (one.name, str(one.place)) == ("one", "p.yaml:8:3")
    assert (two.pipeline, two.in_order, two.further_columns) == (None, False, False)
    assert list(schema.iter_errors(read(text, "p.yaml").value)) == []


def test_the_files_of_rows_are_beside_the_pipeline(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"n": 1}\n\n{"n": 2.0}\n')
    (tmp_path / "bad.jsonl").write_text('{"n": 1}\n[1]\n')
    file = tmp_path / "p.yaml"
    file.write_text(with_tests("one: {given: {logs: {file: rows.jsonl}}, expect: {logs: {file: ./rows.jsonl}}}"))
    (case,) = load(file, tests=True).tests
    assert case.given["logs"] == case.expect[Input("logs")] == [{"n": 1}, {"n": 2.0}]
    file.write_text(with_tests("one: {given: {logs: {file: bad.jsonl}}, dead: {}}"))
    with pytest.raises(SpecError, match=r"p.yaml:8:30: .*bad.jsonl:2: not a JSON object but an array"):
        load(file, tests=True)


def test_an_environment_that_the_pipeline_cannot_have() -> None:
    text = with_tests(f"one: {{{GIVEN}, dead: {{}}, environ: {{ROWS: many}}}}").replace(
        "logs: {source: generate}", 'logs: {source: generate, with: {rows: "${ROWS:-1}"}}'
    )
    with pytest.raises(SpecError) as raised:
        load_text(text, file="p.yaml", environ={}, tests=True)
    (problem,) = raised.value.problems
    assert str(problem.place).startswith("p.yaml:2:")
    assert problem.message.startswith("with the `environ` of test `one`: option `rows` of `generate`")


def test_where_stages_are_wrong_tests_are_checked_as_far_as_they_can_be() -> None:
    text = with_tests("one: {given: {logs: []}, expect: {more: []}, columns: most}").replace("console", "consle")
    with pytest.raises(SpecError) as raised:
        load_text(text, file="p.yaml", environ={}, tests=True)
    assert [str(problem.place) for problem in raised.value.problems] == ["p.yaml:4:15", "p.yaml:8:57"]


def test_check_reads_them_and_run_does_not(tmp_path: Path) -> None:
    text = (
        f"stages: {{a: {{source: generate, with: {{rows: 0}}}}, out: {{sink: console}}}}\ntests: {{one: {{{GIVEN}}}}}\n"
    )
    (tmp_path / "p.yaml").write_text(text)

    def etl(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([ETL, *arguments, "p.yaml"], cwd=tmp_path, capture_output=True, text=True, timeout=120)

    checked = etl("check")
    assert checked.returncode == 2
    assert "p.yaml:2:23: there is no stage `logs`" in checked.stderr
    assert etl("run", "--quiet").returncode == 0
