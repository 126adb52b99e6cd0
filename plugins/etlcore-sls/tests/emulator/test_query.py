"""Reading logs by time, as the SDK and the command line do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from aliyun.log import GetHistogramsRequest, LogClient, LogException
from etlcore_sls.emulator import Emulator

PROJECT, LOGSTORE = "shop", "access"
START = 1_700_000_000


@pytest.fixture
def filled(emulator: Emulator) -> Emulator:
    """250 logs, one a second, spread over all shards, written newest first."""
    rows = [{"n": n, "__time__": START + n} for n in reversed(range(250))]
    emulator.control.put(PROJECT, LOGSTORE, rows, rows_per_group=7, topic="t", source="s", tags={"k": "v"})
    return emulator


def _numbers(client: LogClient, start: int, end: int, **options: object) -> list[int]:
    response = client.get_log(PROJECT, LOGSTORE, START + start, START + end, **options)
    return [int(log.get_contents()["n"]) for log in response.get_logs()]


@pytest.mark.usefixtures("filled")
def test_a_time_range_in_the_order_of_time(client: LogClient) -> None:
    assert _numbers(client, 10, 20) == list(range(10, 20))
    assert _numbers(client, 10, 20, reverse=True) == list(reversed(range(10, 20)))
    assert _numbers(client, 10, 20, offset=3, size=4, query="*") == [13, 14, 15, 16]
    assert _numbers(client, 1000, 2000) == []
    assert _numbers(client, 0, 250) == list(range(100)), "a page has at most a hundred lines"


@pytest.mark.usefixtures("filled")
def test_everything_page_by_page(client: LogClient) -> None:
    assert _numbers(client, 0, 250, size=-1) == list(range(250))
    pages = client.get_log_all(PROJECT, LOGSTORE, START, START + 250)
    assert sum(page.get_count() for page in pages) == 250


@pytest.mark.usefixtures("filled")
def test_a_log_says_where_it_is_from(client: LogClient) -> None:
    (log,) = client.get_log(PROJECT, LOGSTORE, START, START + 1).get_logs()
    assert (log.get_time(), log.get_source()) == (START, "s")
    assert log.get_contents() == {"n": "0", "__topic__": "t", "__tag__:k": "v"}


def test_what_is_written_later_is_found_too_and_what_expired_is_not(filled: Emulator, client: LogClient) -> None:
    assert len(_numbers(client, 0, 50)) == 50
    filled.control.put(PROJECT, LOGSTORE, [{"n": 999, "__time__": START}], shard=0)
    assert sorted(_numbers(client, 0, 2)) == [0, 1, 999]
    for shard in range(4):
        filled.control.trim(PROJECT, LOGSTORE, shard)
    assert _numbers(client, 0, 250) == []


@pytest.mark.usefixtures("filled")
def test_the_older_form_of_the_request(client: LogClient) -> None:
    client._get_logs_v2_enabled = False
    assert _numbers(client, 10, 20) == list(range(10, 20))
    assert _numbers(client, 10, 20, reverse=True) == list(reversed(range(10, 20)))


@pytest.mark.usefixtures("filled")
def test_how_many_there_are(client: LogClient) -> None:
    request = GetHistogramsRequest(PROJECT, LOGSTORE, START - 50, START + 1000, "", "*")
    response = client.get_histograms(request)
    assert response.is_completed()
    assert response.get_total_count() == 250
    buckets = response.get_histograms()
    assert (buckets[0].get_from(), buckets[-1].get_to()) == (START - 50, START + 1000)


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.get_log(PROJECT, LOGSTORE, 0, 1, query="status: 500"),
        lambda client: client.get_log(PROJECT, LOGSTORE, 0, 1, query="* | select count(*)"),
        lambda client: client.get_log(PROJECT, LOGSTORE, 0, 1, topic="t"),
        lambda client: client.get_histograms(GetHistogramsRequest(PROJECT, LOGSTORE, 5, 5, "", "*")),
    ],
)
def test_what_is_not_emulated_is_refused(client: LogClient, call: Callable[[LogClient], object]) -> None:
    with pytest.raises(LogException) as caught:
        call(client)
    assert (caught.value.get_resp_status(), caught.value.get_error_code()) == (400, "ParameterInvalid")


def test_operations_are_known_whichever_module_was_imported_first() -> None:
    code = """
import etlcore_sls.emulator.api_stores
from etlcore_sls.emulator import dispatch
from etlcore_sls.emulator.calls import find_route
for params in ({"type": "log"}, {"type": "histogram"}, {}):
    print(find_route("GET", "/logstores/access", params)[0].name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["get_logs", "get_histograms", "get_logstore"]
