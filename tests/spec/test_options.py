"""Options against a component's own model: every complaint placed, nothing from outside the file shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from etlcore.spec import SpecError, load_text

Options = Callable[..., Any]


def complaints(options: Options, yaml: str, **environ: str) -> list[str]:
    with pytest.raises(SpecError) as raised:
        options(yaml, **environ)
    shown = str(raised.value)
    assert all(not value or len(value) < 4 or value not in shown for value in environ.values())
    return [
        f"{problem.place.line}:{problem.place.column} {problem.message} -> {problem.hint}"
        for problem in raised.value.problems
        if problem.place
    ]


def test_aliases(options: Options) -> None:
    assert options("{as: 3}").renamed == 3
    assert options("{new: 3}").choice == 3
    assert complaints(options, "{renamed: 3}") == [
        "4:12 unknown option `renamed` of `probe` -> the options of `probe` are `text`, `optional`, `whole`, `number`,"
        " `truth`, `maybe`, `either`, `one_or_many`, `anything`, `day`, `wait`, `size`, `path`, `start`, `version`,"
        " `level`, `names`, `pair`, `as`, `old`, `new`, `auth`, `more`, `secret`, `token`, `pin_secret`, `port`,"
        " `checked`, `low` and `high`"
    ]
    assert complaints(options, "{as: x}") == [
        "4:16 option `as` of `probe`: must be a whole number, not x -> write a whole number"
    ]


def test_models_within_models(options: Options) -> None:
    assert options("{auth: {user: me, password: x}}").auth.tries == 3
    assert complaints(
        options, "{auth: {usr: me, password: x, tries: many}, more: [{user: a, password: b, pasword: c}]}"
    ) == [
        "4:19 unknown option `usr` of `probe` -> did you mean `user`?",
        "4:48 option `auth.tries` of `probe`: must be a whole number, not many -> write a whole number",
        "4:85 unknown option `pasword` of `probe` -> did you mean `password`?",
    ]
    assert complaints(options, "{more: [{user: a}, 5]}") == [
        "4:19 `probe` needs the option `more.0.password` -> add password: … there",
        "4:30 option `more.1` of `probe`: must be a mapping, not 5 -> correct it",
    ]


def test_the_models_own_constraints(options: Options) -> None:
    assert complaints(options, "{port: 70000, start: middle, checked: a b}") == [
        "4:18 option `port` of `probe`: must be less than or equal to 65535, not 70000 -> correct it",
        "4:32 option `start` of `probe`: must be 'begin' or 'end', not middle -> correct it",
        "4:49 option `checked` of `probe`: 'a b' has a space in it -> correct it",
    ]


def test_a_rule_across_options_is_placed_at_with(options: Options) -> None:
    assert complaints(options, "{low: 11}") == ["4:5 options of `probe`: low (11) is above high (10) -> correct it"]


def test_a_missing_option_says_what_it_is_for(probe: None) -> None:
    text = """
stages:
  g: {source: generate}
  r: {transform: probe.route, with: {throgh: 3}}
  a: {transform: probe.route, from: r.errors}
  o: {sink: console, from: [r, a, a.errors, a.late, r.late]}
