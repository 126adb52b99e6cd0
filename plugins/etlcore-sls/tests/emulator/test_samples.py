"""The sample logs: the same for the same seed, as many as asked for, and of the kind that nginx writes."""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from etlcore_sls.emulator import Emulator, Samples, Settings
from etlcore_sls.emulator.samples import MALFORMED_EVERY, SPAN_SECONDS, sample_groups
from etlcore_sls.wire.protobuf import LogGroup, decode_log_group, split_group_list

FIELDS = [
    *("remote_addr", "remote_user", "time_local", "request_method", "request_uri", "server_protocol", "status"),
    *("body_bytes_sent", "request_length", "request_time", "upstream_response_time", "http_referer"),
    *("http_user_agent", "http_x_forwarded_for", "host"),
]
END = 1_700_000_000.0


def _groups(samples: Samples, shard: int, end: float = END) -> list[LogGroup]:
    stored = sample_groups(samples, shard, end)
    return [decode_log_group(split_group_list(group.framed)[0]) for group in stored]


def _logs(samples: Samples) -> list[dict[str, str]]:
    groups = [group for shard in range(samples.shards) for group in _groups(samples, shard)]
    return [{key.decode(): value.decode() for key, value in log.contents} for group in groups for log in group.logs]


def _without_time(group: LogGroup) -> list[list[tuple[bytes, bytes]]]:
    return [[pair for pair in log.contents if pair[0] != b"time_local"] for log in group.logs]


@pytest.mark.parametrize(("logs", "shards"), [(20_000, 4), (10, 3), (2, 4), (1, 1), (0, 2)])
def test_as_many_as_asked_for_over_all_shards(logs: int, shards: int) -> None:
    samples = Samples(logs=logs, shards=shards)
    counts = [sum(group.logs for group in sample_groups(samples, shard, END)) for shard in range(shards)]
    assert sum(counts) == logs
    assert max(counts) - min(counts) <= 1


def test_the_same_seed_gives_the_same_logs_whenever() -> None:
    samples = Samples(logs=1000, shards=2)
    first, again, later = (_groups(samples, 1, end) for end in (END, END, END + 86_400))
    assert first == again
    assert list(map(_without_time, first)) == list(map(_without_time, later))
    other = _groups(Samples(logs=1000, shards=2, seed=2), 1)
    assert list(map(_without_time, first)) != list(map(_without_time, other))


def test_log_and_receive_times_lie_just_before_now_and_never_go_back() -> None:
    for shard in range(2):
        stored = list(sample_groups(Samples(logs=1000, shards=2), shard, END))
        times = [log.time for group in stored for log in decode_log_group(split_group_list(group.framed)[0]).logs]
        received = [group.received for group in stored]
        assert times == sorted(times)
        assert received == sorted(received)
        assert END - SPAN_SECONDS - 1 <= times[0] <= times[-1] <= received[-1] <= END


def test_a_log_has_the_fields_of_an_nginx_log() -> None:
    (group, *_) = _groups(Samples(), 2)
    assert [key.decode() for key, _ in group.logs[0].contents] == FIELDS
    assert (group.topic, group.source) == (b"nginx_access", b"10.0.0.13")
    assert dict(group.tags)[b"__path__"] == b"/var/log/nginx/access.log"


def _decodes(uri: str) -> bool:
    """Whether a request_uri is well-formed: each % is followed by two digits, and the bytes are UTF-8 text."""
    parts = uri.split("%")[1:]
    if not all(len(part) >= 2 and all(digit in "0123456789abcdefABCDEF" for digit in part[:2]) for part in parts):
        return False
    try:
        unquote_to_bytes(uri).decode()
    except UnicodeDecodeError:
        return False
    return True


def test_most_can_be_parsed_and_a_known_few_cannot() -> None:
    logs = _logs(Samples())
    malformed = [log["request_uri"] for log in logs if not _decodes(log["request_uri"])]
    assert len(malformed) == 20_000 // MALFORMED_EVERY
    assert len(set(malformed)) == 5
    assert Counter(log["status"] for log in logs).most_common(1)[0][0] == "200"
    assert any("%E6%97%A5" in log["request_uri"] for log in logs)
    assert any("+" in log["request_uri"] for log in logs)
    assert all(int(log["body_bytes_sent"]) == 0 for log in logs if log["status"] == "304")


def test_they_are_in_the_emulator_as_configured() -> None:
    samples = Samples("web", "frontend", logs=300, shards=3)
    with Emulator(Settings(samples=samples)) as emulator:
        state: dict[str, Any] = emulator.control.state()
    assert [shard["rows"] for shard in state["web"]["frontend"]["shards"]] == [100, 100, 100]
