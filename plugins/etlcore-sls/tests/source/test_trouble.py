"""What goes wrong on the way: errors, quotas, expired logs, answers that make no sense."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from etlcore_sls.connect import until_ready
from etlcore_sls.errors import SlsError, SlsFailure


def _fill(store: Any, shards: int, rows: int = 100) -> list[str]:
    store.create(shards)
    for shard in range(shards):
        store.put(shard, range(shard * rows, shard * rows + rows))
    return [str(n) for n in range(shards * rows)]


# --- errors that pass ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "error", "status": 500, "code": "InternalServerError"},
        {"action": "error", "status": 503, "code": "ServerBusy"},
        {"action": "error", "status": 403, "code": "ReadQuotaExceed"},
        {"action": "error", "status": 403, "code": "ShardReadQuotaExceed"},
        {"action": "cut"},
        {"action": "cut", "response_bytes": 200},
        {"action": "slow", "bytes_per_second": 50_000},
    ],
    ids=lambda fault: fault.get("code") or fault["action"] + str(fault.get("response_bytes", "")),
)
@pytest.mark.parametrize("operation", ["pull_logs", "get_checkpoint", "get_cursor", "heartbeat", "list_groups"])
def test_a_request_that_fails_is_made_again(store: Any, operation: str, fault: dict[str, Any]) -> None:
    values = _fill(store, 2)
    number = store.control.fault(operation=operation, count=1, **fault)
    member = store.member(until="end").start().ended()
    assert sorted(member.values(), key=int) == values
    assert not member.forgotten
    store.hits(number)


@pytest.mark.parametrize(
    ("status", "code"), [(403, "ShardReadQuotaExceed"), (500, "InternalServerError"), (503, "ServerBusy")]
)
def test_a_shard_that_is_refused_for_now_does_not_hold_up_the_others(
    store: Any, monkeypatch: pytest.MonkeyPatch, status: int, code: str
) -> None:
    """Nor the stop, however long it is left alone: there is a single fetcher here."""
    monkeypatch.setattr("etlcore_sls.fetch._BACKOFF_SECONDS", (1000.0, 1000.0))
    _fill(store, 4)
    store.control.fault("error", "pull_logs", shard=2, status=status, code=code)
    member = store.member(fetch_threads=1).start().until_rows(300)
    for shard in (0, 1, 3):
        store.put(shard, range(1000 * shard, 1000 * shard + 10))
    member.until_rows(330).stop().ended()
    assert not any(200 <= int(n) < 300 for n in member.values())
    assert member.metrics.counts["fetch_errors"] >= 1


def test_a_service_that_refuses_everything_does_not_hold_up_the_stop(store: Any) -> None:
    """What was delivered is committed already, so nothing more is asked of it."""
    _fill(store, 2)
    member = store.member().start().until_rows(200)
    store.wait(lambda state: state["rows_committed"] == 200)
    down = store.control.fault("error", status=503, code="ServerBusy")
    store.hits(down, 5)
    member.stop().ended()


def test_a_pull_that_hangs_does_not_hold_up_the_others_or_the_stop(store: Any) -> None:
    _fill(store, 3)
    hang = store.control.fault("hang", "pull_logs", shard=1)
    member = store.member(fetch_threads=2, request_seconds=600).start().until_rows(200)
    store.hits(hang, 1)
    member.stop().ended()
    assert len(member.rows) == 200
    assert store.checkpoints() == {0: 10, 1: 0, 2: 10}


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "error", "status": 500, "code": "InternalServerError"},
        {"action": "cut"},
        {"action": "cut", "point": "after"},
    ],
    ids=["error", "cut", "cut after it took effect"],
)
def test_a_commit_that_fails_is_made_again(store: Any, fault: dict[str, Any]) -> None:
    _fill(store, 1)
    member = store.member().hold().start().until_rows(100).stop()
    store.control.fault(operation="update_checkpoint", count=1, **fault)
    member.settle()
    member.ended()
    assert store.checkpoints() == {0: 10}
    assert not member.commit_errors


def test_a_commit_that_keeps_failing_is_reported_and_can_be_tried_later(store: Any) -> None:
    _fill(store, 4)
    member = store.member().hold().start().until_rows(400).stop()
    store.control.fault("error", "update_checkpoint", skip=3, status=500)
    member.settle()
    member.until(lambda m: bool(m.commit_errors))
    assert isinstance(member.commit_errors[0], SlsFailure)
    assert re.match(r"cannot commit shard \d: InternalServerError", str(member.commit_errors[0]))
    assert sorted(store.checkpoints().values(), key=str) == [10, 10, 10, None]
    store.control.clear_faults()
    member.ended()
    assert store.checkpoints() == {0: 10, 1: 10, 2: 10, 3: 10}


def test_shards_are_committed_side_by_side(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One commit that hangs does not keep seven other shards from being committed."""
    monkeypatch.setattr("etlcore_sls.source._SHORT_SECONDS", 600.0)
    _fill(store, 8)
    member = store.member(request_seconds=600).hold().start().until_rows(800).stop()
    hang = store.control.fault("hang", "update_checkpoint", count=1)
    member.settle()
    store.hits(hang)
    store.wait(lambda state: state["rows_committed"] == 700)
    store.control.release(hang)
    member.ended()


# --- logs that have expired ------------------------------------------------------------------------------------------


def _expired(store: Any) -> None:
    """Ten log groups, the checkpoint behind the second; then all but the last three of fifteen expire."""
    store.create(1)
    store.put(0, range(20))
    store.member(until="end").start().ended()
    store.put(0, range(20, 150))
    store.control.trim("demo", "logs", 0, keep=3)


