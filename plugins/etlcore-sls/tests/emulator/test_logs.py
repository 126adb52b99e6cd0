"""Writing, cursors and pulling through the SDK, and the forms of them that only other clients use."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from aliyun.log import LogClient, LogException, LogItem, PutLogsRequest
from aliyun.log.proto import LogGroupRaw
from etlcore_sls.emulator import Emulator
from etlcore_sls.pytest_plugin import EmulatorFactory
from etlcore_sls.wire.cursor import decode_cursor, encode_cursor

PROJECT, LOGSTORE = "shop", "access"
SHARD_0, SHARD_1 = "0" * 32, "40" + "0" * 30


def _put(client: LogClient, *values: str, key: str = SHARD_0, **options: object) -> None:
    logs = [LogItem(1_700_000_000, contents=[("n", value)]) for value in values]
    client.put_logs(PutLogsRequest(PROJECT, LOGSTORE, "topic", "source", logs, hashKey=key, **options))


def _begin(client: LogClient, shard: int = 0) -> str:
    return str(client.get_begin_cursor(PROJECT, LOGSTORE, shard).get_cursor())


def _end(client: LogClient, shard: int = 0) -> str:
    return str(client.get_end_cursor(PROJECT, LOGSTORE, shard).get_cursor())


def _refused(call: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(LogException) as caught:
        call()
    return caught.value.get_resp_status(), caught.value.get_error_code()


# --- there and back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v1", "v4"])
@pytest.mark.parametrize("sent", ["lz4", "zstd", None])
@pytest.mark.parametrize("received", ["lz4", "zstd", None])
def test_logs_come_back_as_they_were_written(
    make_client: Callable[..., LogClient], version: str, sent: str | None, received: str | None
) -> None:
    client = make_client(version=version)
    pairs = [[("uri", f"/{n}?q=ü"), ("empty", ""), ("long", "x" * 5000)] for n in range(3)]
    logs = [LogItem(1_700_000_000, contents, 5) for contents in pairs]
    tags = [("__hostname__", "web-1")]
    request = PutLogsRequest(PROJECT, LOGSTORE, "t", "s", logs, SHARD_0, sent is not None, tags, sent)
    client.put_logs(request)
    pulled = client.pull_logs(
        PROJECT, LOGSTORE, 0, _begin(client), compress=received is not None, accept_compress_type=received
    )
    assert pulled.get_loggroup_count() == 1
    group = pulled.get_loggroup(0)
    assert (group.Topic, group.Source) == ("t", "s")
    assert [(tag.Key, tag.Value) for tag in group.LogTags] == tags
    assert [[(one.Key, one.Value) for one in log.Contents] for log in group.Logs] == pairs
    assert [(log.Time, log.Time_ns) for log in group.Logs] == [(1_700_000_000, 5)] * 3
    assert pulled.get_header("x-log-compresstype") == (received or "")


def test_bytes_that_are_not_utf8_come_back_unchanged(client: LogClient) -> None:
    group = LogGroupRaw()
    log = group.Logs.add()
    log.Time = 1
    content = log.Contents.add()
    content.Key, content.Value = "k", b"\xff\xfe\x00"
    client.put_log_raw(PROJECT, LOGSTORE, group)
    response = client.pull_logs(PROJECT, LOGSTORE, 0, _begin(client))
    assert response.get_loggroup(0).Logs[0].Contents[0].Value == b"\xff\xfe\x00"


def test_writing_without_a_key_goes_around_all_shards(client: LogClient) -> None:
    for _ in range(8):
        client.put_logs(PutLogsRequest(PROJECT, LOGSTORE, "", "", [LogItem(1, contents=[("a", "b")])]))
    counts = [client.pull_logs(PROJECT, LOGSTORE, n, _begin(client, n)).get_loggroup_count() for n in range(4)]
    assert counts == [2, 2, 2, 2]


@pytest.mark.parametrize(
    ("key", "shard"),
    [
        ("0" * 32, 0),
        ("3" + "f" * 31, 0),
        ("40" + "0" * 30, 1),
        ("7" + "F" * 31, 1),
        ("c0" + "0" * 30, 3),
        ("f" * 32, 3),
    ],
)
def test_a_hash_key_names_the_shard(client: LogClient, key: str, shard: int) -> None:
    _put(client, "x", key=key)
    found = [n for n in range(4) if _begin(client, n) != _end(client, n)]
    assert found == [shard]


def test_client_address_and_receive_time_are_added_when_the_logstore_says_so(client: LogClient) -> None:
    client.update_logstore(PROJECT, LOGSTORE, append_meta=True)
    _put(client, "x", logtags=[("own", "tag")])
    (log,) = client.pull_logs(PROJECT, LOGSTORE, 0, _begin(client)).get_flatten_logs_json()
    assert (log["__tag__:__client_ip__"], log["__tag__:own"]) == ("127.0.0.1", "tag")
    assert abs(int(log["__tag__:__receive_time__"]) - time.time()) < 600


def test_a_group_without_logs_is_accepted_and_not_stored(client: LogClient) -> None:
    client.put_log_raw(PROJECT, LOGSTORE, LogGroupRaw())
    assert all(_begin(client, n) == _end(client, n) for n in range(4))


# --- cursors ---------------------------------------------------------------------------------------------------------


def test_a_cursor_grows_by_one_with_every_group(client: LogClient) -> None:
    begin = decode_cursor(_begin(client))
    for n in range(3):
        _put(client, str(n), str(n))
    assert decode_cursor(_end(client)) == begin + 3
    for n in range(3):
        pulled = client.pull_logs(PROJECT, LOGSTORE, 0, encode_cursor(begin + n), count=1)
        assert pulled.get_flatten_logs_json()[0]["n"] == str(n)
        assert decode_cursor(pulled.get_next_cursor()) == begin + n + 1


def test_shards_do_not_understand_each_others_cursors(client: LogClient) -> None:
    assert _refused(lambda: client.pull_logs(PROJECT, LOGSTORE, 0, _begin(client, 1))) == (400, "InvalidCursor")


def test_a_cursor_by_time_means_the_time_of_receipt(emulator: Emulator, client: LogClient) -> None:
    start = int(emulator.service.now())
    for n in range(3):
        _put(client, str(n))
        emulator.control.advance_clock(100)

    def at(seconds: int) -> int:
        cursor = client.get_cursor(PROJECT, LOGSTORE, 0, seconds).get_cursor()
        return decode_cursor(cursor) - decode_cursor(_begin(client))

    assert [at(start - 10), at(start + 50), at(start + 150), at(start + 1000)] == [0, 1, 2, 3]
    cursors = [encode_cursor(decode_cursor(_begin(client)) + n) for n in range(3)]
    times = [client.get_cursor_time(PROJECT, LOGSTORE, 0, cursor) for cursor in cursors]
    assert [at(one.get_cursor_time()) for one in times] == [0, 1, 2]


def test_the_time_of_the_end_is_now_and_lag_can_be_computed(emulator: Emulator, client: LogClient) -> None:
    _put(client, "x")
    received = client.get_cursor_time(PROJECT, LOGSTORE, 0, _begin(client)).get_cursor_time()
    emulator.control.advance_clock(500)
    assert client.get_cursor_time(PROJECT, LOGSTORE, 0, _end(client)).get_cursor_time() >= received + 499
    assert client.get_previous_cursor_time(PROJECT, LOGSTORE, 0, _end(client)).get_cursor_time() == received
    assert client.get_previous_cursor_time(PROJECT, LOGSTORE, 0, _begin(client)).get_cursor_time() == received


@pytest.mark.parametrize(
    ("cursor", "expected"),
    [
        (encode_cursor(1), (400, "InvalidCursor")),
        (encode_cursor(2**63 - 1), (400, "InvalidCursor")),
        ("not a cursor", (400, "ParameterInvalid")),
        ("", (400, "ParameterInvalid")),
    ],
)
def test_cursors_that_are_refused(client: LogClient, cursor: str, expected: tuple[int, str]) -> None:
    _put(client, "x")
    assert _refused(lambda: client.pull_logs(PROJECT, LOGSTORE, 0, cursor)) == expected
    assert _refused(lambda: client.get_cursor_time(PROJECT, LOGSTORE, 0, cursor)) == expected


def test_expired_groups_make_their_cursors_invalid(emulator: Emulator, client: LogClient) -> None:
    old = _begin(client)
    for n in range(5):
        _put(client, str(n))
    assert emulator.control.trim(PROJECT, LOGSTORE, 0, keep=2) == 3
    assert _refused(lambda: client.pull_logs(PROJECT, LOGSTORE, 0, old)) == (400, "InvalidCursor")
    rest = client.pull_logs(PROJECT, LOGSTORE, 0, _begin(client)).get_flatten_logs_json()
    assert [log["n"] for log in rest] == ["3", "4"]
    assert decode_cursor(_begin(client)) == decode_cursor(old) + 3
    assert client.get_cursor(PROJECT, LOGSTORE, 0, 1).get_cursor() == _begin(client)


# --- pulling ---------------------------------------------------------------------------------------------------------


def test_count_end_cursor_and_what_the_headers_say(client: LogClient) -> None:
    for n in range(5):
        _put(client, str(n))
    begin, end = _begin(client), _end(client)
    first = client.pull_logs(PROJECT, LOGSTORE, 0, begin, count=2)
    assert (first.get_loggroup_count(), decode_cursor(first.get_next_cursor())) == (2, decode_cursor(begin) + 2)
    assert first.get_header("x-log-end-of-cursor") == ""
    assert int(first.get_header("x-log-read-last-cursor")) == decode_cursor(begin) + 1
    rest = client.pull_logs(PROJECT, LOGSTORE, 0, first.get_next_cursor())
    assert (rest.get_loggroup_count(), rest.get_next_cursor()) == (3, end)
    assert rest.get_header("x-log-end-of-cursor") == "1"
    nothing = client.pull_logs(PROJECT, LOGSTORE, 0, end)
    assert (nothing.get_loggroup_count(), nothing.get_next_cursor(), nothing.get_raw_size()) == (0, end, 0)
    limited = client.pull_logs(PROJECT, LOGSTORE, 0, begin, end_cursor=first.get_next_cursor())
    assert (limited.get_loggroup_count(), limited.get_next_cursor()) == (2, first.get_next_cursor())
    past = client.pull_logs(PROJECT, LOGSTORE, 0, first.get_next_cursor(), end_cursor=begin)
    assert (past.get_loggroup_count(), past.get_next_cursor()) == (0, first.get_next_cursor())


@pytest.mark.parametrize("count", [-1, 1001])
def test_a_count_out_of_range(client: LogClient, count: int) -> None:
    assert _refused(lambda: client.pull_logs(PROJECT, LOGSTORE, 0, _begin(client), count)) == (400, "ParameterInvalid")


def test_the_sdk_reads_a_range_to_its_end(client: LogClient) -> None:
    for n in range(25):
        _put(client, str(n))
    pages = client.pull_log(PROJECT, LOGSTORE, 0, 0, int(time.time()) + 1000, batch_size=10)
    assert [log["n"] for page in pages for log in page.get_flatten_logs_json()] == [str(n) for n in range(25)]


def test_a_response_has_a_byte_limit_but_never_less_than_one_group(
    sls_emulator_factory: EmulatorFactory, make_client: Callable[..., LogClient]
) -> None:
    emulator = sls_emulator_factory(pull_max_bytes=5000)
    emulator.control.create(PROJECT, LOGSTORE, shards=1)
    client = make_client(emulator=emulator)
    rows = [{"v": "x" * size} for size in (2000, 2000, 2000, 9000, 100)]
    emulator.control.put(PROJECT, LOGSTORE, rows, rows_per_group=1)
    cursor, sizes = _begin(client), []
    for _ in range(4):
        page = client.pull_logs(PROJECT, LOGSTORE, 0, cursor)
        sizes.append(page.get_loggroup_count())
        cursor = page.get_next_cursor()
    assert sizes == [2, 1, 1, 1]
    assert cursor == _end(client)


# --- what writers do wrong -------------------------------------------------------------------------------------------


def _send_raw(client: LogClient, body: bytes, headers: dict[str, str], resource: str = "/shards/lb") -> object:
    headers = {"Content-Type": "application/x-protobuf", **headers}
    return client._send("POST", PROJECT, body, f"/logstores/{LOGSTORE}{resource}", {}, headers)


GROUP = b"\x0a\x0a\x08\x01\x12\x06\x0a\x01k\x12\x01v"


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (GROUP, {}, "MissingBodyRawSize"),
        (GROUP, {"x-log-bodyrawsize": "many"}, "InvalidBodyRawSize"),
        (GROUP, {"x-log-bodyrawsize": "5"}, "InvalidBodyRawSize"),
        (GROUP, {"x-log-bodyrawsize": "12", "x-log-compresstype": "gzip"}, "InvalidCompressType"),
        (GROUP, {"x-log-bodyrawsize": "12", "x-log-compresstype": "lz4"}, "PostBodyUncompressError"),
        (GROUP, {"x-log-bodyrawsize": "12", "x-log-compresstype": "zstd"}, "PostBodyUncompressError"),
        (GROUP, {"x-log-bodyrawsize": "99999999"}, "PostBodyTooLarge"),
        (b"rubbish!", {"x-log-bodyrawsize": "8"}, "PostBodyInvalid"),
        (GROUP[:-1], {"x-log-bodyrawsize": "11"}, "PostBodyInvalid"),
    ],
)
def test_bodies_that_are_refused(client: LogClient, body: bytes, headers: dict[str, str], code: str) -> None:
    assert _refused(lambda: _send_raw(client, body, headers)) == (400, code)
    assert all(_begin(client, n) == _end(client, n) for n in range(4)), "and nothing of it is stored"


def test_limits_can_be_set(sls_emulator_factory: EmulatorFactory, make_client: Callable[..., LogClient]) -> None:
    emulator = sls_emulator_factory(put_max_bytes=1000, put_max_logs=3)
    emulator.control.create(PROJECT, LOGSTORE, shards=1)
    client = make_client(emulator=emulator)
    _put(client, "1", "2", "3")
    assert _refused(lambda: _put(client, "1", "2", "3", "4")) == (400, "PostBodyTooLarge")
    assert _refused(lambda: _put(client, "x" * 2000)) == (400, "PostBodyTooLarge")


@pytest.mark.parametrize("key", ["xyz", "0" * 31, "-" * 32])
def test_hash_keys_that_are_refused(client: LogClient, key: str) -> None:
    assert _refused(lambda: _put(client, "x", key=key)) == (400, "ParameterInvalid")


# --- what only other clients do --------------------------------------------------------------------------------------


def test_the_go_client_posts_to_the_logstore_and_pulls_with_type_logs(client: LogClient) -> None:
    _send_raw(client, GROUP, {"x-log-bodyrawsize": "12"}, resource="")
    params = {"type": "logs", "cursor": _begin(client), "count": "10", "processor": ""}
    headers = {"Accept-Encoding": "zstd"}
    _, answer = client._send("GET", PROJECT, None, f"/logstores/{LOGSTORE}/shards/0", params, headers, "binary")
    assert (answer["x-log-count"], answer["x-log-compresstype"]) == ("1", "zstd")


def test_ingest_processors_are_refused_not_ignored(client: LogClient) -> None:
    path, headers = f"/logstores/{LOGSTORE}", {"x-log-bodyrawsize": "12", "Content-Type": "application/x-protobuf"}
    call = lambda: client._send("POST", PROJECT, GROUP, path, {"processor": "p"}, headers)  # noqa: E731
    assert _refused(call) == (400, "ParameterInvalid")
