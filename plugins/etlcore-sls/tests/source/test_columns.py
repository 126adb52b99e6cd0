"""What a pull brings becomes Arrow columns, and they hold what the SDK's dicts hold."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from aliyun.log.pulllog_response import PullLogResponse
from etlcore_sls import body as bodies
from etlcore_sls import columns
from etlcore_sls.body import Columns, read_body
from etlcore_sls.decode import RENAMED, decode_group
from etlcore_sls.holdings import Page
from etlcore_sls.pages import batches
from etlcore_sls.wire.protobuf import Log, LogGroup, encode_log_group, frame
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etlcore import Batch, Pipeline, Sink

TIMES = st.integers(0, 2**32 - 1)
NAMES = st.one_of(
    st.sampled_from(["a", "b", "c", "request_uri", "", "__time__", "__topic__", "__tag__:env", "__time_ns_part__"]),
    st.sampled_from(["__content__:__topic__", "__source__", "äöü", "日志", "\x00", "a b"]),
    st.text(max_size=3),
).map(str.encode)
TEXTS = st.one_of(st.text(max_size=8), st.text(min_size=120, max_size=140)).map(str.encode)
TAGS = st.lists(st.tuples(st.sampled_from([b"env", b"host", b""]), TEXTS), max_size=3)


def _groups(names: Any, texts: Any) -> Any:
    pairs = st.lists(st.tuples(names, texts), max_size=6)
    logs = st.builds(Log, TIMES, pairs, st.none() | st.integers(0, 2**32 - 1))
    return st.lists(st.builds(LogGroup, st.lists(logs, max_size=5), texts, texts, texts, texts, TAGS), max_size=5)


GROUPS = _groups(NAMES, TEXTS)
BYTES = _groups(NAMES | st.binary(max_size=3), TEXTS | st.binary(max_size=3))


def _body(groups: list[LogGroup]) -> bytes:
    return b"".join(frame(encode_log_group(group)) for group in groups)


def _dicts(body: bytes) -> list[dict[str, Any]]:
    """What the unmodified SDK makes of a response, with what a log cannot do: shadow what belongs to the service."""
    response = PullLogResponse(body, {"x-log-count": "0", "x-log-bodyrawsize": "0", "x-log-cursor": ""})
    dicts: list[dict[str, Any]] = []
    for group in response.loggroup_list.LogGroups:
        metadata = {"__topic__": group.Topic, "__source__": group.Source}
        metadata |= {f"__tag__:{tag.Key}": tag.Value for tag in group.LogTags}
        for log in group.Logs:
            own = {"__time__": log.Time, **metadata}
            if log.HasField("Time_ns"):
                own["__time_ns_part__"] = log.Time_ns
            contents = [(f"{RENAMED}{item.Key}" if item.Key in own else item.Key, item.Value) for item in log.Contents]
            dicts.append({**own, **dict(contents)})
    return dicts


def _batches(body: bytes, one_position: bool = False, wanted: frozenset[str] | None = None) -> list[Batch]:
    pieces = read_body(body, wanted)
    count = sum(map(len, pieces))
    ends = [str(number) for number in range(count)] if count and not one_position else ["end"]
    return list(batches("shard 0", Page(pieces, ends, len(body)), lambda logs: None, wanted))


def _rows(found: list[Batch]) -> list[dict[str, Any]]:
    """The rows, without the nulls that stand for what a log does not have."""
    return [{name: value for name, value in row.items() if value is not None} for one in found for row in one.rows]


@pytest.fixture
def without_ptars(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a machine that ptars cannot be installed on."""
    monkeypatch.setitem(sys.modules, "ptars", None)
    columns.reader.cache_clear()
    yield
    columns.reader.cache_clear()


@settings(max_examples=80, deadline=None)
@given(GROUPS)
@example([LogGroup([Log(1, [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]), Log(2, [(b"a", b"")])])])
@example([LogGroup([Log(1, [(b"__tag__:env", b"x")], 5)], tags=[(b"env", b"p")]), LogGroup([Log(1, [(b"a", b"x")])])])
@example([LogGroup([Log(1, [(b"__topic__", b"x"), (b"__content__:__topic__", b"y")])], topic=b"t")])
def test_the_rows_are_those_of_the_sdk(groups: list[LogGroup]) -> None:
    body = _body(groups)
    expected = _dicts(body)
    assert _rows(_batches(body)) == expected
    assert _rows(_batches(body, one_position=True)) == expected


