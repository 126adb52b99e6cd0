"""The SPL subset: what it selects, what it refuses, and what a pull with it looks like."""

from __future__ import annotations

import json

import pytest
from aliyun.log import LogClient, LogException
from etlcore_sls.emulator import Emulator
from etlcore_sls.emulator.spl import SplError, parse
from etlcore_sls.wire.cursor import decode_cursor

PROJECT, LOGSTORE = "shop", "access"
LOG = {
    "status": "404",
    "host": "api.example.com",
    "content-type": "text/html",
    "size": "90",
    "quote": "it's",
    "word": "x",
}


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("status = '404'", True),
        ("status = '200'", False),
        ("STATUS = '404'", False),
        ("status != '200'", True),
        ("status <> '404'", False),
        ("status >= '400' and status < '500'", True),
        ("size < '100'", False),
        ("cast(size as bigint) < 100", True),
        ("cast(size as double) <= 90.0", True),
        ("cast(host as bigint) > 1", False),
        ("not cast(host as bigint) > 1", False),
        ("size < 100", False),
        ("host like 'api.%'", True),
        ("host like '%.example.com'", True),
        ("host like 'api'", False),
        ("host like 'api_example%'", True),
        ("host not like 'api.%'", False),
        ("status in ('200', '404')", True),
        ("status not in ('200', '404')", False),
        ("missing is null", True),
        ("status is not null", True),
        ("missing = 'x'", False),
        ("not missing = 'x'", False),
        ("missing = 'x' or status = '404'", True),
        ("missing = 'x' and status = '404'", False),
        ("\"content-type\" = 'text/html'", True),
        ("quote = 'it''s'", True),
        ("status = '1' or status = '2' and status = '404' or word = 'x'", True),
        ("(status = '404' or word = 'y') and word = 'y'", False),
        ("NOT (status = '200') AND word LIKE 'x'", True),
        ("status = '404' | where word = 'y'", False),
        ("'a' = 'a'", True),
    ],
)
def test_conditions(condition: str, kept: bool) -> None:
    assert parse(f"* | where {condition}").keeps(LOG) is kept


def test_star_keeps_everything() -> None:
    query = parse(" * ")
    assert query.keeps({})
    assert query.project is None


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "column 1: expected '*', found the end"),
        ("status: 404", "column 7: ': 404' is not SPL"),
        ("error", "column 1: expected '*', found 'error'"),
        ("* and x", "column 3: expected '|' or the end, found 'and'"),
        ("* |", "column 4: expected 'where' or 'project', found the end"),
        ("* | extend a = 1", "column 5: expected 'where' or 'project', found 'extend'"),
        ("* | select count(*)", "column 5: expected 'where' or 'project', found 'select'"),
        ("* | where", "expected the name of a field, found the end"),
        ("* | where status", "expected a comparison, found the end"),
        ("* | where status =", "expected the name of a field, found the end"),
        ("* | where status like 5", "expected a text in single quotes, found '5'"),
        ("* | where (a = 'b'", "expected ')', found the end"),
        ("* | where a = 'b' c", "expected '|' or the end, found 'c'"),
        ("* | where a = 'b", "is not SPL"),
        ("* | where lower(a) = 'b'", "expected a comparison, found '('"),
        ("* | where cast(a as varchar) = 'b'", "expected 'bigint' or 'double', found 'varchar'"),
        ("* | where a not = 'b'", "expected a comparison"),
        ("* | project a | where a = 'b'", "'project' must come last"),
    ],
)
def test_what_is_not_known_is_refused_with_its_place(query: str, message: str) -> None:
    with pytest.raises(SplError) as caught:
        parse(query)
    assert message in str(caught.value)


@pytest.fixture
def filled(emulator: Emulator) -> Emulator:
    """Shard 0 holds five LogGroups of four logs; in all but the middle one, every other log has status 500."""
    for group in range(5):
        rows = [
            {"n": group * 4 + place, "status": 500 if place % 2 and group != 2 else 200, "other": "x"}
            for place in range(4)
        ]
        emulator.control.put(PROJECT, LOGSTORE, rows, shard=0, topic="t", tags={"host": f"web-{group}"})
    return emulator


