"""What a log looks like as a row."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from aliyun.log import LogItem, PutLogsRequest
from aliyun.log.proto import LogGroupRaw
from etlcore_sls.wire.protobuf import Log, LogGroup, encode_log_group


@pytest.fixture
def logs(store: Any) -> Any:
    return store.create(1)


def _rows(store: Any) -> list[dict[str, Any]]:
    return list(store.member(until="end").start().ended().rows)


def _put(store: Any, group: LogGroup) -> None:
    """One log group as it is, of bytes."""
    parsed = LogGroupRaw()
    parsed.MergeFromString(encode_log_group(group))
    store.sdk().put_log_raw("demo", "logs", parsed)


def test_metadata_columns_come_first(logs: Any) -> None:
    logs.control.put(
        "demo", "logs", [{"__time__": 1_700_000_000, "a": "1"}], topic="t", source="s", tags={"env": "prod"}
    )
    assert list(_rows(logs)[0].items()) == [
        ("__time__", 1_700_000_000),
        ("__topic__", "t"),
        ("__source__", "s"),
        ("__tag__:env", "prod"),
        ("a", "1"),
    ]


def test_nanoseconds_are_a_number(logs: Any) -> None:
    now = int(time.time())
    request = PutLogsRequest("demo", "logs", "", "s", [LogItem(now, [("a", "1")], 123_456_789)])
    logs.sdk().put_logs(request)
    row = _rows(logs)[0]
    assert row["__time__"] == now
    assert row["__time_ns_part__"] == 123_456_789


def test_a_log_without_nanoseconds_has_no_such_column(logs: Any) -> None:
    logs.put(0, range(1))
    assert "__time_ns_part__" not in _rows(logs)[0]


def test_fields_named_like_metadata_cannot_forge_it(logs: Any) -> None:
    forged = {"__topic__": "x", "__source__": "x", "__tag__:env": "x", "__tag__:other": "kept"}
    fields = [(key.encode(), value.encode()) for key, value in {**forged, "__time__": "1"}.items()]
    _put(logs, LogGroup([Log(1_700_000_000, fields, 5)], b"t", b"s", tags=[(b"env", b"prod")]))
    assert _rows(logs)[0] == {
        "__time__": 1_700_000_000,
        "__time_ns_part__": 5,
        "__topic__": "t",
        "__source__": "s",
        "__tag__:env": "prod",
        "__content__:__topic__": "x",
        "__content__:__source__": "x",
        "__content__:__tag__:env": "x",
        "__content__:__time__": "1",
        "__tag__:other": "kept",
    }


def test_of_a_repeated_field_the_last_counts(logs: Any) -> None:
    _put(logs, LogGroup([Log(1_700_000_000, [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")])]))
    assert {key: value for key, value in _rows(logs)[0].items() if not key.startswith("__")} == {"a": "3", "b": "2"}


def test_a_log_without_fields_is_a_row(logs: Any) -> None:
    _put(logs, LogGroup([Log(1_700_000_000, [])]))
    assert _rows(logs) == [{"__time__": 1_700_000_000, "__topic__": "", "__source__": ""}]


@pytest.mark.parametrize("text", ["äöü", "日志", "🙂", "", "\x00", "a\nb", '"quoted"'])
def test_text(logs: Any, text: str) -> None:
    _put(logs, LogGroup([Log(1_700_000_000, [(text.encode() or b"k", text.encode())])], text.encode()))
    row = _rows(logs)[0]
    assert row[text or "k"] == text
    assert row["__topic__"] == text


def test_text_that_is_not_utf8_is_readable_and_counted(logs: Any) -> None:
    _put(
        logs,
        LogGroup(
            [
                Log(1_700_000_000, [(b"a", b"caf\xe9"), (b"n", b"1")]),
                Log(1_700_000_000, [(b"\xff", b"k"), (b"n", b"2")]),
                Log(1_700_000_000, [(b"a", b"fine"), (b"n", b"3")]),
            ],
            topic=b"\xfe",
            tags=[(b"t", b"\xfd")],
        ),
    )
    member = logs.member(until="end").start().ended()
    assert member.rows[0]["a"] == "caf\ufffd"
    assert member.rows[1]["\ufffd"] == "k"
    assert member.rows[0]["__topic__"] == "\ufffd"
    assert member.rows[0]["__tag__:t"] == "\ufffd"
    assert member.rows[2]["a"] == "fine"
    assert member.values() == ["1", "2", "3"]
    assert member.metrics.counts["invalid_utf8_logs"] == 2
    json.dumps(member.rows).encode()


def test_tags_that_the_service_appends(store: Any) -> None:
    store.control.create("demo", "logs", shards=1, appendMeta=True)
    _put(store, LogGroup([Log(1_700_000_000, [(b"a", b"1")])]))
    row = _rows(store)[0]
    assert row["__tag__:__client_ip__"] == "127.0.0.1"
    assert row["__tag__:__receive_time__"].isdigit()
