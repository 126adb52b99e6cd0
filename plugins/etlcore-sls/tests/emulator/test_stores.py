"""Projects, logstores, shards and indexes through the SDK."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from aliyun.log import IndexConfig, IndexLineConfig, LogClient, LogException, LogItem, PutLogsRequest

PROJECT, LOGSTORE = "shop", "access"
FIRST, LAST = "0" * 32, "f" * 32


def _refused(call: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(LogException) as caught:
        call()
    return caught.value.get_resp_status(), caught.value.get_error_code()


def _ranges(client: LogClient, status: str = "readwrite") -> list[tuple[int, str, str]]:
    return [
        (shard["shardID"], shard["inclusiveBeginKey"], shard["exclusiveEndKey"])
        for shard in client.list_shards(PROJECT, LOGSTORE).shards
        if shard["status"] == status
    ]


# --- projects and logstores ------------------------------------------------------------------------------------------


def test_the_life_of_a_project(client: LogClient) -> None:
    client.create_project("another", "what it is for")
    project = client.get_project("another")
    assert (project.get_projectname(), project.get_description()) == ("another", "what it is for")
    client.update_project("another", "something else")
    assert client.get_project("another").get_description() == "something else"
    listed = client.list_project(project_name_pattern="oth")
    assert [one["projectName"] for one in listed.get_projects()] == ["another"]
    client.delete_project("another")
    assert _refused(lambda: client.get_project("another")) == (404, "ProjectNotExist")


def test_the_life_of_a_logstore(client: LogClient) -> None:
    client.create_logstore(PROJECT, "errors", ttl=7, shard_count=3, append_meta=True, auto_split=False)
    store = client.get_logstore(PROJECT, "errors")
    assert (store.get_ttl(), store.get_shard_count(), store.append_meta, store.auto_split) == (7, 3, True, False)
    client.update_logstore(PROJECT, "errors", ttl=9)
    assert client.get_logstore(PROJECT, "errors").get_ttl() == 9
    assert client.list_logstore(PROJECT).get_body()["logstores"] == ["access", "errors"]
    assert client.list_logstore(PROJECT, offset=1).get_body()["logstores"] == ["errors"]
    assert client.list_logstore(PROJECT, "acc").get_body()["logstores"] == ["access"]
    client.delete_logstore(PROJECT, "errors")
    assert _refused(lambda: client.get_logstore(PROJECT, "errors")) == (404, "LogStoreNotExist")


def test_a_logstore_can_be_made_anew_under_its_old_name_and_is_empty(client: LogClient) -> None:
    client.put_logs(PutLogsRequest(PROJECT, LOGSTORE, "", "", [LogItem(1, contents=[("a", "b")])]))
    client.create_consumer_group(PROJECT, LOGSTORE, "g", 30)
    client.delete_logstore(PROJECT, LOGSTORE)
    client.create_logstore(PROJECT, LOGSTORE, shard_count=4)
    assert client.list_consumer_group(PROJECT, LOGSTORE).get_count() == 0
    for shard in range(4):
        begin, end = (call(PROJECT, LOGSTORE, shard) for call in (client.get_begin_cursor, client.get_end_cursor))
        assert begin.get_cursor() == end.get_cursor()


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda client: client.create_project(PROJECT, ""), (400, "ProjectAlreadyExist")),
        (lambda client: client.create_project("No Such Name", ""), (400, "ParameterInvalid")),
        (lambda client: client.get_project("nowhere"), (404, "ProjectNotExist")),
        (lambda client: client.delete_project("nowhere"), (404, "ProjectNotExist")),
        (lambda client: client.list_logstore("nowhere"), (404, "ProjectNotExist")),
        (lambda client: client.create_logstore(PROJECT, LOGSTORE), (400, "LogStoreAlreadyExist")),
        (lambda client: client.create_logstore(PROJECT, "new", shard_count=0), (400, "ParameterInvalid")),
        (lambda client: client.create_logstore(PROJECT, "bad/name"), (400, "ParameterInvalid")),
        (lambda client: client.delete_logstore(PROJECT, "none"), (404, "LogStoreNotExist")),
        (lambda client: client.list_shards(PROJECT, "none"), (404, "LogStoreNotExist")),
        (lambda client: client.list_shards("nowhere", "none"), (404, "ProjectNotExist")),
        (lambda client: client.split_shard(PROJECT, LOGSTORE, 9, "8" * 32), (400, "ShardNotExist")),
        (lambda client: client.split_shard(PROJECT, LOGSTORE, 0, "zz"), (400, "ParameterInvalid")),
        (lambda client: client.split_shard(PROJECT, LOGSTORE, 0, FIRST), (400, "ParameterInvalid")),
        (lambda client: client.split_shard(PROJECT, LOGSTORE, 0, "40" + "0" * 30), (400, "ParameterInvalid")),
        (lambda client: client.merge_shard(PROJECT, LOGSTORE, 3), (400, "ParameterInvalid")),
        (lambda client: client.delete_shard(PROJECT, LOGSTORE, 0), (400, "ParameterInvalid")),
        (lambda client: client.get_index_config(PROJECT, LOGSTORE), (404, "IndexConfigNotExist")),
        (lambda client: client.get_machine_group(PROJECT, "g"), (404, "InvalidURI")),
    ],
)
def test_what_is_refused(client: LogClient, call: Callable[[LogClient], object], expected: tuple[int, str]) -> None:
    assert _refused(lambda: call(client)) == expected


def test_an_error_names_the_project(client: LogClient) -> None:
    with pytest.raises(LogException) as caught:
        client.get_project("nowhere")
    assert caught.value.get_error_message() == "The Project does not exist: nowhere"
    assert len(caught.value.get_request_id()) == 24


# --- shards ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64])
def test_new_shards_share_the_key_range_without_gap(client: LogClient, count: int) -> None:
    client.create_logstore(PROJECT, "new", shard_count=count)
    shards = client.list_shards(PROJECT, "new").shards
    assert [shard["shardID"] for shard in shards] == list(range(count))
    assert (shards[0]["inclusiveBeginKey"], shards[-1]["exclusiveEndKey"]) == (FIRST, LAST)
    for left, right in pairwise(shards):
        assert left["exclusiveEndKey"] == right["inclusiveBeginKey"]


def test_a_split_leaves_a_readonly_parent_and_two_children(client: LogClient) -> None:
    key = "50" + "0" * 30
    answer = client.split_shard(PROJECT, LOGSTORE, 1, key).shards
    assert [(shard["shardID"], shard["status"]) for shard in answer] == [
        (1, "readonly"),
        (4, "readwrite"),
        (5, "readwrite"),
    ]
    assert _ranges(client, "readonly") == [(1, "40" + "0" * 30, "80" + "0" * 30)]
    assert _ranges(client)[-2:] == [(4, "40" + "0" * 30, key), (5, key, "80" + "0" * 30)]
    assert _refused(lambda: client.split_shard(PROJECT, LOGSTORE, 1, key)) == (400, "ParameterInvalid")
    assert _refused(lambda: client.merge_shard(PROJECT, LOGSTORE, 1)) == (400, "ParameterInvalid")


def test_a_split_by_count(client: LogClient) -> None:
    """As the Java and Go clients ask for it; the Python one only knows keys."""
    path = f"/logstores/{LOGSTORE}/shards/3"
    answer, _ = client._send("POST", PROJECT, None, path, {"action": "split", "shardCount": "3"}, {})
    assert [shard["shardID"] for shard in answer] == [3, 4, 5, 6]
    for params in ({"action": "split", "shardCount": "1"}, {"action": "cut"}):
        with pytest.raises(LogException, match="ParameterInvalid"):
            client._send("POST", PROJECT, None, f"/logstores/{LOGSTORE}/shards/2", params, {})
    ranges = _ranges(client)[-3:]
    assert ranges[0][1] == "c0" + "0" * 30
    assert ranges[-1][2] == LAST
    assert ranges[0][2] == ranges[1][1]


def test_a_merge_takes_the_right_neighbour_even_if_it_has_a_higher_number(client: LogClient) -> None:
    client.split_shard(PROJECT, LOGSTORE, 1, "50" + "0" * 30)
    answer = client.merge_shard(PROJECT, LOGSTORE, 0).shards
    assert [(shard["shardID"], shard["status"]) for shard in answer] == [
        (6, "readwrite"),
        (0, "readonly"),
        (4, "readonly"),
    ]
    assert _ranges(client)[-1] == (6, FIRST, "50" + "0" * 30)


def test_what_was_written_before_a_split_stays_in_the_parent_and_new_logs_go_to_the_children(client: LogClient) -> None:
    def put(key: str) -> None:
        request = PutLogsRequest(PROJECT, LOGSTORE, "", "", [LogItem(1, contents=[("a", key)])], hashKey=key)
        client.put_logs(request)

    def count(shard: int) -> int:
        cursor = client.get_begin_cursor(PROJECT, LOGSTORE, shard).get_cursor()
        return int(client.pull_logs(PROJECT, LOGSTORE, shard, cursor).get_loggroup_count())

    put("41" + "0" * 30)
    client.split_shard(PROJECT, LOGSTORE, 1, "60" + "0" * 30)
    put("41" + "0" * 30)
    put("60" + "0" * 30)
    put("7f" + "0" * 30)
    assert [count(shard) for shard in (1, 4, 5)] == [1, 1, 2]


def test_a_readonly_shard_can_be_deleted(client: LogClient) -> None:
    client.split_shard(PROJECT, LOGSTORE, 1, "50" + "0" * 30)
    client.delete_shard(PROJECT, LOGSTORE, 1)
    assert [shard["shardID"] for shard in client.list_shards(PROJECT, LOGSTORE).shards] == [0, 2, 3, 4, 5]
    assert _refused(lambda: client.get_begin_cursor(PROJECT, LOGSTORE, 1)) == (400, "ShardNotExist")


def test_the_sdk_rearranges_shards(client: LogClient) -> None:
    client.arrange_shard(PROJECT, LOGSTORE, 7)
    assert client.get_logstore(PROJECT, LOGSTORE).get_shard_count() == 7


def test_an_index_is_kept(client: LogClient) -> None:
    index = IndexConfig(7, IndexLineConfig([" ", ","]))
    client.create_index(PROJECT, LOGSTORE, index)
    assert client.get_index_config(PROJECT, LOGSTORE).get_index_config().to_json()["line"]["token"] == [" ", ","]
    assert _refused(lambda: client.create_index(PROJECT, LOGSTORE, index)) == (400, "IndexAlreadyExist")
    client.delete_index(PROJECT, LOGSTORE)
    assert _refused(lambda: client.delete_index(PROJECT, LOGSTORE)) == (404, "IndexConfigNotExist")
