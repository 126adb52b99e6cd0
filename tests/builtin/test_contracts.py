"""The built-in transforms under the contract of all transforms."""

from __future__ import annotations

from typing import Any, ClassVar

from etlcore.testing import TransformContract

Row = dict[str, Any]


class Small(TransformContract):
    huge = 2_000


class TestSelect(Small):
    component = "select"
    options: ClassVar[Row] = {"columns": {"text": "text", "number": "id", "missing": "missing"}}


class TestFilter(Small):
    component = "filter"
    options: ClassVar[Row] = {"where": "id > 1 and text is not null"}


class TestParseUri(Small):
    component = "parse_uri"
    examples = (
        (
            [{"request_uri": "/a%20b?x=1"}, {"request_uri": "/c"}],
            [
                {"request_uri": "/a%20b?x=1", "path": "/a b", "query": {"x": "1"}},
                {"request_uri": "/c", "path": "/c", "query": {}},
            ],
        ),
    )


class TestRename(Small):
    component = "rename"
    options: ClassVar[Row] = {"columns": {"id": "number"}}
    examples = (([{"id": 1, "text": "a"}], [{"number": 1, "text": "a"}]),)


class TestCast(Small):
    component = "cast"
    options: ClassVar[Row] = {"columns": {"id": "int", "text": "text", "when": "timestamp"}}
    examples = (([{"id": "7", "text": 1.5}], [{"id": 7, "text": "1.5", "when": None}]),)


class TestRoute(Small):
    component = "route"
    options: ClassVar[Row] = {"routes": {"small": "id < 5"}}


class TestExplode(Small):
    component = "explode"
    options: ClassVar[Row] = {"column": "tags", "index": "at"}
    examples = (([{"id": 1, "tags": ["a", "b"]}], [{"id": 1, "tags": "a", "at": 0}, {"id": 1, "tags": "b", "at": 1}]),)


class TestMask(Small):
    component = "mask"
    options: ClassVar[Row] = {"hash": ["id"], "salt": "of this test", "keep_last": {"text": 2}}


class TestSampleByColumn(Small):
    component = "sample"
    options: ClassVar[Row] = {"fraction": 0.5, "by": "id"}


class TestSampleEvery(Small):
    component = "sample"
    options: ClassVar[Row] = {"every": 3}


class TestDedupe(Small):
    component = "dedupe"
    options: ClassVar[Row] = {"by": ["id"]}
