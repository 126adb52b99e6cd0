"""Whatever a file holds, it is a pipeline or a list of problems; never another exception."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etlcore.plugins import Plugins
from etlcore.spec import SpecError, load_text
from etlcore.spec.document import decode
from etlcore.spec.model import Pipeline

PLUGINS = Plugins()
ENVIRON = {"A": "1", "B": "text: {with: yaml}", "EMPTY": ""}

PARTS = [
    *(
        "stages:",
        "\n",
        "\n  ",
        "\n    ",
        " ",
        "\t",
        "{",
        "}",
        "[",
        "]",
        ", ",
        ": ",
        "- ",
        "#",
        "'",
        '"',
        "|",
        ">",
        "\\",
    ),
    *("&a ", "*a", "<<: ", "? ", "!!str ", "!x ", "---\n", "...\n", "%YAML 1.1\n", "\r\n", "\r", "\u0085", "\u2028"),
    *("source", "transform", "sink", "with", "from", "workers", "queue", "batch", "ordered", "key", "on_error"),
    *("generate", "select", "console", "files", "python", "rows", "columns", "bytes", "seconds", "defaults", "plugins"),
    *(
        "g",
        "o",
        "1",
        "012",
        "1:30",
        "1e999",
        ".nan",
        "-.inf",
        "0x1f",
        "no",
        "~",
        "1_000",
        "9" * 5000,
        "\ud800",
        "é",
        "中",
    ),
    *("${A}", "${B}", "${EMPTY}", "${", "$${", "${A:-", "${file:/}", "${file:\0}", "${x:y}", "${A:?}", "x-a", "name"),
    "stages:\n  g: {source: generate, with: {rows: 3}}\n",
    "  o: {sink: console}\n",
    "  s: {transform: select, with: {columns: [id]}, from: g}\n",
]


def check(text: str) -> None:
    outcome: Pipeline | SpecError
    try:
        outcome = load_text(text, plugins=PLUGINS, environ=ENVIRON)
    except SpecError as error:
        outcome = error
    if isinstance(outcome, SpecError):
        assert outcome.problems
        assert all(problem.message for problem in outcome.problems)
        assert str(outcome)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(PARTS), max_size=40).map("".join))
def test_pieces_of_pipelines(text: str) -> None:
    check(text)


GOOD = """\
name: good
defaults: {queue: {rows: 100, bytes: 1MiB}, batch: 10}
stages:
  g:
    source: generate
    with: {rows: "${A}", fields: {a: x, b: "{id}"}}
  s: {transform: select, with: {columns: {id: a}}, workers: 2, ordered: yes}
  o: {sink: console, from: [s, g], batch: {rows: 5, seconds: 500ms}}
shutdown: {timeout: 30s}
"""


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_good_pipeline_with_a_few_changes(data: st.DataObject) -> None:
    text = GOOD
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 8)))
        text = text[:start] + data.draw(st.sampled_from(["", *PARTS])) + text[end:]
    check(text)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=50))
def test_any_text(text: str) -> None:
    check(text)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=50))
def test_any_bytes(data: bytes) -> None:
    try:
        text = decode(data, "p.yaml")
    except SpecError:
        return
    check(text)


def test_the_good_pipeline_is_good() -> None:
    assert load_text(GOOD, plugins=PLUGINS, environ=ENVIRON).name == "good"
