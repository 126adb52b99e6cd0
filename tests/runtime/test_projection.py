"""Which columns are read: those that a stage behind the source uses; all where a row may become a dead letter."""

from __future__ import annotations

import pytest

from etlcore.runtime.graph import Graph
from etlcore.runtime.projection import columns_used
from etlcore.spec import load_text

SELECT = "s: {transform: select, with: {columns: {new: old, time: __time__}}}"


def used(*stages: str) -> set[str] | None:
    text = "stages:\n  in: {source: generate}\n" + "".join(f"  {stage}\n" for stage in stages)
    found = columns_used(Graph(load_text(text)))["in"]
    return None if found is None else set(found)


@pytest.mark.parametrize(
    ("stages", "columns"),
    [
        (["out: {sink: console}"], None),
        (["out: {sink: blackhole}"], set()),
        ([SELECT, "out: {sink: console}"], {"old", "__time__"}),
        ([SELECT, "out: {sink: blackhole}"], set()),
        ([SELECT, "p: {transform: parse_uri, with: {column: new}}", "out: {sink: console}"], {"old", "__time__"}),
        (["f: {transform: filter, with: {where: id > 1}}", SELECT, "out: {sink: console}"], None),
        (["a: {transform: select, with: {columns: [x, y]}}", "b: {transform: select, with: {columns: [y]}}",
          "out: {sink: console}"], {"y"}),
        ([SELECT, "out: {sink: console}", "raw: {sink: console, from: in}"], None),
        ([SELECT, "out: {sink: console}", "raw: {sink: blackhole, from: in}"], {"old", "__time__"}),
        ([SELECT, "out: {sink: console}", "t: {transform: select, with: {columns: [z]}, from: in}",
          "other: {sink: console}"], {"old", "__time__", "z"}),
        ([SELECT.replace("}}}", "}}, workers: 2, key: user}"), "out: {sink: console}"], {"old", "__time__", "user"}),
        ([SELECT.replace("}}}", "}}, on_error: dead_letter}"), "out: {sink: console}"], None),
        (["out: {sink: blackhole, on_error: dead_letter}"], None),
        (['f: {transform: python, with: {call: "builtins:dict"}}', "out: {sink: blackhole}"], None),
    ],
)  # fmt: skip
def test_what_is_used(stages: list[str], columns: set[str] | None) -> None:
    assert used(*stages) == columns
