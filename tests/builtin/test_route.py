"""The transform `route`: named outputs by conditions, the same for rows and for columns."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import etlcore
from etlcore import Batch, draw
from etlcore.explain import explain
from etlcore.spec import SpecError, load_text
from tests.builtin.forms import Row, agree, outcome, table, tables

ROWS: list[Row] = [{"id": 0, "status": 200}, {"id": 1, "status": 404}, {"id": 2, "status": 503}, {"id": 3}]


def ids(use: Any, rows: list[Row] = ROWS, **options: Any) -> dict[str | None, list[int]]:
    """The ids that leave by each output, the same in both forms."""
    stage = use("transform", "route", **options)
    found, _ = outcome(stage, [Batch.from_rows(rows)])
    as_columns, _ = outcome(stage, [Batch.from_arrow(Batch.from_rows(rows).arrow)])
    named = {name: [row["id"] for row in made] for name, made in found.items()}
    assert {name: [row["id"] for row in made] for name, made in as_columns.items()} == named
    return named


def test_a_row_goes_to_the_first_route_that_it_fits(use: Any) -> None:
    routes = {"errors": "status >= 500", "odd": "status >= 400"}
    assert ids(use, routes=routes) == {"errors": [2], "odd": [1], None: [0, 3]}


def test_or_to_all_of_them(use: Any) -> None:
    routes = {"errors": "status >= 500", "odd": "status >= 400"}
    assert ids(use, routes=routes, match="all") == {"errors": [2], "odd": [1, 2], None: [0, 3]}


def test_a_row_that_cannot_be_judged_is_a_dead_letter(use: Any, context: Any) -> None:
    rows = [{"id": 0, "kind": "n", "v": "x"}, {"id": 1, "kind": "t", "v": "x"}]
    routes = {"texts": "kind = 't'", "large": "v > 5"}
    reason = "routes.large: column 'v' holds a text and is compared with a number: write number(v)"
    assert ids(use, rows, routes=routes) == {"texts": [1]}, "what comes after the route that a row takes is no matter"
    assert context.rejected == [(rows[0], reason)]
    assert ids(use, rows, routes=routes, match="all") == {}
    assert context.rejected == [(row, reason) for row in rows]


def test_a_dead_letter_leaves_by_no_later_route(use: Any, context: Any) -> None:
    rows = [{"id": 0, "v": "x"}]
    assert ids(use, rows, routes={"large": "v > 5", "all": "id = 0"}) == {}
    assert len(context.rejected) == 1


@pytest.mark.parametrize(
    ("routes", "message"),
    [({}, "at least 1 item"), ({"a b": "x = 1"}, "should match pattern"), ({"a": "x ="}, "at character 4")],
)
def test_wrong_routes_are_refused(use: Any, routes: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        use("transform", "route", routes=routes)


CONDITIONS = ["a > 1", "a = 'a'", "b is null", "c contains 'é'", "a = b", "number(a) >= 0", "b in (1, 2) or c is null"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(
    batches=tables(),
    conditions=st.lists(st.sampled_from(CONDITIONS), min_size=1, max_size=3),
    all_of_them=st.booleans(),
)
def test_rows_and_columns_agree(use: Any, batches: Any, conditions: list[str], all_of_them: bool) -> None:
    routes = {f"r{number}": condition for number, condition in enumerate(conditions)}
    stage = use("transform", "route", routes=routes, match="all" if all_of_them else "first")
    outputs, rejected = agree(stage, stage, batches)
    if not all_of_them:
        assert sum(map(len, outputs.values())) + len(rejected) == sum(map(len, batches))


# The outputs are known wherever pipelines are looked at

FILE = """
name: routed
stages:
  g: {source: generate, with: {rows: 30, fields: {id: "{id}"}}}
  r: {transform: route, with: {routes: {small: id < 10, large: id >= 25}}}
  rest: {sink: blackhole}
  a: {sink: blackhole, from: r.small}
  b: {sink: blackhole, from: r.large}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(SpecError) as raised:
        load_text(text)
    return [f"{problem.message}: {problem.hint}" for problem in raised.value.problems]


def test_the_outputs_of_a_stage_are_those_of_its_options() -> None:
    assert load_text(FILE).stages[1].outputs == ("small", "large")
    (message,) = problems(FILE.replace("r.small", "[r.small, r.largo]"))
    assert message == "stage `r` has no output `largo`: did you mean `r.large`?"
    (message,) = problems(FILE.replace("  b: {sink: blackhole, from: r.large}\n", ""))
    assert message.startswith("nobody reads the output `r.large`: its rows would go nowhere")


def test_wrong_routes_are_the_only_problem() -> None:
    (message,) = problems(FILE.replace("id < 10", "id <"))
    assert "at character 5 of the expression" in message


@pytest.mark.parametrize(("answer", "said"), [([1], "it says (1,)"), (None, "outputs_of() raised TypeError")])
def test_a_component_that_cannot_say_its_outputs_is_a_problem_of_the_file(answer: Any, said: str) -> None:
    class Odd(etlcore.Transform):
        @classmethod
        def outputs_of(cls, config: Any) -> Any:
            return answer

        def process(self, batch: Batch) -> Batch:
            return batch

    built = etlcore.Pipeline("odd").source("g", "generate").transform("t", Odd).sink("o", "blackhole", from_="t.x")
    with pytest.raises(SpecError) as raised:
        built.explain()
    (problem,) = raised.value.problems
    assert "cannot say what its outputs are" in problem.message
    assert said in problem.message


def test_they_are_drawn_and_explained() -> None:
    pipeline = load_text(FILE)
    assert '-->|"small"|' in draw.mermaid(pipeline)
    assert [way.stages for way in explain(pipeline)] == [("g", "r", "rest"), ("g", "r", "a"), ("g", "r", "b")]


def test_they_are_tried_out() -> None:
    built = etlcore.Pipeline("routed").source("g", "generate")
    built.transform("r", "route", {"routes": {"small": "id < 10", "large": "id >= 25"}})
    built.sink("rest", "blackhole", from_=["r", "r.small", "r.large"])
    step = built.step("r", [{"id": 3}, {"id": 30}, {"id": 12}])
    assert step.rows.rows == [{"id": 12}]
    assert {name: made.rows for name, made in step.outputs.items()} == {"small": [{"id": 3}], "large": [{"id": 30}]}


def test_columns_without_a_fit_for_anything_are_not_copied(use: Any) -> None:
    given_ = table(id=[1, 2, 3])
    stage = use("transform", "route", routes={"none": "id > 5"})
    (_, empty), rest = stage.process(Batch.from_arrow(given_))
    assert len(empty) == 0
    assert rest.arrow.column("id").buffers()[1].address == given_.column("id").buffers()[1].address