@settings(max_examples=50, deadline=None)
@given(GROUPS, st.integers(1, 200))
def test_however_a_body_is_cut(groups: list[LogGroup], size: int) -> None:
    body = _body(groups)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bodies, "PIECE_BYTES", size)
        found = _batches(body)
        whole = _batches(body, one_position=True)
    assert _rows(found) == _rows(whole) == _dicts(body)
    logs_before = [sum(len(group.logs) for group in groups[: index + 1]) for index in range(len(groups))]
    before = 0
    marks = []
    for batch in found:
        marks.extend((before + end, position.value) for end, position in batch.marks)
        before += len(batch)
    assert marks == ([(end, str(index)) for index, end in enumerate(logs_before)] or [(0, "end")])


@settings(max_examples=50, deadline=None)
@given(BYTES)
@example([LogGroup([Log(1, [(b"a", b"\xff")]), Log(1, [(b"a", b"b")])], topic=b"\xfe")])
def test_bytes_that_are_not_utf8_are_those_of_the_rows(groups: list[LogGroup]) -> None:
    body = _body(groups)
    expected: list[dict[str, Any]] = []
    damaged = sum(decode_group(group, expected) for group in bodies.parse(body))
    pieces = read_body(body)
    told: list[int] = []
    page = Page(pieces, [""] * max(1, sum(map(len, pieces))), len(body))
    assert _rows(list(batches("shard 0", page, told.append))) == expected
    assert sum(told) == damaged


@settings(max_examples=60, deadline=None)
@given(GROUPS.map(_body), st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=3), st.data())
def test_what_the_sdk_cannot_read_is_an_error_here(body: bytes, changes: list[tuple[int, int]], data: Any) -> None:
    from google.protobuf.message import DecodeError

    damaged = bytearray(body)
    for place, value in changes:
        if damaged:
            damaged[place % len(damaged)] = value
    cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    try:
        bodies.parse(cut)
    except DecodeError:
        with pytest.raises(DecodeError):
            read_body(cut)
    else:
        read_body(cut)


@settings(max_examples=80, deadline=None)
@given(GROUPS, st.frozensets(st.one_of(NAMES.map(bytes.decode), st.just("__tag__:host")), min_size=1))
@example([LogGroup([Log(1, [(b"a", b"1"), (b"b", b"x" * 300), (b"a", b"y" * 127)])])], frozenset({"a", "b"}))
@example([LogGroup([Log(1, [(b"a", b"x" * 128)]), Log(1, [(b"a", b"x" * 20_000)])])], frozenset({"a"}))
@example([LogGroup([Log(1, [(b"ab", b"1"), (b"k" * 200, b"2")])])], frozenset({"a", "k" * 200}))
def test_the_columns_that_are_asked_for(groups: list[LogGroup], wanted: frozenset[str]) -> None:
    body = _body(groups)
    expected = [{name: value for name, value in row.items() if name in wanted} for row in _dicts(body)]
    assert _rows(_batches(body, wanted=wanted)) == expected
    assert _rows(_batches(body, one_position=True, wanted=wanted)) == expected


@settings(max_examples=50, deadline=None)
@given(BYTES, st.frozensets(st.sampled_from(["a", "b", "\ufffd", "__topic__", "__tag__:env"]), min_size=1))
def test_columns_that_are_asked_for_of_bytes_that_are_not_utf8(groups: list[LogGroup], wanted: frozenset[str]) -> None:
    body = _body(groups)
    whole: list[dict[str, Any]] = []
    for group in bodies.parse(body):
        decode_group(group, whole)
    expected = [{name: value for name, value in row.items() if name in wanted} for row in whole]
    assert _rows(_batches(body, wanted=wanted)) == expected


