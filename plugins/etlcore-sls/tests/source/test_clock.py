"""The service's clock and this machine's need not agree."""

from __future__ import annotations

from typing import Any

import pytest
from etlcore_sls.errors import SlsFailure
from etlcore_sls.service_clock import ServiceClock

NOON = "Wed, 01 May 2024 12:00:00 GMT"
AT_NOON = 1_714_564_800


def test_without_an_answer_the_clocks_are_taken_to_agree() -> None:
    clock = ServiceClock(lambda: 1000.0)
    assert (clock.earliest(), clock.now(), clock.latest()) == (1000, 1000, 1000)


def test_an_answer_bounds_the_time_at_the_service() -> None:
    """It was made at some moment of its second, between the sending of the request and its arrival."""
    clock = ServiceClock(lambda: 500.0)
    clock.heard(NOON, sent=499.5, came=499.75)
    assert clock.earliest() == AT_NOON + 0.25
    assert clock.latest() == AT_NOON + 1.5
    assert clock.earliest() < clock.now() < clock.latest()


def test_clocks_that_may_agree_do() -> None:
    clock = ServiceClock(lambda: AT_NOON + 2.0)
    clock.heard(NOON, sent=AT_NOON - 0.1, came=AT_NOON + 0.9)
    assert clock.now() == clock.local()


def test_answers_together_bound_it_closely() -> None:
    clock = ServiceClock(lambda: 0.0)
    clock.heard(NOON, sent=100.0, came=100.1)
    clock.heard("Wed, 01 May 2024 12:00:01 GMT", sent=100.2, came=100.3)
    assert clock.latest() - clock.earliest() == pytest.approx(0.3)


def test_a_clock_that_was_set_counts_from_then_on() -> None:
    clock = ServiceClock(lambda: 100.0)
    clock.heard(NOON, sent=100.0, came=100.0)
    clock.heard("Wed, 01 May 2024 13:00:00 GMT", sent=100.0, came=100.0)
    assert clock.earliest() == AT_NOON + 3600


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_what_is_no_date_tells_nothing(date: str | None) -> None:
    clock = ServiceClock(lambda: 100.0)
    clock.heard(date, sent=100.0, came=100.0)
    assert clock.now() == 100


# --- the source ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [-500, 0, 500])
def test_a_run_ends_at_a_moment_on_the_clock_of_the_service(store: Any, ahead: int) -> None:
    """The service says when a log was received. By this machine's clock the moment may have passed, or be far away."""
    store.create(2)
    store.control.advance_clock(ahead)
    member = store.member(until=int(store.emulator.service.now()) + 200, group_timeout_seconds=10_000).start()
    store.control.wait_for("heartbeat")  # it is open, and knows the ends if it takes the moment for one that has passed
    store.put(0, range(50))
    member.until_rows(50)
    assert not member.at_end
    store.control.advance_clock(203)
    member.ended()
    assert member.at_end
    assert member.values() == [str(n) for n in range(50)]


def test_the_lag_is_that_on_the_clock_of_the_service(store: Any) -> None:
    store.create(1)
    store.control.advance_clock(-600)
    store.put(0, range(200), per_group=1)
    store.control.advance_clock(100)
    second_page = store.control.fault("hang", "pull_logs", skip=1)
    member = store.member(fetch_groups=100).start()
    member.until(lambda m: m.metrics.gauges.get(("lag_seconds", "shard 0"), 0) >= 98)
    assert member.metrics.gauges["lag_seconds", "shard 0"] < 400
    store.control.release(second_page)
    member.stop().ended()


def test_a_clock_that_is_far_off_is_said_at_the_start(store: Any) -> None:
    """The service takes no signature that is older, or newer, than fifteen minutes."""
    store.create(1)
    store.control.advance_clock(3600)
    error = store.member().start().ended(SlsFailure).error
    assert "RequestTimeExpired" in str(error)
    assert "this machine's clock is more than 15 minutes off; set it" in str(error)


def test_a_clock_that_is_set_far_off_under_way_stops_the_run_and_costs_no_row(store: Any) -> None:
    store.create(2)
    store.put(0, range(50))
    member = store.member().start().until_rows(50)
    store.wait(lambda state: state["rows_committed"] == 50)
    store.control.advance_clock(-3600)
    error = member.ended(SlsFailure).error
    assert "this machine's clock is more than 15 minutes off; set it" in str(error)
    store.control.advance_clock(3600)
    store.put(1, range(50, 100))
    assert store.member(until="end").start().ended().values() == [str(n) for n in range(50, 100)]
