"""Our protobuf against the SDK's, both ways, and against bytes that are no message."""

from __future__ import annotations

import contextlib

import pytest
from aliyun.log.proto import LogGroupListRaw, LogGroupRaw
from etlcore_sls.wire.protobuf import (
    Log,
    LogGroup,
    ProtobufError,
    check_log_group,
    decode_log_group,
    encode_log_group,
    frame,
    log_times,
    split_group_list,
)
from hypothesis import given
from hypothesis import strategies as st

_BYTES = st.one_of(st.binary(max_size=20), st.binary(min_size=120, max_size=300))
_TEXT = st.text(max_size=150).map(str.encode)  # keys and names are proto2 strings: UTF-8
_PAIRS = st.lists(st.tuples(_TEXT, _BYTES), max_size=5)
_LOGS = st.builds(
    Log,
    time=st.integers(0, 2**32 - 1),
    contents=_PAIRS,
    time_ns=st.one_of(st.none(), st.integers(0, 999_999_999)),
)
_GROUPS = st.builds(
    LogGroup,
    logs=st.lists(_LOGS, max_size=5),
    topic=_TEXT,
    source=_TEXT,
    machine_uuid=_TEXT,
    category=_TEXT,
    tags=st.lists(st.tuples(_TEXT, _TEXT), max_size=3),
)


def _in_sdk(group: LogGroup) -> LogGroupRaw:
    """The same LogGroup, built with the SDK's classes."""
    message = LogGroupRaw()
    for log in group.logs:
        entry = message.Logs.add()
        entry.Time = log.time
        if log.time_ns is not None:
            entry.Time_ns = log.time_ns
        for key, value in log.contents:
            content = entry.Contents.add()
            content.Key, content.Value = key.decode(), value
    for field, value in (("Topic", group.topic), ("Source", group.source), ("MachineUUID", group.machine_uuid)):
        if value:
            setattr(message, field, value.decode())
    if group.category:
        message.Reserved = group.category.decode()
    for key, value in group.tags:
        tag = message.LogTags.add()
        tag.Key, tag.Value = key.decode(), value.decode()
    return message


@given(_GROUPS)
def test_what_the_sdk_writes_is_read_the_same(group: LogGroup) -> None:
    assert decode_log_group(_in_sdk(group).SerializeToString()) == group


@given(_GROUPS)
def test_what_is_written_the_sdk_reads_the_same(group: LogGroup) -> None:
    message = LogGroupRaw()
    message.ParseFromString(encode_log_group(group))
    assert message == _in_sdk(group)


@given(st.lists(_GROUPS, max_size=4))
def test_joined_frames_are_a_log_group_list(groups: list[LogGroup]) -> None:
    data = b"".join(frame(encode_log_group(group)) for group in groups)
    message = LogGroupListRaw()
    message.ParseFromString(data)
    assert list(message.LogGroups) == [_in_sdk(group) for group in groups]
    assert [decode_log_group(part) for part in split_group_list(data)] == groups


@given(_GROUPS)
def test_counts_and_times_without_decoding_all(group: LogGroup) -> None:
    data = encode_log_group(group)
    assert check_log_group(data) == len(group.logs)
    assert log_times(data) == [log.time for log in group.logs]


@given(st.binary(max_size=60))
def test_random_bytes_are_read_or_refused_never_anything_else(data: bytes) -> None:
    with contextlib.suppress(ProtobufError):
        decode_log_group(data)


@given(_GROUPS.filter(lambda group: bool(group.logs)), st.data())
def test_a_message_that_was_cut_off_within_its_logs_is_refused(group: LogGroup, data: st.DataObject) -> None:
    bare = LogGroup(group.logs)
    encoded = encode_log_group(bare)
    ends = {len(encode_log_group(LogGroup(group.logs[:count]))) for count in range(len(group.logs) + 1)}
    cut = data.draw(st.sampled_from([at for at in range(len(encoded)) if at not in ends]))
    with pytest.raises(ProtobufError):
        check_log_group(encoded[:cut])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x0a\x00", "a Log has no Time"),
        (b"\x0a\x04\x08\x01\x12\x00", "a Content has no Key"),
        (b"\x0a\x07\x08\x01\x12\x03\x0a\x01k", "a Content has no Value"),
        (b"\x32\x03\x0a\x01k", "a LogTag has no Value"),
        (b"\x0a\x05\x08", "ends within a field"),
        (b"\x0a\x06\x08\x01\x12\x09\x0a\x01", "ends within a field"),
        (b"\x0b", "wire type 3"),
        (b"\x00\x00", "field number 0"),
        (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "longer than ten bytes"),
        (b"\x08\x80", "ends within a varint"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, message: str) -> None:
    with pytest.raises(ProtobufError, match=message):
        check_log_group(data)


def test_unknown_fields_are_passed_over_and_repeated_ones_replaced() -> None:
    log = b"\x08\x01\x08\x07\x52\x01x\x59\x00\x00\x00\x00\x00\x00\x00\x00\x12\x09\x0a\x01k\x0a\x01K\x12\x01v"
    data = b"\x0a" + bytes([len(log)]) + log + b"\x1a\x01a\x1a\x01b\x7a\x00"
    assert decode_log_group(data) == LogGroup([Log(7, [(b"K", b"v")])], topic=b"b")