"""
    with pytest.raises(SpecError) as raised:
        load_text(text)
    assert [(str(p.place), p.message, p.hint) for p in raised.value.problems] == [
        (
            "pipeline.yaml:4:31",
            "`probe.route` needs the option `needed`: Without it nothing works.",
            "add it below `with:`: needed: …",
        ),
        ("pipeline.yaml:4:38", "unknown option `throgh` of `probe.route`", "did you mean `through`?"),
        (
            "pipeline.yaml:5:3",
            "`probe.route` needs the option `needed`: Without it nothing works.",
            "add it below `with:`: needed: …",
        ),
    ]


def test_a_misspelt_option_is_not_missing_as_well(probe: None) -> None:
    text = (
        "stages: {g: {source: generate}, r: {transform: probe.route, with: {neded: 3}}, o: {sink: console, from: %s}}"
    )
    with pytest.raises(SpecError) as raised:
        load_text(text % "[r, r.errors, r.late]")
    assert [problem.message for problem in raised.value.problems] == ["unknown option `neded` of `probe.route`"]


def test_a_name_may_stand_for_its_alias_where_the_model_says_so(probe: None) -> None:
    route = "{transform: probe.route, with: {needed: 1, by: 3}}"
    text = f"stages: {{g: {{source: generate}}, r: {route}, o: {{sink: console, from: [r, r.errors, r.late]}}}}"
    assert load_text(text).stages[1].config.by == 3  # type: ignore[union-attr]


def test_a_component_without_options(probe: None) -> None:
    text = "stages: {g: {source: generate}, b: {transform: probe.bare, with: %s}, o: {sink: console}}"
    assert load_text(text % "{}").stages[1].config is None
    assert load_text(text % "").stages[1].config is None
    with pytest.raises(SpecError, match=r"`probe\.bare` has no options, but there is `with:`"):
        load_text(text % "{x: 1}")


def test_a_fault_in_a_models_validator_is_the_components(probe: None) -> None:
    text = "stages: {g: {source: generate}, o: {sink: probe.faulty, with: {x: a}}}"
    with pytest.raises(SpecError) as raised:
        load_text(text)
    (problem,) = raised.value.problems
    assert problem.message == "the options of `probe.faulty` (probe-etl 1.0) cannot be checked: KeyError: 'a'"
    assert problem.hint == "this is a fault of the component: tell its authors"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("whole", "hunter2", "must be a whole number, not what ${SECRET} stands for"),
        ("day", "hunter2", "cannot be read (date), not what ${SECRET} stands for"),
        ("size", "hunter2", "could not parse value and unit from byte string, not what ${SECRET} stands for"),
        ("checked", "hunter 2", "'${SECRET}' has a space in it"),
        ("start", "hunter2", "must be 'begin' or 'end', not what ${SECRET} stands for"),
        ("text", "\udcff", "a text is no valid Unicode"),
    ],
)
def test_what_comes_from_outside_is_never_shown(options: Options, option: str, value: str, message: str) -> None:
    (complaint,) = complaints(options, f'{{{option}: "${{SECRET}}"}}', SECRET=value)
    assert message in complaint


def test_a_rule_across_options_does_not_show_it_either(options: Options) -> None:
    (complaint,) = complaints(options, '{low: "${SECRET}"}', SECRET="918273")
    assert "low (${SECRET}) is above high (10)" in complaint


@pytest.mark.parametrize(
    "secret",
    ["[hunter2]", "\n      - hunter2", '\n      - "hun\\x74er2"', "{a: hunter2}"],
)
def test_secrets_below_a_secret_option_are_hidden_too(options: Options, secret: str) -> None:
    with pytest.raises(SpecError) as raised:
        options(f"\n      secret: {secret}".replace("\n      ", "\n        ", 2))
    assert "hunter2" not in str(raised.value)
    assert "x74er2" not in str(raised.value)


def test_secret_options_are_hidden_in_the_quoted_line(options: Options) -> None:
    with pytest.raises(SpecError) as raised:
        options('{secret: "hunter2", secrt: hunter2, auth: {user: x, password: hunter2}, pasword: hunter2, port: 0}')
    assert "hunter2" not in str(raised.value)
    assert (
        "with: {secret: *********, secrt: *******, auth: {user: x, password: *******}, pasword: *******, port: 0}"
        in str(raised.value)
    )


def test_secrets_in_the_file_itself_are_not_repeated_in_messages(options: Options) -> None:
    with pytest.raises(SpecError) as raised:
        options("{token: hunter2, pin_secret: hunter2, auth: {user: x, password: [hunter2]}, checked: a b}")
    shown = str(raised.value)
    assert "option `token` of `probe`: must have at least 10 items after validation, not 7\n" in shown
    assert "option `pin_secret` of `probe`: must be 1 or 2, not what is written\n" in shown
    assert "option `auth.password` of `probe`: must be text, not a list\n" in shown
    assert "hunter2" not in shown
    assert "option `checked` of `probe`: 'a b' has a space in it" in shown
    with pytest.raises(SpecError, match=r"\*\*\* is no good token") as raised:
        options("{token: '0123456789'}")
    assert "0123456789" not in str(raised.value)
