"""Reading logs by their time (GetLogs), and how many there are (GetHistograms).

Only the query ``*`` is emulated: every log of a time range, in the order of time. No index is needed.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from etlcore_sls.emulator.calls import Call, Reply, compressed_reply, json_reply, route
from etlcore_sls.emulator.errors import parameter_invalid
from etlcore_sls.emulator.filtering import fields_of
from etlcore_sls.emulator.logstore import Logstore
from etlcore_sls.emulator.service import Service
from etlcore_sls.wire.protobuf import LogGroup, decode_log_group, log_times, split_group_list

_BUCKETS = 60
_MOST_LINES = 100  # in one answer, as the service has it

Place = tuple[int, int, int, int]
"""One log: its time, shard, number of its LogGroup, and number within that."""


@dataclass(slots=True)
class TimeIndex:
    """Where each log of a logstore is, by time. ``version`` says which state of the logstore it was made of."""

    version: tuple[tuple[int, int, int], ...]
    places: list[Place]

    def between(self, start: int, end: int) -> tuple[int, int]:
        """The places of the logs of a time range, its end not included."""
        return bisect_left(self.places, (start,)), bisect_left(self.places, (end,))


def _index(service: Service, store: Logstore) -> TimeIndex:
    version = tuple((shard.uid, shard.first, shard.count) for shard in store.shards.values())
    if not isinstance(store.time_index, TimeIndex) or store.time_index.version != version:
        places = [
            (time, shard.number, number, place)
            for shard in store.shards.values()
            for number, framed in enumerate(service.storage.read(shard, shard.first, shard.count), shard.first)
            for place, time in enumerate(log_times(split_group_list(framed)[0]))
        ]
        store.time_index = TimeIndex(version, sorted(places))
    return store.time_index


@route("get_logs", "POST", "/logstores/{logstore}/logs")
def get_logs(call: Call) -> Reply:
    """The logs of a time range, a page at a time, in the form that clients ask for today."""
    document = call.json()
    logs = _logs(call, document)
    meta = {
        "progress": "Complete",
        "count": len(logs),
        "processedRows": len(logs),
        "processedBytes": 0,
        "elapsedMillisecond": 0,
        "hasSQL": False,
        "whereQuery": str(document.get("query", "")),
        "aggQuery": "",
        "cpuSec": 0.0,
        "cpuCores": 0,
        "mode": 0,
        "scanBytes": 0,
        "limited": 0,
        "telementryType": "",
        "powerSql": False,
        "insertedSQL": "",
        "keys": [],
        "terms": [],
        "marker": "",
        "isAccurate": True,
        "columnTypes": [],
        "highlights": [],
    }
    return compressed_reply(call, json.dumps({"meta": meta, "data": logs}).encode(), {}, "application/json")


@route("get_logs", "GET", "/logstores/{logstore}", types=("log",))
def get_logs_by_parameters(call: Call) -> Reply:
    """The same in its older form: parameters in the URL, the logs as a bare array."""
    logs = _logs(call, call.params)
    reply = json_reply(logs)
    reply.headers.update({"x-log-progress": "Complete", "x-log-count": str(len(logs))})
    return reply


@route("get_histograms", "GET", "/logstores/{logstore}", types=("histogram",))
def get_histograms(call: Call) -> Reply:
    """How many logs there are in each part of a time range."""
    _check_query(call.params)
    store = call.service.logstore(call.project, call.names["logstore"])
    start, end = _number(call.params, "from"), _number(call.params, "to")
    if end <= start:
        raise parameter_invalid(f"to {end} must be later than from {start}")
    index, step = _index(call.service, store), -(-(end - start) // _BUCKETS)
    buckets: list[dict[str, Any]] = []
    for first in range(start, end, step):
        last = min(first + step, end)
        low, high = index.between(first, last)
        buckets.append({"from": first, "to": last, "count": high - low, "progress": "Complete"})
    reply = json_reply(buckets)
    reply.headers.update({"x-log-progress": "Complete", "x-log-count": str(sum(one["count"] for one in buckets))})
    return reply


def _logs(call: Call, options: Mapping[str, Any]) -> list[dict[str, str]]:
    _check_query(options)
    store = call.service.logstore(call.project, call.names["logstore"])
    index = _index(call.service, store)
    low, high = index.between(_number(options, "from"), _number(options, "to"))
    places = index.places[low:high]
    if str(options.get("reverse", "false")).lower() == "true":
        places.reverse()
    lines, offset = min(_number(options, "line", _MOST_LINES), _MOST_LINES), _number(options, "offset", 0)
    return _read(call.service, store, places[max(offset, 0) :][: max(lines, 0)])


def _read(service: Service, store: Logstore, places: list[Place]) -> list[dict[str, str]]:
    decoded: dict[tuple[int, int], LogGroup] = {}
    logs = []
    for _, shard, number, place in places:
        if (shard, number) not in decoded:
            framed = service.storage.read(store.shards[shard], number, number + 1)[0]
            decoded[shard, number] = decode_log_group(split_group_list(framed)[0])
        group = decoded[shard, number]
        logs.append(fields_of(group, group.logs[place]))
    return logs


def _check_query(options: Mapping[str, Any]) -> None:
    query = str(options.get("query") or "*").strip()
    if query != "*" or options.get("topic"):
        raise parameter_invalid(f"the query {query!r} is not emulated: only '*', without a topic")


def _number(options: Mapping[str, Any], name: str, default: int | None = None) -> int:
    try:
        return int(options.get(name, "" if default is None else default))
    except (TypeError, ValueError):
        raise parameter_invalid(f"{name} must be a whole number") from None
