"""The transform `mask`: the same for rows and for columns."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from etlcore import Batch
from etlcore.spec import SpecError, load_text
from tests.builtin.forms import Row, agree, outcome, table, tables


def masked(use: Any, values: list[Any], **options: Any) -> list[Any]:
    """What becomes of the values of a column, the same in both forms."""
    stage = use("transform", "mask", **options)
    outputs, rejected = agree(stage, stage, [table(v=values)])
    assert not rejected
    return [row["v"] for row in outputs[None]]


def test_redacted(use: Any) -> None:
    assert masked(use, ["a", None, ""], redact=["v"]) == ["***", None, "***"]
    assert masked(use, [1, None], redact=["v"], replacement="?") == ["?", None]
    assert masked(use, [[1], None], redact=["v"]) == ["***", None]


def test_hashed(use: Any) -> None:
    """By the standard that everybody has: HMAC with SHA-256."""
    made = masked(use, ["é", None, "b", "é"], hash=["v"], salt="s3cret")
    assert made[0] == hmac.new(b"s3cret", "é".encode(), hashlib.sha256).hexdigest()
    assert made[1] is None
    assert made[0] == made[3] != made[2]
    assert masked(use, ["é"], hash=["v"], salt="other") != made[:1]


def test_a_number_hashes_as_its_text_does(use: Any) -> None:
    assert masked(use, [7], hash=["v"], salt="s") == masked(use, ["7"], hash=["v"], salt="s")


@pytest.mark.parametrize(
    ("values", "made"),
    [
        (["4111111111111234", "1234", "123", "", None], ["************1234", "****", "***", "", None]),
        (["中文字符éß", "e\u0301xyzw"], ["**字符éß", "**xyzw"]),
        ([123456, -1], ["**3456", "**"]),
        ([0.12345678], ["******5678"]),
        ([True], ["****"]),
    ],
)
def test_the_last_characters_are_kept(use: Any, values: list[Any], made: list[Any]) -> None:
    assert masked(use, values, keep_last={"v": 4}) == made


def test_a_missing_column_stays_missing(use: Any) -> None:
    stage = use("transform", "mask", redact=["a"], keep_last={"b": 1})
    assert agree(stage, stage, [table(c=[1])])[0] == {None: [{"c": 1}]}


def test_what_has_no_text_is_a_dead_letter(use: Any, context: Any) -> None:
    stage = use("transform", "mask", hash=["v"], keep_last={"w": 2}, salt="s")
    given_ = table(v=[b"\xff", b"ab", b"\xff", b"c"], w=[b"abc", b"abc", b"abc", b"\xff"])
    outputs, rejected = agree(stage, stage, [given_])
    assert [row["w"] for row in outputs[None]] == ["*bc"]
    assert [reason for _, reason in rejected] == [
        "v: bytes that are not UTF-8",
        "v: bytes that are not UTF-8",
        "w: bytes that are not UTF-8",
    ]
    _, rejected = outcome(stage, [Batch.from_rows([{"v": "\ud800"}])])
    assert rejected == [({"v": "\ud800"}, "v: a text with a lone surrogate, which no UTF-8 can hold")]


def test_the_rows_given_are_not_changed(use: Any) -> None:
    rows = [{"a": "x"}]
    use("transform", "mask", redact=["a"]).process(Batch.from_rows(rows))
    assert rows == [{"a": "x"}]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing to mask: name columns in redact, hash or keep_last"),
        ({"redact": ["a"], "keep_last": {"a": 1}}, "column 'a' is named twice"),
        ({"hash": ["a"]}, "a hash without a secret salt is undone by trying values: give salt"),
        ({"hash": ["a"], "salt": ""}, "a hash without a secret salt"),
        ({"keep_last": {"a": 0}}, "greater than or equal to 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(use: Any, options: Row, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        use("transform", "mask", **options)


def test_the_salt_is_in_no_message(use: Any) -> None:
    stage = use("transform", "mask", hash=["a"], salt="s3cret")
    assert "s3cret" not in repr(stage.config)
    with pytest.raises(SpecError) as raised:
        load_text(
            "stages:\n  g: {source: generate}\n"
            "  m: {transform: mask, with: {salt: s3cret, redact: [a], hash: [a]}}\n  o: {sink: console}\n"
        )
    assert "s3cret" not in "".join(f"{problem.message} {problem.hint}" for problem in raised.value.problems)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(
    batches=tables(),
    ways=st.dictionaries(st.sampled_from("abc"), st.sampled_from(["redact", "hash", "keep_last"]), min_size=1),
    last=st.integers(1, 3),
)
def test_rows_and_columns_agree(use: Any, batches: list[pa.RecordBatch], ways: dict[str, str], last: int) -> None:
    named = {way: [name for name, its in ways.items() if its == way] for way in ("redact", "hash", "keep_last")}
    keep_last = dict.fromkeys(named.pop("keep_last"), last)
    stage = use("transform", "mask", **named, keep_last=keep_last, salt="salt")
    agree(stage, stage, batches)
