"""The official ConsumerWorker and producer, unmodified, with the emulator as their HTTP proxy."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from aliyun.log import LogClient
from aliyun.log.consumer import ConsumerProcessorBase, ConsumerWorker, CursorPosition, LogHubConfig
from etlcore_sls.emulator import Emulator
from etlcore_sls.pytest_plugin import EmulatorFactory

PROJECT, LOGSTORE, GROUP = "shop", "access", "official"
PLACE = (PROJECT, LOGSTORE, GROUP)


class Seen:
    """What was consumed, by all workers of a test together."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, int, str]] = []
        self.lock = threading.Lock()

    def processor(self, worker: str) -> type[ConsumerProcessorBase]:
        seen = self

        class Processor(ConsumerProcessorBase):  # type: ignore[misc]
            def process(self, log_groups: object, check_point_tracker: object) -> None:
                with seen.lock:
                    for group in log_groups.LogGroups:  # type: ignore[attr-defined]
                        seen.rows += [(worker, self.shard_id, log.Contents[0].Value) for log in group.Logs]
                self.save_checkpoint(check_point_tracker, force=True)

        return Processor

    def counts(self) -> Counter[str]:
        with self.lock:
            return Counter(value for _, _, value in self.rows)


WorkerFactory = Callable[..., ConsumerWorker]


@pytest.fixture
def emulator(sls_emulator_factory: EmulatorFactory) -> Emulator:
    """Two shards only: the official worker takes a second to let go of each."""
    emulator = sls_emulator_factory()
    emulator.control.create(PROJECT, LOGSTORE, shards=2)
    return emulator


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def start_worker(emulator: Emulator, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerFactory]:
    """Start official workers by name; all are stopped and joined after the test."""
    monkeypatch.setenv("http_proxy", emulator.endpoint)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    workers: list[ConsumerWorker] = []

    def start(name: str, **options: object) -> ConsumerWorker:
        config = LogHubConfig(
            "http://cn-emulator.log.aliyuncs.com",
            emulator.key.access_key_id,
            emulator.key.secret,
            *(PROJECT, LOGSTORE, GROUP, name),
            cursor_position=CursorPosition.BEGIN_CURSOR,
            heartbeat_interval=1,
            data_fetch_interval=0.1,
            **options,
        )
        config.consumer_group_time_out = 3600  # no slow machine is to lose a shard
        worker = ConsumerWorker(seen.processor(name), config)
        worker.daemon = True
        workers.append(worker)
        worker.start()
        return worker

    yield start
    for worker in workers:
        worker.shutdown()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()


def _fill(emulator: Emulator, shard: int, count: int, name: str) -> list[str]:
    values = [f"{name}-{n}" for n in range(count)]
    emulator.control.put(PROJECT, LOGSTORE, [{"v": value} for value in values], shard=shard, rows_per_group=10)
    return values


def _all_committed(emulator: Emulator) -> None:
    emulator.control.wait_for_state(*PLACE, lambda state: state["rows_behind"] == 0 and state["rows_committed"] > 0)


@pytest.mark.parametrize(
    "options", [{}, {"auth_version": "v4", "region": "cn-emulator"}, {"accept_compress_type": "zstd"}]
)
def test_one_worker_consumes_everything_once_and_commits_it(
    emulator: Emulator, start_worker: WorkerFactory, seen: Seen, options: dict[str, str]
) -> None:
    values = [value for shard in range(2) for value in _fill(emulator, shard, 40, f"s{shard}")]
    start_worker("a", **options)
    _all_committed(emulator)
    assert seen.counts() == Counter(values)


def test_two_workers_share_the_shards_and_one_takes_over_from_the_other(
    emulator: Emulator, start_worker: WorkerFactory, seen: Seen
) -> None:
    start_worker("a")
    start_worker("b")
    emulator.control.wait_for_state(
        *PLACE, lambda state: Counter(shard["owner"] for shard in state["shards"]) == {"a": 1, "b": 1}, timeout=120
    )
    values = [value for shard in range(2) for value in _fill(emulator, shard, 20, f"s{shard}")]
    _all_committed(emulator)
    assert seen.counts() == Counter(values)
    assert {worker for worker, _, _ in seen.rows} == {"a", "b"}
    emulator.control.evict(*PLACE, "b")
    emulator.control.wait_for_state(*PLACE, lambda state: {shard["owner"] for shard in state["shards"]} == {"a"})


def test_children_are_consumed_after_their_parent_in_an_ordered_group(
    emulator: Emulator, start_worker: WorkerFactory, seen: Seen
) -> None:
    before = _fill(emulator, 0, 30, "before")
    first, second = emulator.control.split(PROJECT, LOGSTORE, 0)
    after = _fill(emulator, first, 30, "after") + _fill(emulator, second, 30, "later")
    start_worker("a", in_order=True)
    emulator.control.wait_for("over", shard=0)
    _all_committed(emulator)
    assert seen.counts() == Counter(before + after)
    shards = [shard for _, shard, _ in seen.rows]
    assert max(place for place, shard in enumerate(shards) if shard == 0) < shards.index(first)
    assert max(place for place, shard in enumerate(shards) if shard == 0) < shards.index(second)


def test_the_producer_through_the_proxy(
    emulator: Emulator, start_worker: WorkerFactory, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aliyun.log import LogItem, PutLogsRequest

    monkeypatch.setenv("http_proxy", emulator.endpoint)
    key = emulator.key
    client = LogClient("http://cn-emulator.log.aliyuncs.com", key.access_key_id, key.secret, source="s")
    start_worker("a")
    for n in range(20):
        client.put_logs(PutLogsRequest(PROJECT, LOGSTORE, "", "s", [LogItem(1, [("v", str(n))])]))
    emulator.control.wait_for_state(*PLACE, lambda state: state["rows_committed"] == 20)
    assert seen.counts() == Counter(str(n) for n in range(20))
