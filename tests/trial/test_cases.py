"""Tests of pipelines, run by `run_tests`: real stages, real files beside the pipeline."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etlcore.spec import load
from etlcore.trial import CaseResult, coverage, run_tests

STEPS = """
    import logging

    from etlcore import Batch, Component, Reject, Transform, hookimpl


    def change(row):
        return {**row, "n": row["n"] + 1}


    class Spoil(Transform):
        def process(self, batch):
            for row in batch.rows:
                row["n"] += 1  # in place, as one should not
            return batch


    def divide(row, by=1):
        return {"n": row["n"] // by}


    class Route(Transform):
        outputs = ("odd", "never")

        def process(self, batch):
            yield Batch.from_rows([row for row in batch.rows if row["n"] % 2 == 0])
            yield "odd", Batch.from_rows([row for row in batch.rows if row["n"] % 2])


    class Total(Transform):
        buffers = True

        def open(self, context):
            super().open(context)
            self.kept = []

        def process(self, batch):
            self.kept.append(batch)

        def flush(self):
            if self.kept:
                total = sum(row["n"] for batch in self.kept for row in batch.rows)
                yield Batch.from_rows([{"total": total}]).derived_from(*self.kept)


    @hookimpl
    def etl_components():
        yield Component("steps.route", kind="transform", target="steps:Route")
        yield Component("steps.spoil", kind="transform", target="steps:Spoil")
        yield Component("steps.total", kind="transform", target="steps:Total")
"""


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[CaseResult]]:
    """Runs the tests of a pipeline whose stages are below, in a directory of its own."""

    def run(stages: str, tests: str, **options: Any) -> list[CaseResult]:
        return run_tests(write(tmp_path, stages, tests), **options)

    return run


def write(directory: Path, stages: str, tests: str) -> Any:
    (directory / "functions.py").write_text(textwrap.dedent(STEPS))
    file = directory / "p.yaml"
    parts = ("stages", stages), ("tests", tests)
    file.write_text("".join(f"{key}:\n{textwrap.indent(textwrap.dedent(text), '  ')}\n" for key, text in parts))
    return load(file, tests=True)


CHANGE = """
    numbers: {source: generate}
    changed: {transform: python, with: {call: functions.py:change}}
    out: {sink: files, with: {path: written.jsonl}}
"""


def test_what_comes_out_is_what_is_expected_and_nothing_is_written(results: Any, tmp_path: Path) -> None:
    (result,) = results(CHANGE, "one: {given: {numbers: [{n: 1}, {n: 2}]}, expect: {out: [{n: 3}, {n: 2}]}}")
    assert result.passed
    assert (result.name, result.errors, result.differences) == ("one", (), ())
    assert not (tmp_path / "written.jsonl").exists()
    assert not (tmp_path / ".etl").exists()


def test_given_rows_are_the_same_in_every_run_whatever_stages_do_to_them(steps: None, tmp_path: Path) -> None:
    pipeline = write(
        tmp_path,
        CHANGE.replace("python, with: {call: functions.py:change}", "steps.spoil"),
        """
        one: {given: &rows {numbers: [{n: 1}]}, expect: {out: [{n: 2}]}}
        two: {given: *rows, expect: {out: [{n: 2}]}}
        """,
    )
    for _ in range(2):
        assert [result.passed for result in run_tests(pipeline)] == [True, True]


def test_what_differs_is_told(results: Any) -> None:
    (result,) = results(CHANGE, "one: {given: {numbers: [{n: 1}]}, expect: {out: [{n: 3}], changed: [{n: 2}]}}")
    assert not result.passed
    (difference,) = result.differences
    assert (difference.at, difference.missing, difference.unexpected) == ("out", 1, 1)
    assert difference.diff == ('-{"n":3}', '+{"n":2}')


def test_a_stage_that_raises_fails_the_test_with_its_traceback(results: Any) -> None:
    (result,) = results(CHANGE, "one: {given: {numbers: [{m: 1}]}, expect: {out: []}}")
    (error,) = result.errors
    assert error.stage == "changed"
    assert "functions.py:change raised KeyError: 'n'" in error.message
    assert "Traceback" in error.traceback
    assert result.differences == ()


REFUSING = """
    numbers: {source: generate}
    divided:
      transform: python
      with: {call: functions.py:divide, options: {by: 0}}
      on_error: {retries: 5, wait: 1d, longest_wait: 7d, breaker: 1, then: dead_letter}
    out: {sink: blackhole}
"""


@pytest.mark.parametrize(
    ("dead", "passes"),
    [
        ("{divided: [ZeroDivisionError, {row: {n: 2}}]}", True),
        ("{divided: [{reason: Zero, row: {n: 2}}, {reason: Division, row: {n: 1}}]}", True),
        ("{divided: [Zero]}", False),
        ("{divided: [Zero, Zero, Zero]}", False),
        ("{divided: [Zero, {row: {n: 3}}]}", False),
        ("{divided: [{reason: Zero, row: {n: 2}}, {reason: Zero, row: {n: 2}}]}", False),
        ("{}", False),
    ],
)
def test_dead_letters(results: Any, dead: str, passes: bool) -> None:
    """Each in the place of one; and none of the retries waits, nor the breaker, for days."""
    (result,) = results(REFUSING, f"one: {{given: {{numbers: [{{n: 1}}, {{n: 2}}]}}, dead: {dead}}}")
    assert (result.passed, result.errors) == (passes, ())
    assert [difference.at for difference in result.differences] == ([] if passes else ["dead letters of divided"])


def test_dead_letters_that_nobody_expects_fail_a_test(results: Any) -> None:
    (result,) = results(REFUSING, "one: {given: {numbers: [{n: 1}]}, expect: {out: []}}")
    (difference,) = result.differences
    assert difference.diff[0].startswith('+{"reason":"')
    assert difference.diff[0].endswith('"row":{"n":1}}')


def test_rows_that_are_dropped_are_no_dead_letters_and_what_was_logged_is_kept(results: Any) -> None:
    stages = REFUSING.replace("then: dead_letter", "then: drop")
    (result,) = results(stages, "one: {given: {numbers: [{n: 1}]}, expect: {out: []}}")
    assert result.passed
    assert any("ZeroDivisionError" in message for message in result.messages)


ROUTED = """
    numbers: {source: generate}
    more: {source: generate}
    routed: {transform: steps.route, from: [numbers, more]}
    even: {sink: blackhole}
    odd: {sink: blackhole, from: routed.odd}
    never: {sink: blackhole, from: routed.never}
"""


@pytest.fixture
def steps(site: Any) -> None:
    """The plugin ``steps``, installed."""
    site.install("steps-etl", "1", {"steps": "steps"}, {"steps.py": STEPS})


def test_named_outputs_and_several_sources(steps: None, results: Any) -> None:
    found = results(
        ROUTED,
        """
        one:
          given: {numbers: [{n: 1}, {n: 2}], more: [{n: 3}]}
          expect: {routed: [{n: 2}], routed.odd: [{n: 1}, {n: 3}], odd: [{n: 1}, {n: 3}], never: []}
        two: {given: {numbers: [{n: 1}]}, expect: {routed.odd: [{n: 2}]}}
        three: {given: {numbers: [{n: 1}], routed: [{n: 4}]}, expect: {even: [{n: 4}], odd: []}}
        """,
    )
    assert [result.passed for result in found] == [True, False, True]
    assert found[1].differences[0].at == "routed.odd"


def test_a_stage_that_keeps_rows_gives_them_at_the_end(steps: None, results: Any) -> None:
    stages = "numbers: {source: generate}\ntotal: {transform: steps.total}\nout: {sink: blackhole}"
    (result,) = results(stages, "one: {given: {numbers: [{n: 1}, {n: 2}]}, expect: {out: [{total: 3}]}}")
    assert result.passed, result


def test_the_environment_of_a_test_is_that_tests_alone(results: Any) -> None:
    stages = """
        numbers: {source: generate}
        wanted: {transform: filter, with: {where: "n >= ${LEAST:-0}"}}
        out: {sink: blackhole}
    """
    given = "given: {numbers: [{n: 1}, {n: 2}]}"
    found = results(
        stages,
        f"""
        all: {{{given}, expect: {{out: [{{n: 1}}, {{n: 2}}]}}}}
        some: {{{given}, expect: {{out: [{{n: 2}}]}}, environ: {{LEAST: 2}}}}
        all again: {{{given}, expect: {{out: [{{n: 1}}, {{n: 2}}]}}}}
        """,
    )
    assert [result.passed for result in found] == [True, True, True]


def test_columns_and_order(results: Any) -> None:
    given = "given: {numbers: [{n: 1, m: 0}, {n: 2, m: 0}]}"
    found = results(
        CHANGE,
        f"""
        some: {{{given}, expect: {{out: [{{n: 3}}, {{n: 2}}]}}, columns: some}}
        all: {{{given}, expect: {{out: [{{n: 3}}, {{n: 2}}]}}, columns: all}}
        in order: {{{given}, expect: {{out: [{{n: 2}}, {{n: 3}}]}}, columns: some, in_order: true}}
        not in order: {{{given}, expect: {{out: [{{n: 3}}, {{n: 2}}]}}, columns: some, in_order: true}}
        """,
    )
    assert [result.passed for result in found] == [True, False, True, False]


def test_only_some(results: Any) -> None:
    tests = "\n".join(f"{name}: {{given: {{numbers: []}}, expect: {{out: []}}}}" for name in ("Große Zahl", "kleine"))
    assert [result.name for result in results(CHANGE, tests, only="GROSSE")] == ["Große Zahl"]
    assert len(results(CHANGE, tests)) == 2
    assert results(CHANGE, tests, only="x") == []


def test_coverage(steps: None, tmp_path: Path) -> None:
    pipeline = write(
        tmp_path,
        ROUTED,
        """
        one: {given: {numbers: [{n: 1}, {n: 3}]}, expect: {odd: [{n: 1}, {n: 3}]}}
        two: {given: {routed: [{n: 5}]}, expect: {odd: [{n: 5}]}}
        """,
    )
    found = coverage(pipeline, run_tests(pipeline))
    assert {str(part.at): (part.tests, part.rows, part.put_out, part.dead, part.gaps) for part in found.parts} == {
        "numbers": (1, 2, 2, None, []),
        "more": (0, 0, 0, None, ["no test gives it rows"]),
        "routed": (2, 3, 0, 0, ["no row comes out of it"]),
        "routed.odd": (2, 3, None, None, []),
        "routed.never": (0, 0, None, None, ["no row comes out of it"]),
        "even": (0, 0, None, None, ["no row comes to it"]),
        "odd": (2, 3, None, None, []),
        "never": (0, 0, None, None, ["no row comes to it"]),
    }
    assert (found.reached, found.without_dead) == (3, ["routed"])


def test_coverage_of_a_stage_whose_main_output_nobody_reads(steps: None, tmp_path: Path) -> None:
    stages = ROUTED.replace("    even: {sink: blackhole}\n", "")
    pipeline = write(tmp_path, stages, "one: {given: {routed: [{n: 5}]}, expect: {odd: [{n: 5}]}}")
    (routed,) = (part for part in coverage(pipeline, run_tests(pipeline)).parts if str(part.at) == "routed")
    assert routed.gaps == []
