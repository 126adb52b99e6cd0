"""Where the official consumer loses rows, or repeats them: the same fault for it and for our source."""

from __future__ import annotations

import threading

import pytest

from .conftest import LOGSTORE, OFFICIAL, OURS, PROJECT, TIMEOUT, Bench
from .parties import PATIENCE, Handle

PLACE = (PROJECT, LOGSTORE)


class FailsOnce:
    """Raises for the first batch that it is given."""

    def __init__(self) -> None:
        self._failed = False

    def __call__(self, rows: list[str]) -> None:
        if not self._failed:
            self._failed = True
            raise ConnectionError("the database is away for a moment")


class Held:
    """Notes the first rows that it is given, and waits for a gate with them; then ``after`` is done."""

    def __init__(self, gate: threading.Event, after: Handle = lambda rows: None) -> None:
        self._gate = gate
        self._after = after
        self._reached = threading.Event()
        self.first: list[str] = []

    def __call__(self, rows: list[str]) -> object:
        if not self._reached.is_set():
            self.first = rows
            self._reached.set()
        assert self._gate.wait(PATIENCE)
        return self._after(rows)

    def reached(self) -> None:
        assert self._reached.wait(PATIENCE), "no rows came"


def test_an_exception_while_a_batch_is_processed(bench: Bench) -> None:
    bench.create()
    rows = bench.put(range(5))

    official = bench.official(FailsOnce(), max_fetch_log_group_size=2).start()
    bench.until_checkpoint(OFFICIAL, 5)
    assert official.rows == ["2", "3", "4"]  # 0 and 1 are behind the checkpoint, and nobody will read them

    ours = bench.ours(FailsOnce(), fetch_groups=2).start()
    bench.until_checkpoint(OURS, 5)
    assert ours.rows == rows
    ours.tell_to_stop().ended()


def test_a_clean_stop_while_processing_fails(bench: Bench) -> None:
    """The database is down when the stop is ordered. It works again for the next process."""
    bench.create()
    rows = bench.put(range(5))
    refused, failed = threading.Event(), threading.Event()

    def refuse(rows: list[str]) -> bool:
        refused.set()
        return False  # the documented way to say: do not commit

    def down(batch: list[str]) -> None:
        failed.set()
        raise ConnectionError("the database is away")

    official = bench.official(refuse, kind="function").start()
    assert refused.wait(PATIENCE)
    official.until(rows)
    assert bench.checkpoint(OFFICIAL) is None
    official.tell_to_stop().ended()
    assert bench.checkpoint(OFFICIAL) == 5
    again = bench.official(kind="function").start()
    later = bench.put(range(5, 6))
    again.until(later)
    assert again.rows == later  # none of the five was ever delivered
    again.kill()

    ours = bench.ours(down, timeout="1s").start()
    assert failed.wait(PATIENCE)
    ours.tell_to_stop().ended(3)
    assert ours.balance["abandoned"] == ours.balance["read"] > 0
    assert not bench.checkpoint(OURS)
    ours = bench.ours().start()
    bench.until_checkpoint(OURS, 6)
    assert ours.rows == rows + later
    ours.tell_to_stop().ended()


def test_a_checkpoint_whose_logs_have_expired(bench: Bench) -> None:
    """Behind the checkpoint come logs that have expired, and then two log groups that have not."""
    bench.create()
    bench.put(range(2))
    place = bench.client.get_cursor(*PLACE, 0, "end").get_cursor()
    for group in (OFFICIAL, OURS):
        bench.client.create_consumer_group(*PLACE, group, TIMEOUT, False)
        bench.client.update_check_point(*PLACE, group, 0, place)
    bench.put(range(2, 10))
    bench.control.trim(*PLACE, 0, keep=2)

    official = bench.official().start()
    bench.control.wait_for("pull", shard=0, groups=0, timeout=PATIENCE)  # it has gone to the end
    bench.put(range(10, 11))
    bench.until_checkpoint(OFFICIAL, 11)
    assert official.rows == ["10"]  # 8 and 9 were there to be read
    official.kill()

    ours = bench.ours().start()
    bench.until_checkpoint(OURS, 11)
    assert ours.rows == ["8", "9", "10"]
    assert "have expired" in ours.stderr
    ours.tell_to_stop().ended()


@pytest.mark.parametrize("group", [OFFICIAL, OURS])
def test_a_consumer_that_was_given_up_goes_on(bench: Bench, gate: threading.Event, group: str) -> None:
    """It has three rows in hand when the group gives it up, of which it does not hear; its successor commits seven."""
    start = bench.official if group == OFFICIAL else bench.ours
    bench.create()
    bench.put(range(3))
    held, no_more = Held(gate), threading.Event()
    old = start(lambda rows: held(rows) if rows[0] < "3" else no_more.wait(), "old").start()
    held.reached()
    _gives_up(bench, group, "old")
    rows = bench.put(range(3, 7))
    new = start(name="new").start()
    new.until(rows)
    bench.until_checkpoint(group, 7, consumer="new")
    mark = bench.control.last_event()
    gate.set()
    answer = bench.control.wait_for("checkpoint", consumer="old", after=mark, timeout=PATIENCE)[0]

    if group == OFFICIAL:
        assert (answer["accepted"], answer["forced"], answer["value"]) == (True, True, 3)
        assert bench.checkpoint(group) == 3  # the successor's seven are forgotten, and four of them are read again
    else:
        assert answer["error"] == "ConsumerNotExist"
        assert bench.checkpoint(group) == 7
    old.kill()
    no_more.set()


@pytest.mark.parametrize("group", [OFFICIAL, OURS])
def test_a_consumer_that_was_given_up_and_failed(bench: Bench, gate: threading.Event, group: str) -> None:
    """It fails with rows that its successor has in hand, and is stopped; then its successor dies."""
    start = bench.official if group == OFFICIAL else bench.ours
    options = {"kind": "function"} if group == OFFICIAL else {"timeout": "1s"}
    failed, never = threading.Event(), threading.Event()

    def fail(rows: list[str]) -> bool:
        failed.set()
        if group == OFFICIAL:
            return False  # its way to say: do not commit
        raise ConnectionError("the database is away")

    bench.create()
    rows = bench.put(range(3))
    held, taken = Held(gate, fail), Held(never)
    old = start(held, "old", **options).start()
    held.reached()
    _gives_up(bench, group, "old")
    new = start(taken, "new", **options).start()
    taken.reached()
    gate.set()
    assert failed.wait(PATIENCE)
    old.tell_to_stop()
    if group == OFFICIAL:
        bench.until_checkpoint(group, 3, consumer="old")
    else:
        old.ended(3)
        assert not bench.checkpoint(group)
    new.kill()
    never.set()
    bench.control.evict(*PLACE, group, "new")
    later = bench.put(range(3, 4))
    third = start(name="third", **options).start()
    third.until(later)
    assert third.rows == (later if group == OFFICIAL else rows + later)


def _gives_up(bench: Bench, group: str, name: str) -> None:
    """The group gives a consumer up, which does not hear of it: its heartbeats get no answer."""
    bench.control.wait_for("fault", fault=bench.control.fault("hang", "heartbeat", consumer=name), timeout=PATIENCE)
    bench.control.evict(*PLACE, group, name)
