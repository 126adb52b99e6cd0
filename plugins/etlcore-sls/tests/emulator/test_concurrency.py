"""Many clients at once: nothing is lost, nothing is doubled, and every shard has one order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aliyun.log import LogClient, LogItem, PutLogsRequest
from etlcore_sls.emulator import Emulator
from etlcore_sls.pytest_plugin import EmulatorFactory
from etlcore_sls.wire.cursor import decode_cursor

PROJECT, LOGSTORE, GROUP = "shop", "access", "readers"
WRITERS, EACH = 6, 40


@pytest.fixture(params=["memory", "file"])
def emulator(request: pytest.FixtureRequest, sls_emulator_factory: EmulatorFactory, tmp_path: Path) -> Emulator:
    emulator = sls_emulator_factory(data=str(tmp_path / "data.db") if request.param == "file" else None)
    emulator.control.create(PROJECT, LOGSTORE, shards=2)
    return emulator


def _write(client: LogClient, writer: int, together: threading.Barrier) -> None:
    together.wait()
    for number in range(EACH):
        log = LogItem(1, [("writer", str(writer)), ("number", str(number))])
        client.put_logs(PutLogsRequest(PROJECT, LOGSTORE, "", "", [log], hashKey="0" * 32))


def _read(client: LogClient, together: threading.Barrier) -> list[tuple[int, str, str]]:
    """Follow shard 0 from its begin until everything that is written has come by."""
    together.wait()
    cursor = client.get_begin_cursor(PROJECT, LOGSTORE, 0).get_cursor()
    seen: list[tuple[int, str, str]] = []
    while len(seen) < WRITERS * EACH:
        page = client.pull_logs(PROJECT, LOGSTORE, 0, cursor, count=7)
        first = decode_cursor(page.get_next_cursor()) - page.get_loggroup_count()
        assert first == decode_cursor(cursor), "no cursor is left out"
        seen += [(first + n, log["writer"], log["number"]) for n, log in enumerate(page.get_flatten_logs_json())]
        cursor = page.get_next_cursor()
    return seen


def test_writers_and_readers_of_one_shard(emulator: Emulator, make_client: Callable[..., LogClient]) -> None:
    together = threading.Barrier(WRITERS + 2)
    with ThreadPoolExecutor(WRITERS + 2) as pool:
        readers = [pool.submit(_read, make_client(), together) for _ in range(2)]
        writers = [pool.submit(_write, make_client(), writer, together) for writer in range(WRITERS)]
        for writer in writers:
            writer.result(300)
        first, second = (reader.result(300) for reader in readers)
    assert first == second, "every reader sees the same order"
    for writer in range(WRITERS):
        numbers = [int(number) for _, who, number in first if who == str(writer)]
        assert numbers == list(range(EACH)), "each writer's logs are all there, in its order"


def test_consumers_that_come_all_at_once_share_the_shards(
    emulator: Emulator, make_client: Callable[..., LogClient]
) -> None:
    emulator.control.split(PROJECT, LOGSTORE, 0, parts=6)
    make_client().create_consumer_group(PROJECT, LOGSTORE, GROUP, 3600)
    together = threading.Barrier(4)

    def consume(name: str) -> list[int]:
        client, held = make_client(), []
        for _ in range(20):
            together.wait()
            held = client.heart_beat(PROJECT, LOGSTORE, GROUP, name, held).get_shards()
        return list(held)

    with ThreadPoolExecutor(4) as pool:
        shares = list(pool.map(consume, "abcd"))
    assert sorted(shard for share in shares for shard in share) == list(range(8))
    assert sorted(map(len, shares)) == [2, 2, 2, 2]


def test_a_shard_is_split_while_it_is_written_to(emulator: Emulator, make_client: Callable[..., LogClient]) -> None:
    together = threading.Barrier(WRITERS + 1)
    with ThreadPoolExecutor(WRITERS) as pool:
        writers = [pool.submit(_write, make_client(), writer, together) for writer in range(WRITERS)]
        together.wait()
        shard = 0
        for count in (20, 40, 60):
            emulator.control.wait_for("put", count=count)
            shard = emulator.control.split(PROJECT, LOGSTORE, shard)[0]
        for writer in writers:
            writer.result(300)
    shards = emulator.control.state()[PROJECT][LOGSTORE]["shards"]
    assert sum(one["rows"] for one in shards) == WRITERS * EACH
    parents = [one["shard"] for one in shards if one["readonly"]]
    for parent in parents:
        (split,) = emulator.control.events("split", shard=parent)
        late = [put for put in emulator.control.events("put", shard=parent) if put["number"] > split["number"]]
        assert late == [], "nothing is written to a shard after it was split"
