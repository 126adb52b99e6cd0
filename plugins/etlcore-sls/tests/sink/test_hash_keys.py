"""Which shard a row goes to, and in which order."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Any

import pytest

from etlcore import Batch


def ranges(target: Any) -> dict[int, range]:
    """The hash keys of each writable shard, as the official SDK tells them."""
    from aliyun.log import LogClient

    key = target.emulator.key
    client = LogClient(target.emulator.endpoint, key.access_key_id, key.secret, source="127.0.0.1")
    client._isRowIp = True
    found = client.list_shards("demo", target.logstore).get_shards_info()
    return {
        shard["shardID"]: range(int(shard["inclusiveBeginKey"], 16), int(shard["exclusiveEndKey"], 16))
        for shard in found
        if shard["status"] == "readwrite"
    }


def md5(text: str) -> int:
    return int.from_bytes(hashlib.md5(text.encode()).digest(), "big")


@pytest.mark.parametrize("buckets", [64, 4, None], ids=lambda buckets: f"buckets {buckets}")
def test_a_row_goes_to_the_shard_of_its_hash(make_target: Callable[..., Any], buckets: int | None) -> None:
    target = make_target(shards=4)
    options = {} if buckets is None else {"hash_buckets": buckets}
    sink = target.sink(hash_key="user", **options)
    if buckets is None:  # `null` in a file, which `config` leaves out
        sink.config = sink.config.model_copy(update={"hash_buckets": None})
    sink.write(Batch.from_rows([{"user": f"u{n % 40}", "n": n} for n in range(200)]))
    logs = target.logs()
    shards = ranges(target)
    assert {log.shard for log in logs} == {0, 1, 2, 3}
    assert [log for log in logs if md5(log.fields["user"]) not in shards[log.shard]] == []
    assert sorted(int(log.fields["n"]) for log in logs) == list(range(200))
    most = 40 if buckets is None else buckets
    assert len(target.puts()) <= most


def test_the_hash_is_that_of_the_text_in_the_log(make_target: Callable[..., Any]) -> None:
    """So a number goes where the same number as text goes."""
    target = make_target(shards=4)
    target.sink(hash_key="id").write(Batch.from_rows([{"id": value} for n in range(30) for value in (n, str(n))]))
    where: dict[str, set[int]] = {}
    for log in target.logs():
        where.setdefault(log.fields["id"], set()).add(log.shard)
    assert all(len(shards) == 1 for shards in where.values())
    assert len(where) == 30


def test_rows_without_a_value_go_wherever_the_service_likes(make_target: Callable[..., Any]) -> None:
    target = make_target(shards=4)
    sink = target.sink(hash_key="user", put_logs=5)
    sink.write(Batch.from_rows([{"n": n, "user": None} for n in range(20)]))
    assert {log.shard for log in target.logs()} == {0, 1, 2, 3}


def test_after_a_split_the_children_take_their_parts(make_target: Callable[..., Any]) -> None:
    target = make_target(shards=1)
    sink = target.sink(hash_key="user")
    target.control.split("demo", target.logstore, 0)
    sink.write(Batch.from_rows([{"user": f"u{n}"} for n in range(50)]))
    shards = ranges(target)
    logs = target.logs()
    assert {log.shard for log in logs} == {1, 2}
    assert all(md5(log.fields["user"]) in shards[log.shard] for log in logs)


@pytest.mark.parametrize("seed", range(5))
def test_rows_of_one_key_stay_in_order(make_target: Callable[..., Any], seed: int) -> None:
    """Whatever their topics are, and however small the requests."""
    chance = random.Random(seed)
    target = make_target(shards=3)
    sink = target.sink(hash_key="user", put_logs=chance.choice([1, 3, 10]), hash_buckets=chance.choice([1, 2, 64]))
    rows = [
        {
            "user": f"u{chance.randrange(6)}",
            "__topic__": chance.choice("abc"),
            "n": n,
            "text": "x" * chance.randrange(99),
        }
        for n in range(300)
    ]
    for start in range(0, 300, 100):
        sink.write(Batch.from_rows(rows[start : start + 100]))
    users: dict[str, list[int]] = {}
    for log in target.logs():  # in the order of each shard
        users.setdefault(log.fields["user"], []).append(int(log.fields["n"]))
    assert all(found == sorted(found) for found in users.values())
    assert sum(map(len, users.values())) == 300