@pytest.mark.parametrize(
    "content",
    [
        b"\x12\x01x\x0a\x01k",  # the value first
        b"\x0a\x01k\x12\x01y\x12\x01x",  # two values
        b"\x0a\x01k\x1a\x01?\x12\x01x",  # a field that nobody knows between them
        b"\x0a\x01k\x12\x81\x00x",  # a size that is longer than it need be
    ],
)
def test_a_content_that_is_encoded_otherwise_is_found(content: bytes) -> None:
    log = b"\x08\x07\x12" + bytes([len(content)]) + content
    body = frame(b"\x0a" + bytes([len(log)]) + log)
    assert [row["k"] for row in _dicts(body)] == ["x"]
    assert _rows(_batches(body, wanted=frozenset({"k"}))) == [{"k": "x"}]


def test_a_field_that_is_text_in_one_piece_and_a_number_in_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "PIECE_BYTES", 1)
    body = _body([LogGroup([Log(1, [], 5)]), LogGroup([Log(1, [(b"__time_ns_part__", b"x")])])])
    (whole,) = _batches(body, one_position=True)
    assert [row["__time_ns_part__"] for row in whole.rows] == [5, "x"]


def test_a_column_that_is_asked_for_and_that_no_log_has_is_null() -> None:
    (batch,) = _batches(_body([LogGroup([Log(7, [(b"a", b"1")])])]), wanted=frozenset({"a", "b"}))
    assert batch.columnar
    assert batch.rows == [{"a": "1", "b": None}]


def test_the_columns_of_logs_with_the_same_fields() -> None:
    group = LogGroup([Log(7, [(b"a", b"1"), (b"b", b"2")]), Log(8, [(b"b", b"4")], 5)], b"t", b"s", tags=[(b"e", b"p")])
    (batch,) = _batches(_body([group]))
    assert batch.columnar
    assert batch.arrow.to_pydict() == {
        "__time__": [7, 8],
        "__topic__": ["t", "t"],
        "__source__": ["s", "s"],
        "__tag__:e": ["p", "p"],
        "__time_ns_part__": [None, 5],
        "a": ["1", None],
        "b": ["2", "4"],
    }
    assert [str(kind) for kind in batch.arrow.schema.types] == ["int64", *["string"] * 3, "int64", *["string"] * 2]


def test_a_forged_field_stays_columnar_where_all_logs_have_what_it_forges() -> None:
    (batch,) = _batches(_body([LogGroup([Log(7, [(b"__topic__", b"x"), (b"a", b"1")])], b"t")]))
    assert batch.columnar
    assert batch.rows == [
        {"__time__": 7, "__topic__": "t", "__source__": "", f"{RENAMED}__topic__": "x", "a": "1"},
    ]


def test_text_that_is_not_utf8_costs_only_its_own_piece_the_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "PIECE_BYTES", 1)
    body = _body([LogGroup([Log(1, [(b"a", value)])]) for value in (b"1", b"\xff", b"3")])
    found = _batches(body)
    assert [batch.columnar for batch in found] == [True, False, True]
    assert [row["a"] for row in _rows(found)] == ["1", "\ufffd", "3"]
    (whole,) = _batches(body, one_position=True)
    assert [row["a"] for row in whole.rows] == ["1", "\ufffd", "3"]


@pytest.mark.parametrize(
    ("logs", "columnar"),
    [
        ([[f"k{log}-{field}" for field in range(3)] for log in range(2000)], False),  # every log has its own fields
        ([["id", f"k{log}"] for log in range(200)], False),  # mostly null
        ([[f"k{field}" for field in range(500)]] * 3, True),  # many, but filled
        ([[f"k{field}" for field in range(5000)]], False),  # more columns than a table should have
        ([[f"k{log % 40}"] for log in range(200)], True),  # mostly null, but few
    ],
)
def test_very_many_different_fields_stay_rows(logs: list[list[str]], columnar: bool) -> None:
    body = _body([LogGroup([Log(1, [(name.encode(), b"v") for name in names]) for names in logs])])
    (batch,) = _batches(body)
    assert batch.columnar == columnar
    if columnar:
        assert batch.arrow.num_rows == len(logs)
    assert _rows([batch]) == _dicts(body)


