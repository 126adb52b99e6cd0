"""Where the official consumer stalls: its heartbeats go on, so its shards are nobody else's, and nothing is read."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from etlcore import Batch, Sink

PLACE = ("demo", "logs")
OFFICIAL, OURS = "official", "etlcore"
BROKEN_THREAD = "ignore::pytest.PytestUnhandledThreadExceptionWarning"  # which is what happens to the official worker


class SetForward:
    """The module `time` as the official worker sees it, with a clock that can be set forward."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def time(self) -> float:
        return time.time() + self.seconds


@pytest.mark.filterwarnings(BROKEN_THREAD)
def test_one_checkpoint_that_is_refused(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The official worker writes what it has not written yet when a shard has been idle for 30 seconds."""
    clock = SetForward()
    monkeypatch.setattr("aliyun.log.consumer.shard_worker.time", clock)
    quota = {"status": 403, "code": "WriteQuotaExceed", "count": 1}

    def in_memory(official: Any) -> Callable[[], Any]:
        from aliyun.log.consumer import ConsumerProcessorBase

        class Processor(ConsumerProcessorBase):  # type: ignore[misc]
            def process(self, log_groups: Any, check_point_tracker: Any) -> None:
                official.batch([c.Value for g in log_groups.LogGroups for log in g.Logs for c in log.Contents])
                check_point_tracker.save_check_point(False)  # as its base class does, most of the time

        return Processor

    bench.create()
    first = bench.put(range(3))
    official = bench.official(processor=in_memory).start()
    official.until(first)
    fault = bench.control.fault("error", "update_checkpoint", group=OFFICIAL, **quota)
    clock.seconds = 31.0
    official.ended()
    bench.control.wait_for("fault", fault=fault)
    second = bench.put(range(3, 6))
    assert all(beat["held"] == beat["assigned"] == [0] for beat in bench.beats(OFFICIAL))
    assert official.rows == first
    assert bench.checkpoint(OFFICIAL) is None

    fault = bench.control.fault("error", "update_checkpoint", group=OURS, **quota)
    ours = bench.ours().start()
    ours.until(first + second)
    bench.until_checkpoint(OURS, 6)
    bench.control.wait_for("fault", fault=fault)
    assert ours.stop().exit_code == 0


@pytest.mark.filterwarnings(BROKEN_THREAD)
def test_a_processor_that_does_not_call_its_base(bench: Any) -> None:
    def without_base(official: Any) -> Callable[[], Any]:
        from aliyun.log.consumer import ConsumerProcessorBase

        class Processor(ConsumerProcessorBase):  # type: ignore[misc]
            def __init__(self) -> None:
                self.count = 0

            def process(self, log_groups: Any, check_point_tracker: Any) -> None:
                official.batch([c.Value for g in log_groups.LogGroups for log in g.Logs for c in log.Contents])

        return Processor

    bench.create()
    rows = bench.put(range(5))
    official = bench.official(processor=without_base).start().ended()
    assert all(beat["assigned"] == [0] for beat in bench.beats(OFFICIAL))
    assert official.rows == []

    written: list[str] = []

    class WithoutBase(Sink):
        def __init__(self) -> None:
            self.count = 0

        def write(self, batch: Batch) -> None:
            written.extend(row["n"] for row in batch.rows)

    ours = bench.ours(sink=WithoutBase).start()
    bench.until_checkpoint(OURS, 5)
    ours.stop()
    assert written == rows


def test_in_order_behind_an_empty_parent(bench: Any) -> None:
    bench.create()
    children = bench.control.split(*PLACE, 0)
    rows = [row for child in children for row in bench.put(range(child * 10, child * 10 + 5), child)]

    official = bench.official(in_order=True).start()
    bench.beats(OFFICIAL)
    bench.control.wait_for("pull", shard=0, count=5, timeout=60)  # asked again and again, and never committed
    state = bench.control.group_state(*PLACE, OFFICIAL)
    assert [shard["state"] for shard in state["shards"]] == ["already_alloc", "wait", "wait"]
    assert [shard["checkpoint"] for shard in state["shards"]] == [None, None, None]
    assert official.rows == []

    ours = bench.ours(group_in_order=True).start()
    ours.until(rows)
    ours.stop()
    assert sorted(ours.rows, key=int) == rows
