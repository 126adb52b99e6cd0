"""Consumer groups over HTTP through the SDK: what is created, what is answered, what is fenced off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aliyun.log import LogClient, LogException
from etlcore_sls.emulator import Emulator
from etlcore_sls.pytest_plugin import EmulatorFactory
from etlcore_sls.wire.cursor import decode_cursor, encode_cursor

PROJECT, LOGSTORE, GROUP = "shop", "access", "readers"
PLACE = (PROJECT, LOGSTORE, GROUP)
TIMEOUT = 30


def _refused(call: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(LogException) as caught:
        call()
    return caught.value.get_resp_status(), caught.value.get_error_code()


@pytest.fixture
def group(client: LogClient) -> LogClient:
    """A client of a logstore with a consumer group in which a heartbeat may be 30 seconds late."""
    client.create_consumer_group(*PLACE, TIMEOUT)
    return client


def _beat(client: LogClient, consumer: str, *held: int) -> list[int]:
    return list(client.heart_beat(*PLACE, consumer, list(held)).get_shards())


def _cursor(client: LogClient, shard: int, groups: int) -> str:
    return encode_cursor(decode_cursor(client.get_begin_cursor(PROJECT, LOGSTORE, shard).get_cursor()) + groups)


def _checkpoints(client: LogClient, shard: int = -1) -> list[dict[str, Any]]:
    return list(client.get_check_point(*PLACE, shard).get_consumer_group_check_points())


# --- groups ----------------------------------------------------------------------------------------------------------


def test_the_life_of_a_group(client: LogClient) -> None:
    client.create_consumer_group(PROJECT, LOGSTORE, "a", 30)
    client.create_consumer_group(PROJECT, LOGSTORE, "b", 60, in_order=True)
    client.update_consumer_group(PROJECT, LOGSTORE, "a", timeout=45)
    client.update_consumer_group(PROJECT, LOGSTORE, "b", in_order=False)
    groups = client.list_consumer_group(PROJECT, LOGSTORE).get_consumer_groups()
    assert [(one.get_consumer_group_name(), one.get_timeout(), one.is_in_order()) for one in groups] == [
        ("a", 45, False),
        ("b", 60, False),
    ]
    client.delete_consumer_group(PROJECT, LOGSTORE, "a")
    assert client.list_consumer_group(PROJECT, LOGSTORE).get_count() == 1


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda client: client.create_consumer_group(*PLACE, 10), (400, "ConsumerGroupAlreadyExist")),
        (lambda client: client.create_consumer_group(PROJECT, LOGSTORE, "new", 0), (400, "ParameterInvalid")),
        (lambda client: client.create_consumer_group(PROJECT, LOGSTORE, "new", "soon"), (400, "ParameterInvalid")),
        (lambda client: client.create_consumer_group(PROJECT, "none", "new", 10), (404, "LogStoreNotExist")),
        (lambda client: client.update_consumer_group(PROJECT, LOGSTORE, "none", 10), (404, "ConsumerGroupNotExist")),
        (lambda client: client.delete_consumer_group(PROJECT, LOGSTORE, "none"), (404, "ConsumerGroupNotExist")),
        (lambda client: client.heart_beat(PROJECT, LOGSTORE, "none", "a"), (404, "ConsumerGroupNotExist")),
        (lambda client: client.heart_beat(*PLACE, ""), (400, "ParameterInvalid")),
        (lambda client: client.heart_beat(*PLACE, "a", ["x"]), (400, "ParameterInvalid")),
        (lambda client: client.heart_beat(*PLACE, "a", {"shards": []}), (400, "PostBodyInvalid")),
        (lambda client: client.heart_beat(*PLACE, "a", [0]), (400, "NotExistConsumerWithBody")),
        (lambda client: client.get_check_point(PROJECT, LOGSTORE, "none"), (404, "ConsumerGroupNotExist")),
        (lambda client: client.get_check_point(*PLACE, 9), (400, "ShardNotExist")),
        (lambda client: client.update_check_point(*PLACE, 9, "MQ==", "a"), (400, "ShardNotExist")),
        (lambda client: client.update_check_point(*PLACE, 0, "no cursor", "a"), (400, "InvalidShardCheckPoint")),
        (lambda client: client.update_check_point(*PLACE, 0, "", "a"), (400, "InvalidShardCheckPoint")),
        (lambda client: client.update_check_point(*PLACE, 0, "MQ==", "", False), (400, "ParameterInvalid")),
        (lambda client: client.update_check_point(*PLACE, 0, "MQ==", "a", False), (404, "ConsumerNotExist")),
    ],
)
def test_what_is_refused(group: LogClient, call: Callable[[LogClient], object], expected: tuple[int, str]) -> None:
    assert _refused(lambda: call(group)) == expected


def test_a_logstore_has_a_limit_of_groups(
    sls_emulator_factory: EmulatorFactory, make_client: Callable[..., LogClient]
) -> None:
    emulator = sls_emulator_factory(max_consumer_groups=2)
    emulator.control.create(PROJECT, LOGSTORE)
    client = make_client(emulator=emulator)
    client.create_consumer_group(PROJECT, LOGSTORE, "a", 10)
    client.create_consumer_group(PROJECT, LOGSTORE, "b", 10)
    assert _refused(lambda: client.create_consumer_group(PROJECT, LOGSTORE, "c", 10)) == (
        400,
        "ConsumerGroupQuotaExceed",
    )


# --- heartbeats ------------------------------------------------------------------------------------------------------


def test_two_consumers_share_the_shards(group: LogClient) -> None:
    assert _beat(group, "a") == [0, 1, 2, 3]
    assert _beat(group, "b") == []
    assert _beat(group, "a", 0, 1, 2, 3) == [0, 1]
    assert _beat(group, "b") == []
    assert _beat(group, "a", 0, 1) == [0, 1]
    assert _beat(group, "b") == [2, 3]


def test_a_silent_consumer_loses_its_shards_and_must_begin_again(emulator: Emulator, group: LogClient) -> None:
    _beat(group, "a")
    emulator.control.advance_clock(TIMEOUT + 1)
    assert _beat(group, "b") == [0, 1, 2, 3]
    assert _refused(lambda: _beat(group, "a", 0, 1, 2, 3)) == (400, "NotExistConsumerWithBody")
    assert _beat(group, "a") == []
    assert _beat(group, "b", 0, 1) == [0, 1]
    assert _beat(group, "a") == [2, 3]


def test_an_evicted_consumer_is_told_at_its_next_heartbeat(emulator: Emulator, group: LogClient) -> None:
    _beat(group, "a")
    emulator.control.evict(*PLACE, "a")
    assert _refused(lambda: _beat(group, "a", 0)) == (400, "NotExistConsumerWithBody")
    assert emulator.control.events("consumer_evicted", consumer="a")


def test_new_shards_are_given_out_after_a_split(group: LogClient) -> None:
    _beat(group, "a")
    group.split_shard(PROJECT, LOGSTORE, 0, "10" + "0" * 30)
    assert _beat(group, "a", 0, 1, 2, 3) == [0, 1, 2, 3, 4, 5]


def test_a_group_that_was_deleted_while_it_was_consumed(group: LogClient) -> None:
    _beat(group, "a")
    group.delete_consumer_group(*PLACE)
    assert _refused(lambda: _beat(group, "a", 0)) == (404, "ConsumerGroupNotExist")
    group.create_consumer_group(*PLACE, TIMEOUT)
    assert _beat(group, "a") == [0, 1, 2, 3]


# --- checkpoints -----------------------------------------------------------------------------------------------------


def test_a_shard_without_a_checkpoint_is_listed_with_an_empty_one(group: LogClient) -> None:
    assert _checkpoints(group) == [{"shard": n, "checkpoint": "", "updateTime": 0, "consumer": ""} for n in range(4)]
    assert _checkpoints(group, 2) == [{"shard": 2, "checkpoint": "", "updateTime": 0, "consumer": ""}]


@pytest.mark.parametrize("force", [False, True])
def test_a_checkpoint_is_kept_as_it_was_written(emulator: Emulator, group: LogClient, force: bool) -> None:
    _beat(group, "a")
    cursor = _cursor(group, 1, 0)
    group.update_check_point(*PLACE, 1, cursor, "a", force)
    (entry,) = _checkpoints(group, 1)
    assert (entry["checkpoint"], entry["consumer"]) == (cursor, "a")
    assert abs(entry["updateTime"] / 1_000_000 - emulator.service.now()) < 600
    assert emulator.control.events("checkpoint", shard=1, value=0, forced=force, accepted=True)


def test_go_and_java_write_true_in_small_letters(group: LogClient) -> None:
    path = f"/logstores/{LOGSTORE}/consumergroups/{GROUP}"
    body = b'{"shard": 0, "checkpoint": "MQ=="}'
    headers = {"Content-Type": "application/json"}
    group._send("POST", PROJECT, body, path, {"type": "checkpoint", "forceSuccess": "true"}, headers)
    assert _checkpoints(group, 0)[0]["checkpoint"] == "MQ=="


def test_a_late_consumer_cannot_move_the_new_owners_checkpoint_unless_it_forces(
    emulator: Emulator, group: LogClient
) -> None:
    _beat(group, "old")
    group.update_check_point(*PLACE, 0, _cursor(group, 0, 3), "old", force_success=False)
    emulator.control.advance_clock(TIMEOUT + 1)
    _beat(group, "new")
    group.update_check_point(*PLACE, 0, _cursor(group, 0, 7), "new", force_success=False)
    late = _cursor(group, 0, 4)
    assert _refused(lambda: group.update_check_point(*PLACE, 0, late, "old", False)) == (404, "ConsumerNotExist")
    _beat(group, "old")
    assert _refused(lambda: group.update_check_point(*PLACE, 0, late, "old", False)) == (400, "ConsumerNotMatch")
    assert _checkpoints(group, 0)[0]["checkpoint"] == _cursor(group, 0, 7)
    group.update_check_point(*PLACE, 0, late, "old", force_success=True)
    assert _checkpoints(group, 0)[0]["checkpoint"] == late, "what the official client does, and how it loses logs"
    told = [(e["consumer"], e["value"], e["forced"], e["accepted"]) for e in emulator.control.events("checkpoint")]
    assert told == [
        ("old", 3, False, True),
        ("new", 7, False, True),
        ("old", 4, False, False),
        ("old", 4, False, False),
        ("old", 4, True, True),
    ]


def test_checkpoints_of_two_groups_are_their_own(group: LogClient) -> None:
    group.create_consumer_group(PROJECT, LOGSTORE, "other", TIMEOUT)
    group.update_check_point(*PLACE, 0, _cursor(group, 0, 0), "", force_success=True)
    other = group.get_check_point(PROJECT, LOGSTORE, "other").get_consumer_group_check_points()
    assert other[0]["checkpoint"] == ""


def test_how_far_behind_a_group_is(emulator: Emulator, group: LogClient) -> None:
    emulator.control.put(PROJECT, LOGSTORE, [{"n": n} for n in range(50)], shard=0, rows_per_group=10)
    _beat(group, "a")
    group.update_check_point(*PLACE, 0, _cursor(group, 0, 2), "a", False)
    state = emulator.control.group_state(*PLACE)
    assert (state["rows_committed"], state["rows_behind"], state["groups_behind"]) == (20, 30, 3)
    assert state["shards"][0] == {
        "shard": 0,
        "state": "already_alloc",
        "owner": "a",
        "next_owner": "",
        "checkpoint": 2,
        "writer": "a",
        "groups": 5,
        "groups_behind": 3,
        "rows_committed": 20,
        "rows_behind": 30,
    }
    assert list(state["consumers"]) == ["a"]


def test_the_sdk_computes_lag_from_a_checkpoint_at_the_begin_or_the_end(emulator: Emulator, group: LogClient) -> None:
    emulator.control.put(PROJECT, LOGSTORE, [{"n": 1}], shard=0)
    for shard, groups in ((0, 0), (1, 0)):
        group.update_check_point(*PLACE, shard, _cursor(group, shard, groups), "", True)
    entries = group.get_check_point_fixed(*PLACE).get_consumer_group_check_points()
    assert all(entry["checkpoint_previous_cursor_time"] > 0 for entry in entries[:2])