def test_without_ptars_there_are_rows(without_ptars: None) -> None:
    body = _body([LogGroup([Log(7, [(b"a", b"1")])], b"t"), LogGroup([Log(8, [(b"a", b"\xff")])])])
    found = _batches(body)
    assert [batch.columnar for batch in found] == [False]
    assert [(row["__topic__"], row["a"]) for row in found[0].rows] == [("t", "1"), ("", "\ufffd")]
    assert [(end, position.value) for end, position in found[0].marks] == [(1, "0"), (2, "1")]
    assert read_body(b"") == []


def test_other_encoders_may_order_fields_as_they_like() -> None:
    """Protobuf allows any order, repeated singular fields of which the last counts, and fields nobody knows."""
    content = b"\x12\x01x" + b"\x0a\x01j" + b"\x0a\x01k" + b"\x1a\x01?"  # Value, Key twice, field 3
    log = b"\x12" + bytes([len(content)]) + content + b"\x30\x05" + b"\x08\x01\x08\x07"  # Contents, field 6, Time twice
    group = b"\x1a\x01t" + b"\x0a" + bytes([len(log)]) + log + b"\x45abcd" + b"\x1a\x01u"
    (piece,) = read_body(frame(group))
    assert isinstance(piece, Columns)
    assert piece.logs.to_pylist() == [{"__time__": 7, "__topic__": "u", "__source__": "", "k": "x"}]
    assert _dicts(frame(group)) == piece.logs.to_pylist()


def test_a_batch_is_cut_at_the_end_of_a_log_group() -> None:
    group = LogGroup([Log(1, [(b"a", b"1")])] * 1000)
    found = _batches(_body([group] * 12))
    assert [len(batch) for batch in found] == [5000, 7000]
    assert [[end for end, _ in batch.marks] for batch in found] == [
        [1000, 2000, 3000, 4000, 5000],
        [1000, 2000, 3000, 4000, 5000, 6000, 7000],
    ]
    assert pa.Table.from_batches([batch.arrow for batch in found]).num_rows == 12_000


def test_without_ptars_the_rows_have_what_is_asked_for(without_ptars: None) -> None:
    body = _body([LogGroup([Log(7, [(b"a", b"1"), (b"b", b"2")])], b"t")])
    assert _rows(_batches(body, wanted=frozenset({"b", "__topic__"}))) == [{"__topic__": "t", "b": "2"}]


def test_the_source_reads_the_columns_that_it_is_told(store: Any) -> None:
    store.create(1).put(0, range(100), topic="t")
    member = store.member(until="end", columns=["n", "__topic__"]).start().ended()
    assert member.rows == [{"__topic__": "t", "n": str(number)} for number in range(100)]


def test_the_source_reads_columns(store: Any) -> None:
    store.create(1).put(0, range(100))
    member = store.member(until="end").start().ended()
    assert {batch.columnar for batch in member.batches if len(batch)} == {True}
    assert member.values() == [str(number) for number in range(100)]


class Kept(Sink):
    """Keeps the batches that it is given."""

    batches: ClassVar[list[Batch]] = []

    def write(self, batch: Batch) -> None:
        self.batches.append(batch)


def test_logs_stay_columns_from_the_source_to_the_sink(store: Any, tmp_path: Path) -> None:
    rows = [{"request_uri": f"/a%20{n}?b={n}", "status": str(200 + n % 2 * 300)} for n in range(100)]
    store.create(2)
    store.control.put("demo", "logs", [row if n % 3 else {"other": "x"} for n, row in enumerate(rows)])
    Kept.batches = []
    options = {
        **store.config(until="end").model_dump(exclude_none=True),
        "access_key_secret": store.emulator.key.secret,
    }
    pipeline = Pipeline("columns", directory=tmp_path)
    pipeline.source("logs", "sls", options)
    pipeline.transform("errors", "filter", {"where": "number(status) >= 500"})
    pipeline.transform("parsed", "parse_uri")
    pipeline.transform("few", "select", {"columns": ["path", "status", "__topic__"]})
    pipeline.sink("out", Kept)
    pipeline.run(timeout=60)
    assert {batch.columnar for batch in Kept.batches if len(batch)} == {True}
    found = sorted(row["path"] for batch in Kept.batches for row in batch.rows)
    assert found == sorted(f"/a {n}" for n in range(100) if n % 3 and n % 2)
