"""Writing, cursors and pulling: the operations that carry logs.

A pull joins bytes that are already framed: no log is looked at, unless an SPL query has to.
"""

from __future__ import annotations

from dataclasses import dataclass

from etlcore_sls.emulator.api_processors import parse_query, processor_query
from etlcore_sls.emulator.calls import Call, Reply, compressed_reply, json_reply, route
from etlcore_sls.emulator.errors import ApiError, parameter_invalid
from etlcore_sls.emulator.filtering import apply
from etlcore_sls.emulator.logstore import Logstore
from etlcore_sls.emulator.shards import Shard, StoredGroup, parse_key
from etlcore_sls.emulator.spl import Query
from etlcore_sls.wire.compression import COMPRESSIONS, DecompressionError, decompress
from etlcore_sls.wire.protobuf import ProtobufError, check_log_group, encode_tags, frame

# --- writing ---------------------------------------------------------------------------------------------------------


@route("put_logs", "POST", "/logstores/{logstore}/shards/lb", locked=False)
@route("put_logs", "POST", "/logstores/{logstore}", locked=False)
def put_logs(call: Call) -> Reply:
    """Write one LogGroup to whichever shard comes next (the Go client posts to the logstore itself)."""
    return _put(call, key=None)


@route("put_logs", "POST", "/logstores/{logstore}/shards/route", has_any=("key",), locked=False)
def put_logs_by_key(call: Call) -> Reply:
    """Write one LogGroup to the shard that takes a hash key."""
    return _put(call, key=parse_key(call.params["key"]))


def _put(call: Call, key: int | None) -> Reply:
    if call.params.get("processor"):
        raise parameter_invalid("ingest processors are not emulated; leave out the parameter 'processor'")
    group = _received_group(call)
    service = call.service
    try:
        logs = check_log_group(group)
    except ProtobufError as error:
        raise ApiError(400, "PostBodyInvalid", f"Protobuffer content cannot be parsed: {error}") from None
    if logs > service.settings.put_max_logs:
        raise ApiError(400, "PostBodyTooLarge", f"the LogGroup holds more than {service.settings.put_max_logs} logs")
    with service.locked():
        store = service.logstore(call.project, call.names["logstore"])
        if not logs:
            return Reply()
        received = int(service.now())
        if store.options.get("appendMeta"):
            tags = [(b"__client_ip__", call.client.encode()), (b"__receive_time__", b"%d" % received)]
            group += encode_tags(tags)
        shard = store.balanced_shard() if key is None else store.shard_for(key)
        service.append(store, shard, [StoredGroup(received, logs, frame(group))])
    return Reply()


def _received_group(call: Call) -> bytes:
    """The body, uncompressed. Raises ApiError when it is too large or not what its headers say."""
    limit = call.service.settings.put_max_bytes
    kind = call.headers.get("x-log-compresstype", "").lower()
    if kind and kind not in COMPRESSIONS:
        raise ApiError(400, "InvalidCompressType", f"x-log-compresstype {kind} is unsupported")
    size_text = call.headers.get("x-log-bodyrawsize", "")
    if not size_text:
        raise ApiError(400, "MissingBodyRawSize", "x-log-bodyrawsize does not exist in header when it is necessary")
    if not size_text.isdigit():
        raise ApiError(400, "InvalidBodyRawSize", f"x-log-bodyrawsize {size_text!r} is not a size")
    if int(size_text) > limit:
        raise ApiError(400, "PostBodyTooLarge", f"Body size {size_text} must be smaller than {limit}")
    try:
        return decompress(call.body, kind, int(size_text))
    except DecompressionError as error:
        code = "PostBodyUncompressError" if kind else "InvalidBodyRawSize"
        raise ApiError(400, code, str(error)) from None


# --- cursors ---------------------------------------------------------------------------------------------------------


def _place(call: Call) -> tuple[Logstore, Shard]:
    store = call.service.logstore(call.project, call.names["logstore"])
    return store, store.shard(call.names["shard"])


@route("get_cursor", "GET", "/logstores/{logstore}/shards/{shard}", types=("cursor",))
def get_cursor(call: Call) -> Reply:
    """The cursor of the begin, the end, or the first LogGroup received at a time (seconds) or later."""
    _, shard = _place(call)
    start = call.params.get("from", "")
    if start == "begin":
        number = shard.first
    elif start == "end":
        number = shard.count
    else:
        number = shard.number_at(call.number("from"))
    return json_reply({"cursor": shard.cursor(number)})


@route("get_cursor_time", "GET", "/logstores/{logstore}/shards/{shard}", types=("cursor_time",))
def get_cursor_time(call: Call) -> Reply:
    """When the LogGroup at a cursor was received; at the end of a shard, the time now."""
    _, shard = _place(call)
    number = shard.number_of(call.params.get("cursor", ""))
    return json_reply({"cursor_time": _received(call, shard, number)})


def _received(call: Call, shard: Shard, number: int) -> int:
    return shard.received[number] if number < shard.count else int(call.service.now())


# --- pulling ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Page:
    """The LogGroups that one pull is about: their bytes, and the headers that say where they lie."""

    frames: list[bytes]
    headers: dict[str, str]


@route("pull_logs", "GET", "/logstores/{logstore}/shards/{shard}", types=("log", "logs"), locked=False)
def pull_logs(call: Call) -> Reply:
    """LogGroups from a cursor on, as a LogGroupList in the compression that was asked for."""
    settings = call.service.settings
    count = call.number("count", settings.pull_max_groups)
    if not 1 <= count <= settings.pull_max_groups:
        raise parameter_invalid(f"count {count} must be between 1 and {settings.pull_max_groups}")
    with call.service.locked():
        query = _query(call)
        page = _page(call, count)
    frames = page.frames
    if query is not None:
        filtered = apply(query, frames)
        page.headers.update(
            {
                "x-log-rawdatacount": str(len(frames)),
                "x-log-rawdatasize": str(sum(map(len, frames))),
                "x-log-rawdatalines": str(filtered.raw_lines),
                "x-log-resultlines": str(filtered.result_lines),
                "x-log-failedlines": "0",
            }
        )
        frames = filtered.frames
    page.headers["x-log-count"] = str(len(frames))
    return compressed_reply(call, b"".join(frames), page.headers, "application/x-protobuf")


def _query(call: Call) -> Query | None:
    """What is to be kept of each LogGroup: a query in the request, a named processor, or None for everything."""
    name, text = call.params.get("processor"), call.params.get("query")
    if name:
        return processor_query(call.service.project(call.project), name)
    return parse_query(text) if text else None


def _page(call: Call, count: int) -> _Page:
    store, shard = _place(call)
    start = shard.number_of(call.params.get("cursor", ""))
    stop = shard.count
    if call.params.get("end_cursor"):
        stop = shard.number_of(call.params["end_cursor"], clamp=True)
    end = shard.page_end(start, count, call.service.settings.pull_max_bytes, stop)
    headers = {
        "x-log-cursor": shard.cursor(end),
        "x-log-cursor-time": str(_received(call, shard, max(end - 1, start))),
    }
    if end > start:
        headers["x-log-read-last-cursor"] = str(shard.base + end - 1)
    if end == shard.count:
        headers["x-log-end-of-cursor"] = "1"
    call.service.events.add(
        "pull",
        project=store.project,
        logstore=store.name,
        shard=shard.number,
        first=start,
        groups=end - start,
        agent=call.headers.get("user-agent", ""),
    )
    return _Page(call.service.storage.read(shard, start, end) if end > start else [], headers)
