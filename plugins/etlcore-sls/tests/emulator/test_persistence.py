"""What is written to a data file is there after a restart, however the emulator ended."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aliyun.log import IndexConfig, IndexLineConfig, LogClient, LogException, LogItem, PutLogsRequest
from etlcore_sls.emulator import Emulator, EmulatorError, EmulatorProcess, Samples, Settings
from etlcore_sls.emulator.sqlite import SqliteStorage

PROJECT, LOGSTORE, GROUP = "shop", "access", "readers"
PLACE = (PROJECT, LOGSTORE, GROUP)


def _client(endpoint: str) -> LogClient:
    client = LogClient(endpoint, "etlcore-demo-id", "etlcore-demo-secret", source="s")
    client._isRowIp = True
    return client


def _everything(client: LogClient, project: str = PROJECT, logstore: str = LOGSTORE) -> dict[str, Any]:
    """All that a client can see of a logstore."""
    shards = client.list_shards(project, logstore).shards
    logs = {}
    for shard in (one["shardID"] for one in shards):
        cursor = client.get_begin_cursor(project, logstore, shard).get_cursor()
        page = client.pull_logs(project, logstore, shard, cursor)
        logs[shard] = (cursor, page.get_next_cursor(), page.get_flatten_logs_json())
    groups = {
        group.get_consumer_group_name(): (
            group.get_timeout(),
            group.is_in_order(),
            [
                (one["shard"], one["checkpoint"], one["updateTime"])
                for one in client.get_check_point(
                    project, logstore, group.get_consumer_group_name()
                ).get_consumer_group_check_points()
            ],
        )
        for group in client.list_consumer_group(project, logstore).get_consumer_groups()
    }
    return {
        "project": client.get_project(project).get_body(),
        "logstore": client.get_logstore(project, logstore).get_body(),
        "index": client.get_index_config(project, logstore).get_index_config().to_json(),
        "shards": shards,
        "logs": logs,
        "groups": groups,
    }


def _fill(client: LogClient) -> None:
    """Something of everything that there is, deletions included."""
    client.create_project(PROJECT, "before")
    client.update_project(PROJECT, "a shop")
    client.create_logstore(PROJECT, LOGSTORE, ttl=7, shard_count=3)
    client.create_logstore(PROJECT, "gone", shard_count=1)
    client.create_index(PROJECT, LOGSTORE, IndexConfig(7, IndexLineConfig([","])))
    for n in range(9):
        logs = [LogItem(n + 1, [("n", f"{n}-{m}")], 5) for m in range(3)]
        client.put_logs(PutLogsRequest(PROJECT, LOGSTORE, "t", "s", logs))
    client.split_shard(PROJECT, LOGSTORE, 0, "10" + "0" * 30)
    client.merge_shard(PROJECT, LOGSTORE, 1)
    client.delete_shard(PROJECT, LOGSTORE, 2)
    client.create_consumer_group(*PLACE, 60, in_order=True)
    client.create_consumer_group(PROJECT, LOGSTORE, "gone", 60)
    client.delete_consumer_group(PROJECT, LOGSTORE, "gone")
    client.heart_beat(*PLACE, "a", [])
    cursor = client.pull_logs(
        PROJECT, LOGSTORE, 0, client.get_begin_cursor(PROJECT, LOGSTORE, 0).get_cursor(), count=2
    ).get_next_cursor()
    client.update_check_point(*PLACE, 0, cursor, "a", force_success=False)
    client.delete_logstore(PROJECT, "gone")


@pytest.mark.parametrize("how", ["close", "kill"])
def test_everything_survives_a_restart(tmp_path: Path, how: str) -> None:
    data = str(tmp_path / "deep" / "er" / "data.db")
    first = EmulatorProcess(data=data)
    client = _client(first.endpoint)
    _fill(client)
    before = _everything(client)
    if how == "kill":
        os.kill(first.pid, signal.SIGKILL)
    first.close()
    with EmulatorProcess(data=data) as second:
        client = _client(second.endpoint)
        assert _everything(client) == before
        assert client.list_logstore(PROJECT).get_body()["logstores"] == [LOGSTORE]
        # And it goes on where it was: a new log has the next cursor, a new shard the next number.
        client.put_logs(PutLogsRequest(PROJECT, LOGSTORE, "", "", [LogItem(1, [("n", "new")])], hashKey="1" * 32))
        written = [shard for shard, (_, end, _) in before["logs"].items() if _end(client, shard) != end]
        assert len(written) == 1
        page = client.pull_logs(PROJECT, LOGSTORE, written[0], before["logs"][written[0]][1])
        assert [log["n"] for log in page.get_flatten_logs_json()] == ["new"]
        numbers = [shard["shardID"] for shard in before["shards"]]
        children = second.control.split(PROJECT, LOGSTORE, written[0])
        assert children == [max(numbers) + 1, max(numbers) + 2]


def _end(client: LogClient, shard: int) -> str:
    return str(client.get_end_cursor(PROJECT, LOGSTORE, shard).get_cursor())


def test_a_checkpoint_is_on_disk_when_its_write_is_answered(tmp_path: Path) -> None:
    data = str(tmp_path / "data.db")
    first = EmulatorProcess(data=data)
    first.control.create(PROJECT, LOGSTORE, shards=1)
    first.control.put(PROJECT, LOGSTORE, [{"n": 1}])
    client = _client(first.endpoint)
    client.create_consumer_group(*PLACE, 60)
    client.heart_beat(*PLACE, "a", [])
    end = _end(client, 0)
    client.update_check_point(*PLACE, 0, end, "a", force_success=False)
    os.kill(first.pid, signal.SIGKILL)
    first.close()
    with EmulatorProcess(data=data) as second:
        (entry,) = _client(second.endpoint).get_check_point(*PLACE).get_consumer_group_check_points()
    assert (entry["checkpoint"], entry["consumer"]) == (end, "a")


def test_waiting_children_still_wait_after_a_restart_even_if_order_was_changed_since(tmp_path: Path) -> None:
    data = str(tmp_path / "data.db")
    with Emulator(Settings(data=data)) as first:
        first.control.create(PROJECT, LOGSTORE, shards=1)
        first.control.put(PROJECT, LOGSTORE, [{"n": 1}])
        client = _client(first.endpoint)
        client.create_consumer_group(*PLACE, 60, in_order=True)
        first.control.split(PROJECT, LOGSTORE, 0)
        assert [one["state"] for one in first.control.group_state(*PLACE)["shards"]] == ["not_alloc", "wait", "wait"]
        client.update_consumer_group(*PLACE, in_order=False)
    with Emulator(Settings(data=data)) as second:
        assert [one["state"] for one in second.control.group_state(*PLACE)["shards"]] == ["not_alloc", "wait", "wait"]


def test_consumers_begin_again_after_a_restart(tmp_path: Path) -> None:
    """Who holds what is not kept: after a restart each shard is free, and a consumer that held some is told so."""
    data = str(tmp_path / "data.db")
    with Emulator(Settings(data=data)) as first:
        first.control.create(PROJECT, LOGSTORE, shards=2)
        client = _client(first.endpoint)
        client.create_consumer_group(*PLACE, 60)
        assert client.heart_beat(*PLACE, "a", []).get_shards() == [0, 1]
    with Emulator(Settings(data=data)) as second:
        client = _client(second.endpoint)
        with pytest.raises(LogException, match="NotExistConsumerWithBody"):
            client.heart_beat(*PLACE, "a", [0, 1])
        assert client.heart_beat(*PLACE, "b", []).get_shards() == [0, 1]


def test_expired_groups_stay_expired(tmp_path: Path) -> None:
    data = str(tmp_path / "data.db")
    with Emulator(Settings(data=data)) as first:
        first.control.create(PROJECT, LOGSTORE, shards=1)
        first.control.put(PROJECT, LOGSTORE, [{"n": n} for n in range(5)], rows_per_group=1)
        first.control.trim(PROJECT, LOGSTORE, 0, keep=2)
        before = _client(first.endpoint).get_begin_cursor(PROJECT, LOGSTORE, 0).get_cursor()
    with Emulator(Settings(data=data)) as second:
        client = _client(second.endpoint)
        assert client.get_begin_cursor(PROJECT, LOGSTORE, 0).get_cursor() == before
        logs = client.pull_logs(PROJECT, LOGSTORE, 0, before).get_flatten_logs_json()
        assert [log["n"] for log in logs] == ["3", "4"]


def test_samples_are_written_once(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path / "data.db"), samples=Samples(logs=100, shards=2))
    with Emulator(settings) as first:
        before = first.control.state()
    with Emulator(settings) as second:
        assert second.control.state() == before


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "data.db"
    path.touch(0o644)
    with Emulator(Settings(data=str(path), samples=Samples(logs=100))):
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes["data.db"] == 0o600
    assert set(modes.values()) == {0o600}


# --- files that cannot be used ---------------------------------------------------------------------------------------


def _text(path: Path) -> None:
    path.write_text("not a database, but long enough to be taken for one" * 100)


def _other_program(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE mine (a)")
    db.close()


def _other_format(path: Path) -> None:
    Emulator(Settings(data=str(path))).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()


def _directory(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_text, "is not an SQLite file; name another with --data"),
        (_other_program, "belongs to another program; name another with --data"),
        (_other_format, "has format 99, this emulator reads 1"),
        (_directory, "cannot be opened: Is a directory"),
    ],
)
def test_a_file_that_is_not_the_emulators(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    path = tmp_path / "data.db"
    spoil(path)
    with pytest.raises(ValueError, match=message):
        Emulator(Settings(data=str(path)))
    with pytest.raises(EmulatorError, match=message):
        EmulatorProcess(data=str(path))


def test_a_file_that_another_emulator_has_open(tmp_path: Path) -> None:
    data = str(tmp_path / "data.db")
    with EmulatorProcess(data=data), pytest.raises(ValueError, match="in use by another emulator; stop it first"):
        SqliteStorage(data, patience=0.2)
    SqliteStorage(data, patience=0.2).close()