@pytest.mark.usefixtures("filled")
def test_a_pull_with_a_query(client: LogClient) -> None:
    begin = client.get_begin_cursor(PROJECT, LOGSTORE, 0).get_cursor()
    page = client.pull_logs(PROJECT, LOGSTORE, 0, begin, count=4, query="* | where status = '500' | project n")
    assert [log["n"] for log in page.get_flatten_logs_json()] == ["1", "3", "5", "7", "13", "15"]
    assert {log["__tag__:host"] for log in page.get_flatten_logs_json()} == {"web-0", "web-1", "web-3"}
    assert all("other" not in log for log in page.get_flatten_logs_json())
    assert page.get_loggroup_count() == 3, "the group with nothing left is gone"
    assert decode_cursor(page.get_next_cursor()) == decode_cursor(begin) + 4, "and the cursor has passed it"
    assert page.get_raw_log_group_count_before_query() == 4
    assert page.get_raw_size_before_query() > page.get_raw_size()
    lines = {name: page.get_header(f"x-log-{name}") for name in ("rawdatalines", "resultlines", "failedlines")}
    assert lines == {"rawdatalines": "16", "resultlines": "6", "failedlines": "0"}


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("condition", "count"),
    [
        ("__topic__ = 't'", 20),
        ("\"__tag__:host\" = 'web-4'", 4),
        ("__source__ = ''", 20),
        ("cast(__time__ as bigint) < 1", 0),
    ],
)
def test_what_a_group_says_of_its_logs_can_be_asked_for(client: LogClient, condition: str, count: int) -> None:
    begin = client.get_begin_cursor(PROJECT, LOGSTORE, 0).get_cursor()
    page = client.pull_logs(PROJECT, LOGSTORE, 0, begin, query=f"* | where {condition}")
    assert page.get_log_count() == count


def test_a_query_that_is_not_emulated_is_refused(client: LogClient) -> None:
    begin = client.get_begin_cursor(PROJECT, LOGSTORE, 0).get_cursor()
    with pytest.raises(LogException) as caught:
        client.pull_logs(PROJECT, LOGSTORE, 0, begin, query="* | extend a = 1")
    assert (caught.value.get_resp_status(), caught.value.get_error_code()) == (400, "ParameterInvalid")
    assert "column 5" in caught.value.get_error_message()


def _send(client: LogClient, method: str, name: str, document: object = None) -> object:
    body = None if document is None else json.dumps(document).encode()
    headers = {"Content-Type": "application/json"}
    return client._send(method, PROJECT, body, "/consumeprocessors" + name, {}, headers)[0]


def _spl(text: str, kind: str = "SPL") -> dict[str, object]:
    return {"displayName": "errors", "configuration": {"type": kind, "spl": text}}


@pytest.mark.usefixtures("filled")
def test_a_named_processor(client: LogClient) -> None:
    _send(client, "PUT", "/errors", _spl("* | where status = '500'"))
    begin = client.get_begin_cursor(PROJECT, LOGSTORE, 0).get_cursor()
    assert client.pull_logs(PROJECT, LOGSTORE, 0, begin, processor="errors").get_log_count() == 8
    _send(client, "PUT", "/errors", _spl("* | where status = '200'"))
    assert client.pull_logs(PROJECT, LOGSTORE, 0, begin, processor="errors").get_log_count() == 12
    assert _send(client, "GET", "/errors")["configuration"]["spl"] == "* | where status = '200'"  # type: ignore[index]
    assert _send(client, "GET", "")["total"] == 1  # type: ignore[index]
    _send(client, "DELETE", "/errors")
    with pytest.raises(LogException) as caught:
        client.pull_logs(PROJECT, LOGSTORE, 0, begin, processor="errors")
    assert (caught.value.get_resp_status(), caught.value.get_error_code()) == (404, "ConsumeProcessorNotExist")


@pytest.mark.parametrize(
    "document", [_spl("* | extend a = 1"), _spl("*", "SQL"), {}, {"configuration": {"type": "SPL"}}]
)
def test_a_processor_that_is_not_emulated_is_refused_when_it_is_made(
    client: LogClient, document: dict[str, object]
) -> None:
    with pytest.raises(LogException) as caught:
        _send(client, "PUT", "/errors", document)
    assert caught.value.get_error_code() == "ParameterInvalid"
