"""Faults, events and interventions: in this process and over HTTP, with the same calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import requests
from aliyun.log import LogClient, LogException, LogItem, PutLogsRequest
from etlcore_sls.emulator import Emulator
from etlcore_sls.emulator.control import Control, ControlError, EventTimeout, RemoteControl

PROJECT, LOGSTORE, GROUP = "shop", "access", "readers"
PLACE = (PROJECT, LOGSTORE, GROUP)


@pytest.fixture(params=["in process", "over HTTP"])
def control(request: pytest.FixtureRequest, emulator: Emulator) -> Control:
    return emulator.control if request.param == "in process" else RemoteControl(emulator.endpoint)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def _pull(client: LogClient, shard: int = 0) -> int:
    cursor = client.get_begin_cursor(PROJECT, LOGSTORE, shard).get_cursor()
    return int(client.pull_logs(PROJECT, LOGSTORE, shard, cursor).get_loggroup_count())


def _outcome(call: Callable[[], object]) -> object:
    """What a call returns, or the code that it is refused with."""
    try:
        return call()
    except LogException as error:
        return error.get_error_code()


# --- errors and counting ---------------------------------------------------------------------------------------------


def test_the_next_pulls_of_a_shard_are_refused(control: Control, client: LogClient) -> None:
    control.put(PROJECT, LOGSTORE, [{"a": "b"}], shard=1)
    fault = control.fault("error", "pull_logs", shard=1, status=403, code="ReadQuotaExceed", count=2)
    outcomes = [_outcome(partial(_pull, client, shard)) for shard in (0, 1, 1, 1)]
    assert outcomes == [0, "ReadQuotaExceed", "ReadQuotaExceed", 1]
    assert control.faults()[0]["hits"] == 2
    assert [event["fault"] for event in control.events("fault", operation="pull_logs")] == [fault, fault]


def test_a_fault_that_spares_the_first(control: Control, client: LogClient) -> None:
    control.fault("error", "pull_logs", status=403, code="No", skip=2, count=1)
    assert [_outcome(lambda: _pull(client)) for _ in range(4)] == [0, 0, "No", 0]


def test_a_fault_of_one_consumer(control: Control, client: LogClient) -> None:
    client.create_consumer_group(*PLACE, 60)
    control.fault("error", "heartbeat", consumer="b", status=400, code="NotExistConsumerWithBody")
    assert client.heart_beat(*PLACE, "a", []).get_shards() == [0, 1, 2, 3]
    for _ in range(3):
        assert _outcome(lambda: client.heart_beat(*PLACE, "b", [])) == "NotExistConsumerWithBody"
    control.clear_faults()
    assert client.heart_beat(*PLACE, "b", []).get_shards() == []


def test_a_checkpoint_that_is_refused_is_not_written(control: Control, client: LogClient) -> None:
    client.create_consumer_group(*PLACE, 60)
    client.heart_beat(*PLACE, "a", [])
    cursor = client.get_begin_cursor(PROJECT, LOGSTORE, 0).get_cursor()
    control.fault("error", "update_checkpoint", group=GROUP, status=400, code="ConsumerNotMatch", count=1)
    assert _outcome(lambda: client.update_check_point(*PLACE, 0, cursor, "a", False)) == "ConsumerNotMatch"
    assert control.group_state(*PLACE)["shards"][0]["checkpoint"] is None
    client.update_check_point(*PLACE, 0, cursor, "a", False)
    assert control.group_state(*PLACE)["shards"][0]["checkpoint"] == 0


def test_the_sdk_repeats_a_server_error(control: Control, client: LogClient) -> None:
    control.fault("error", "list_shards", status=503, code="ServerBusy", count=1)
    assert client.list_shards(PROJECT, LOGSTORE).count == 4
    assert control.events("refused", status=503)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"action": "explode"}, "must be one of error, hang, delay, slow, cut"),
        ({"action": "error", "point": "meanwhile"}, "must be one of before, after"),
        ({"action": "slow"}, "needs bytes_per_second above 0"),
        ({"action": "error", "colour": "red"}, "no such field"),
    ],
)
def test_faults_that_make_no_sense(control: Control, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ControlError, match=message):
        control.fault(**fields)


# --- hanging, slow and cut -------------------------------------------------------------------------------------------


def test_a_request_hangs_until_it_is_released_and_others_do_not(
    control: Control, client: LogClient, pool: ThreadPoolExecutor, make_client: Callable[..., LogClient]
) -> None:
    fault = control.fault("hang", "pull_logs", shard=0)
    hanging = pool.submit(_pull, make_client(), 0)
    control.wait_for("fault", fault=fault)
    assert _pull(client, 1) == 0
    assert not hanging.done()
    control.release(fault)
    assert hanging.result(60) == 0
    assert _pull(client, 0) == 0


def test_what_hangs_after_it_took_effect_has_taken_effect(
    control: Control, pool: ThreadPoolExecutor, make_client: Callable[..., LogClient]
) -> None:
    fault = control.fault("hang", "put_logs", point="after", count=1)
    request = PutLogsRequest(PROJECT, LOGSTORE, "", "", [LogItem(1, [("a", "b")])])
    hanging = pool.submit(make_client().put_logs, request)
    control.wait_for("put")
    assert not hanging.done()
    control.release(fault)
    hanging.result(60)


@pytest.mark.parametrize("point", ["before", "after"])
def test_closing_the_emulator_ends_what_hangs(
    emulator: Emulator, pool: ThreadPoolExecutor, point: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fault = emulator.control.fault("hang", "list_shards", point=point)
    url = f"{emulator.endpoint}/logstores/{LOGSTORE}/shards"
    hanging = pool.submit(requests.get, url, headers=_signed(emulator), timeout=60)
    emulator.control.wait_for("fault", fault=fault)
    emulator.close()
    assert isinstance(hanging.exception(60), requests.ConnectionError)
    assert capsys.readouterr().err == ""
    with pytest.raises(ControlError, match="the emulator is closed"):
        emulator.control.state()


def test_a_connection_is_cut_before_or_after_the_operation(control: Control, emulator: Emulator) -> None:
    with requests.Session() as session:
        for point in ("before", "after"):
            control.fault("cut", "list_shards", point=point, count=1)
            with pytest.raises(requests.ConnectionError):
                session.get(f"{emulator.endpoint}/logstores/{LOGSTORE}/shards", headers=_signed(emulator), timeout=60)
        answer = session.get(f"{emulator.endpoint}/logstores/{LOGSTORE}/shards", headers=_signed(emulator), timeout=60)
        assert len(answer.json()) == 4


def test_a_write_whose_answer_is_lost_is_stored_all_the_same(control: Control, client: LogClient) -> None:
    """The SDK repeats a connection that it could not open, but not one that broke: its caller has to."""
    control.fault("cut", "put_logs", point="after", count=1)
    request = PutLogsRequest(PROJECT, LOGSTORE, "", "", [LogItem(1, [("a", "b")])])
    assert _outcome(lambda: client.put_logs(request)) == "LogRequestError"
    client.put_logs(request)
    assert len(control.events("put")) == 2


def test_a_connection_is_cut_in_the_middle_of_a_response(control: Control, emulator: Emulator) -> None:
    control.fault("cut", "list_shards", response_bytes=250, count=1)
    with pytest.raises(requests.RequestException):
        requests.get(f"{emulator.endpoint}/logstores/{LOGSTORE}/shards", headers=_signed(emulator), timeout=60)


def _signed(emulator: Emulator) -> dict[str, str]:
    client = LogClient(emulator.endpoint, emulator.key.access_key_id, emulator.key.secret, source="s")
    headers = {"Host": f"{PROJECT}.x"}
    client._auth.sign_request("GET", f"/logstores/{LOGSTORE}/shards", {}, headers, b"")
    return headers


def test_a_slow_network_and_a_delay(control: Control, client: LogClient) -> None:
    """The clock is only asked for what must have passed, never for what may."""
    rows = [{"v": "x" * 5_000}]
    control.put(PROJECT, LOGSTORE, rows, shard=0)
    control.fault("slow", "pull_logs", bytes_per_second=20_000, count=1)
    started = time.monotonic()
    cursor = client.get_begin_cursor(PROJECT, LOGSTORE, 0).get_cursor()
    assert client.pull_logs(PROJECT, LOGSTORE, 0, cursor, compress=False).get_loggroup_count() == 1
    assert time.monotonic() - started >= 0.2
    control.fault("delay", "list_shards", seconds=0.2, count=1)
    started = time.monotonic()
    assert client.list_shards(PROJECT, LOGSTORE).count == 4
    assert time.monotonic() - started >= 0.2


# --- events ----------------------------------------------------------------------------------------------------------


def test_events_are_in_order_and_can_be_filtered(control: Control, client: LogClient) -> None:
    start = control.last_event()
    client.create_consumer_group(*PLACE, 60)
    client.heart_beat(*PLACE, "a", [])
    control.put(PROJECT, LOGSTORE, [{"a": "b"}] * 3, shard=2, rows_per_group=2)
    _pull(client, 2)
    kinds = [event["kind"] for event in control.events(after=start)]
    joined = ["group_created", "consumer_joined", *["assigned"] * 4, "heartbeat"]
    assert kinds == [*joined, "put", "pull"]
    (heartbeat,) = control.events("heartbeat")
    assert (heartbeat["consumer"], heartbeat["held"], heartbeat["assigned"]) == ("a", [], [0, 1, 2, 3])
    (put,) = control.events("put", shard=2)
    assert (put["first"], put["groups"], put["logs"]) == (0, 2, 3)
    (pull,) = control.events("pull", after=start, shard=2)
    assert (pull["first"], pull["groups"]) == (0, 2)
    assert [event["shard"] for event in control.events("assigned", consumer="a")] == [0, 1, 2, 3]
    assert control.events("assigned", consumer="b") == []
    assert control.events("assigned", colour="red") == []


def test_waiting_for_what_comes_later(control: Control, client: LogClient) -> None:
    timer = threading.Timer(0.05, lambda: _pull(client, 3))
    timer.start()
    assert control.wait_for("pull", shard=3)[0]["groups"] == 0
    timer.join()
    start = control.last_event()
    timer = threading.Timer(0.05, lambda: [_pull(client, 3) for _ in range(3)])
    timer.start()
    assert len(control.wait_for("pull", count=3, after=start)) == 3
    assert control.wait_until(lambda event: event["kind"] == "pull" and event["shard"] == 3)["first"] == 0
    timer.join()


def test_waiting_in_vain_says_what_happened_instead(control: Control, client: LogClient) -> None:
    _pull(client, 1)
    with pytest.raises(EventTimeout, match=r"(?s)waited 0\.1 s for 2 events pull.*found 1.*'shard': 1"):
        control.wait_for("pull", count=2, timeout=0.1)
    with pytest.raises(EventTimeout):
        control.wait_until(lambda event: event["kind"] == "never", timeout=0.1)
    client.create_consumer_group(*PLACE, 60)
    with pytest.raises(EventTimeout, match="rows_behind"):
        control.wait_for_state(*PLACE, lambda state: False, timeout=0.1)


def test_the_log_of_events_is_bounded(sls_emulator_factory: Callable[..., Emulator]) -> None:
    emulator = sls_emulator_factory(max_events=5)
    for n in range(10):
        emulator.control.create(f"project-{n}", LOGSTORE)
    events = emulator.control.events()
    assert [event["number"] for event in events] == [16, 17, 18, 19, 20]


# --- interventions ---------------------------------------------------------------------------------------------------


def test_rows_are_written_quickly_and_to_where_they_are_wanted(control: Control, client: LogClient) -> None:
    placed = control.put(
        PROJECT, LOGSTORE, [{"n": n, "__time__": 7} for n in range(5)], shard=2, rows_per_group=2, topic="t", source="s"
    )
    assert placed == [[2, 0], [2, 1], [2, 2]]
    cursor = client.get_begin_cursor(PROJECT, LOGSTORE, 2).get_cursor()
    logs = client.pull_logs(PROJECT, LOGSTORE, 2, cursor).get_flatten_logs_json()
    assert [(log["n"], log["__time__"], log["__topic__"], log["__source__"]) for log in logs] == [
        (str(n), 7, "t", "s") for n in range(5)
    ]
    spread = control.put(PROJECT, LOGSTORE, [{"n": n} for n in range(4)], rows_per_group=1)
    assert sorted(shard for shard, _ in spread) == [0, 1, 2, 3]


def test_splitting_merging_and_expiry(control: Control, client: LogClient) -> None:
    assert control.split(PROJECT, LOGSTORE, 0) == [4, 5]
    assert control.merge(PROJECT, LOGSTORE, 1) == 6
    control.put(PROJECT, LOGSTORE, [{"n": n} for n in range(4)], shard=6, rows_per_group=1)
    assert control.trim(PROJECT, LOGSTORE, 6, keep=1) == 3
    assert control.trim(PROJECT, LOGSTORE, 6, keep=2) == 0, "what expired does not come back"
    shard = control.state()[PROJECT][LOGSTORE]["shards"][6]
    assert (shard["first"], shard["groups"], shard["rows"], shard["parents"]) == (3, 4, 4, [1, 2])
    assert _pull(client, 6) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda control: control.put(PROJECT, "none", [{}]), "LogStoreNotExist"),
        (lambda control: control.trim(PROJECT, LOGSTORE, 9), "ShardNotExist"),
        (lambda control: control.evict(*PLACE, "a"), "ConsumerGroupNotExist"),
        (lambda control: control.create(PROJECT, LOGSTORE), "LogStoreAlreadyExist"),
    ],
)
def test_interventions_that_are_refused(control: Control, call: Callable[[Control], object], message: str) -> None:
    with pytest.raises(ControlError, match=message):
        call(control)
