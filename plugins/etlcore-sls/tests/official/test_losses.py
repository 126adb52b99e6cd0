"""Where the official consumer loses rows: the same fault for it and for our source, in the same emulator."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

PLACE = ("demo", "logs")
OFFICIAL, OURS = "official", "etlcore"


class FailsOnce:
    """Raises for the first batch that it is given."""

    def __init__(self) -> None:
        self._failed = False

    def __call__(self, rows: list[str]) -> None:
        if not self._failed:
            self._failed = True
            raise ConnectionError("the database is away for a moment")


def test_an_exception_while_a_batch_is_processed(bench: Any) -> None:
    bench.create()
    rows = bench.put(range(5))

    official = bench.official(FailsOnce(), max_fetch_log_group_size=2).start()
    bench.until_checkpoint(OFFICIAL, 5)
    official.stop()
    assert official.rows == ["2", "3", "4"]  # and 0 and 1 are behind the checkpoint

    ours = bench.ours(FailsOnce(), fetch_groups=2).start()
    bench.until_checkpoint(OURS, 5)
    ours.stop()
    assert ours.rows == rows


def test_a_clean_stop_while_processing_fails(bench: Any) -> None:
    bench.create()
    rows = bench.put(range(5))
    refused, tried = threading.Event(), threading.Event()

    def refusing(official: Any) -> Callable[[], Any]:
        from aliyun.log.consumer.tasks import ConsumerProcessorAdaptor

        def process(shard: int, log_groups: Any) -> bool:
            refused.set()
            return False  # its documented way to say: do not commit

        return lambda: ConsumerProcessorAdaptor(process)

    official = bench.official(processor=refusing).start()
    assert refused.wait(60)
    assert bench.checkpoint(OFFICIAL) is None
    official.stop()
    assert bench.checkpoint(OFFICIAL) == 5

    def down(batch: list[str]) -> None:
        tried.set()
        raise ConnectionError("the database is away")

    ours = bench.ours(down, timeout=1.0).start()
    assert tried.wait(60)
    report = ours.stop()
    assert report.balance.abandoned == 5
    assert report.exit_code == 3
    assert not bench.checkpoint(OURS)
    again = bench.ours().start()
    again.until(rows)
    again.stop()
    assert bench.checkpoint(OURS) == 5


def test_a_checkpoint_whose_logs_have_expired(bench: Any) -> None:
    """Behind the checkpoint come logs that have expired, and then two log groups that have not."""
    bench.create()
    bench.put(range(2))
    place = bench.client.get_cursor(*PLACE, 0, "end").get_cursor()
    for group in (OFFICIAL, OURS):
        bench.client.create_consumer_group(*PLACE, group, 60, False)
        bench.client.update_check_point(*PLACE, group, 0, place)
    bench.put(range(2, 10))
    bench.control.trim(*PLACE, 0, keep=2)

    official = bench.official().start()
    ours = bench.ours().start()
    bench.control.wait_for("pull", shard=0, groups=0, timeout=60)
    ours.until(["8", "9"])
    bench.beats(OFFICIAL)
    bench.put(range(10, 11))
    official.until(["10"])
    ours.until(["10"])
    official.stop()
    report = ours.stop()
    assert official.rows == ["10"]  # 8 and 9 were there to be read
    assert ours.rows == ["8", "9", "10"]
    assert report.exit_code == 0


@pytest.mark.parametrize("party", [OFFICIAL, OURS])
def test_a_consumer_that_was_given_up_goes_on(bench: Any, gate: threading.Event, party: str) -> None:
    """It has three rows in hand when the group gives it up, of which it does not hear; its successor commits seven."""
    bench.create()
    held = threading.Event()

    def wait(rows: list[str]) -> None:
        held.set()
        assert gate.wait(120)

    bench.put(range(3))
    start = bench.official if party == OFFICIAL else bench.ours
    start(wait, "old").start()
    assert held.wait(60)
    beats = bench.control.fault("hang", "heartbeat", consumer="old")
    bench.control.wait_for("fault", fault=beats, timeout=60)
    bench.control.evict(*PLACE, party, "old")
    rows = bench.put(range(3, 7))
    new = start(name="new").start()
    new.until(rows)
    bench.until_checkpoint(party, 7, consumer="new")
    mark = bench.control.last_event()
    gate.set()
    answer = bench.control.wait_for("checkpoint", consumer="old", after=mark, timeout=60)[0]

    if party == OFFICIAL:
        assert answer["accepted"]
        assert answer["forced"]
        assert bench.checkpoint(OFFICIAL) == 3  # the successor's seven are forgotten
    else:
        assert answer["error"] == "ConsumerNotExist"
        assert bench.checkpoint(OURS) == 7
    bench.control.release(beats)