def test_expired_logs_are_skipped_to_the_oldest_that_is_left(store: Any) -> None:
    _expired(store)
    member = store.member(until="end").start().until_said("have expired; going on at the begin").ended()
    assert member.values() == [str(n) for n in range(120, 150)]
    assert member.metrics.counts["invalid_cursors"] == 1


def test_expired_logs_are_skipped_to_the_end(store: Any) -> None:
    _expired(store)
    member = store.member(on_invalid_cursor="end").start()
    store.wait(lambda state: state["groups_behind"] == 0)
    store.put(0, range(500, 510))
    member.until_rows(10).stop().ended()
    assert member.values() == [str(n) for n in range(500, 510)]
    assert member.metrics.counts["invalid_cursors"] == 1


def test_expired_logs_stop_the_run(store: Any) -> None:
    _expired(store)
    error = store.member(until="end", on_invalid_cursor="stop").start().ended(SlsFailure).error
    assert "shard 0 at" in str(error)
    assert "`on_invalid_cursor: begin`" in str(error)
    assert store.checkpoints() == {0: 2}


def test_logs_that_expire_while_they_are_read(store: Any) -> None:
    store.create(1)
    store.put(0, range(100))
    pulls = store.control.fault("hang", "pull_logs", skip=1)
    member = store.member(until="end", fetch_groups=2).start().until_rows(20)
    store.hits(pulls, 1)
    store.control.trim("demo", "logs", 0, keep=3)
    store.control.release(pulls)
    member.ended()
    assert member.values() == [*map(str, range(20)), *map(str, range(70, 100))]


def test_a_shard_whose_logs_have_all_expired_is_at_its_end(store: Any) -> None:
    store.create(1)
    store.put(0, range(20))
    store.member(until="end").start().ended()
    store.put(0, range(20, 150))
    store.control.trim("demo", "logs", 0, keep=0)
    assert store.member(until="end").start().ended().rows == []
    assert store.checkpoints() == {0: 15}


# --- errors that do not pass -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"project": "nobody"}, "cannot use the logstore nobody/logs at http://.*ProjectNotExist.*check `project`"),
        ({"logstore": "nothing"}, "LogStoreNotExist: .*; check `logstore`"),
        ({"access_key_id": "unknown"}, "Unauthorized: .*check `access_key_id`"),
        ({"access_key_secret": "wrong"}, "SignatureNotMatch: .*check the access key's secret"),
    ],
)
def test_what_cannot_work_is_said_at_the_start(store: Any, options: dict[str, Any], message: str) -> None:
    store.create(1)
    error = store.member(**options).start().ended(SlsFailure).error
    with pytest.raises(SlsFailure, match=message):
        raise error


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("http://127.0.0.1:1", "127.0.0.1:1: no answer: Connection refused; check `endpoint`"),
        (
            "http://no-such-host.invalid",
            "no answer: Failed to resolve 'demo.no-such-host.invalid'.*; check `endpoint`",
        ),
    ],
)
def test_a_service_that_is_not_reached_is_tried_again_until_the_stop(store: Any, endpoint: str, message: str) -> None:
    member = store.member(endpoint=endpoint).start().until_said("cannot reach demo/logs at")
    error = member.stop().ended(SlsFailure).error
    with pytest.raises(SlsFailure, match=message):
        raise error


def test_a_service_that_is_not_reached_for_long_fails_the_source(store: Any) -> None:

    def call() -> None:
        raise SlsError("ServerBusy", "come back later", 503)

    member = store.member()
    with pytest.raises(SlsFailure, match=r"cannot use the logstore demo/logs at .*: ServerBusy: come back later"):
        until_ready(member.config, member, call, patience=0)


def test_a_stop_while_the_service_is_not_reached_is_prompt(store: Any) -> None:
    store.create(1)
    fault = store.control.fault("error", "list_groups", status=503, code="ServerBusy")
    member = store.member().start()
    store.hits(fault, 2)
    member.stop().ended(SlsFailure)


def test_an_error_that_will_not_pass_stops_the_run_where_it_is(store: Any) -> None:
    _fill(store, 2)
    store.control.fault("error", "pull_logs", shard=1, status=400, code="ParameterInvalid", message="no such column")
    error = store.member().start().ended(SlsFailure).error
    assert "shard 1 at" in str(error)
    assert "ParameterInvalid: no such column" in str(error)


def test_an_answer_that_cannot_be_read_stops_the_run_after_some_attempts(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for ever: it may be the logs themselves. Here the service stores what is no protobuf."""
    monkeypatch.setattr("etlcore_sls.fetch._BACKOFF_SECONDS", (0.01, 0.1))
    store.create(1)
    store.put(0, range(10))
    service = store.emulator.service
    from etlcore_sls.emulator.shards import StoredGroup

    with service.lock:
        logstore = service.logstore("demo", "logs")
        service.append(
            logstore, logstore.shard(0), [StoredGroup(int(service.now()), 1, b"\x0a\x05\xff\xff\xff\xff\xff")]
        )
    error = store.member().start().ended(SlsFailure).error
    assert "the answer cannot be read, 5 times in a row" in str(error)


def test_a_shard_that_vanishes_is_dropped(store: Any) -> None:
    values = _fill(store, 2)
    store.control.fault("error", "pull_logs", shard=1, status=400, code="ShardNotExist")
    member = store.member(until="end").start().until_said("shard 1 no longer exists").ended()
    assert Counter(member.values()) == Counter(values[:100])
