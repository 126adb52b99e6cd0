"""Both signatures as the SDK makes them, and every way in which a request can fail to prove who sent it."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from aliyun.log import LogClient, LogException, LogItem, PutLogsRequest
from etlcore_sls.emulator import AccessKey, Emulator
from etlcore_sls.pytest_plugin import EmulatorFactory

PROJECT, LOGSTORE = "shop", "access"
ClientFactory = Callable[..., LogClient]


def _refusal(call: Callable[[], object]) -> LogException:
    with pytest.raises(LogException) as caught:
        call()
    return caught.value


@pytest.mark.parametrize("version", ["v1", "v4"])
def test_every_kind_of_request_is_signed_right(make_client: ClientFactory, version: str) -> None:
    client = make_client(version=version)
    assert [one["projectName"] for one in client.list_project().get_projects()] == [PROJECT]  # has an empty parameter
    client.create_logstore(PROJECT, "other", shard_count=1)  # a body with a content type
    request = PutLogsRequest(PROJECT, "other", "", "", [LogItem(1, contents=[("a", "ü")])])
    client.put_logs(request)  # a binary body
    cursor = client.get_begin_cursor(PROJECT, "other", 0).get_cursor()
    pulled = client.pull_logs(PROJECT, "other", 0, cursor, query="* | where a = 'ü'")  # what has to be percent-encoded
    assert [log["a"] for log in pulled.get_flatten_logs_json()] == ["ü"]
    assert client.get_cursor_time(PROJECT, "other", 0, cursor + "\n").get_cursor_time() > 0
    client.create_consumer_group(PROJECT, "other", "g", 30)
    client.update_check_point(PROJECT, "other", "g", 0, cursor, "c", force_success=True)
    client.delete_logstore(PROJECT, "other")


@pytest.mark.parametrize("version", ["v1", "v4"])
def test_an_unknown_key(make_client: ClientFactory, version: str) -> None:
    client = make_client(AccessKey("nobody", "secret"), version)
    error = _refusal(lambda: client.list_logstore(PROJECT))
    assert (error.get_resp_status(), error.get_error_code()) == (401, "Unauthorized")
    assert error.get_error_message() == "AccessKeyId not found: nobody"


@pytest.mark.parametrize("version", ["v1", "v4"])
def test_a_wrong_secret(emulator: Emulator, make_client: ClientFactory, version: str) -> None:
    client = make_client(AccessKey(emulator.key.access_key_id, "wrong"), version)
    error = _refusal(lambda: client.list_logstore(PROJECT))
    assert (error.get_resp_status(), error.get_error_code()) == (401, "SignatureNotMatch")


@pytest.mark.parametrize("version", ["v1", "v4"])
@pytest.mark.parametrize("sooner_or_later", [-901, 901])
def test_a_request_that_is_too_old_or_from_the_future(
    emulator: Emulator, make_client: ClientFactory, version: str, sooner_or_later: int
) -> None:
    client = make_client(version=version)
    emulator.control.advance_clock(sooner_or_later)
    error = _refusal(lambda: client.list_logstore(PROJECT))
    assert (error.get_resp_status(), error.get_error_code()) == (400, "RequestTimeExpired")
    emulator.control.advance_clock(-sooner_or_later)
    client.list_logstore(PROJECT)


@pytest.mark.parametrize("version", ["v1", "v4"])
def test_temporary_keys(sls_emulator_factory: EmulatorFactory, make_client: ClientFactory, version: str) -> None:
    temporary = AccessKey("STS.id", "secret", "the-token", expires=time.time() + 600)
    emulator = sls_emulator_factory(keys=(temporary,))

    def list_as(token: str) -> object:
        key = AccessKey(temporary.access_key_id, temporary.secret, token)
        return make_client(key, version, emulator).list_project()

    list_as("the-token")
    assert _refusal(lambda: list_as("another")).get_error_code() == "SecurityTokenInvalid"
    assert _refusal(lambda: list_as("")).get_error_code() == "SecurityTokenInvalid"
    emulator.control.advance_clock(601)
    assert _refusal(lambda: list_as("the-token")).get_error_code() == "SecurityTokenExpired"


def test_keys_can_be_exchanged_while_running(emulator: Emulator, make_client: ClientFactory) -> None:
    old, new = make_client(), make_client(AccessKey("new", "secret"))
    emulator.control.set_keys([{"access_key_id": "new", "secret": "secret"}])
    new.list_logstore(PROJECT)
    assert _refusal(lambda: old.list_logstore(PROJECT)).get_error_code() == "Unauthorized"


def _send(emulator: Emulator, method: str, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=60)
    connection.request(method, url, body, headers)
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response.status, json.loads(text) if text else None


def _signed_creation(emulator: Emulator, make_client: ClientFactory, version: str) -> tuple[bytes, dict[str, str]]:
    body = json.dumps({"consumerGroup": "g", "timeout": 30, "order": False}).encode()
    headers = {"Host": f"{PROJECT}.localhost", "Content-Type": "application/json", "x-log-bodyrawsize": str(len(body))}
    path = f"/logstores/{LOGSTORE}/consumergroups"
    make_client(version=version)._auth.sign_request("POST", path, {"a": "1"}, headers, body)
    return body, headers


@pytest.mark.parametrize("version", ["v1", "v4"])
@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ("nothing", 200, None),
        ("body", (400, 401), ("InvalidContentMD5", "SignatureNotMatch")),
        ("path", 401, ("SignatureNotMatch",)),
        ("parameter", 401, ("SignatureNotMatch",)),
        ("method", 401, ("SignatureNotMatch",)),
        ("signed header", 401, ("SignatureNotMatch",)),
        ("no authorization", 401, ("Unauthorized",)),
        ("half an authorization", 401, ("Unauthorized",)),
        ("another scheme", 401, ("Unauthorized",)),
        ("no date", 400, ("MissingDate",)),
        ("a date of its own", 400, ("InvalidRequestTime",)),
    ],
)
def test_nothing_that_was_signed_can_be_changed(
    emulator: Emulator, make_client: ClientFactory, version: str, change: str, status: Any, code: Any
) -> None:
    body, headers = _signed_creation(emulator, make_client, version)
    method, path, query = "POST", f"/logstores/{LOGSTORE}/consumergroups", "a=1"
    if change == "body":
        body = body.replace(b"30", b"31")
    elif change == "path":
        path = "/logstores/others/consumergroups"
    elif change == "parameter":
        query = "a=2"
    elif change == "method":
        method, path = "PUT", f"/logstores/{LOGSTORE}"
    elif change == "signed header":
        headers["x-log-bodyrawsize"] = "0"
    elif change == "no authorization":
        del headers["Authorization"]
    elif change == "half an authorization":
        headers["Authorization"] = headers["Authorization"].split(" ")[0] + " Credential=a"
    elif change == "another scheme":
        headers["Authorization"] = "Basic YTpi"
    elif change == "no date":
        headers.pop("x-log-date", None)
        headers.pop("Date", None)
    elif change == "a date of its own":
        headers["Date" if version == "v1" else "x-log-date"] = "yesterday"
    got, document = _send(emulator, method, f"{path}?{query}", body, headers)
    if code is None:
        assert (got, document) == (status, None)
    else:
        assert got in (status if isinstance(status, tuple) else (status,))
        assert document["errorCode"] in code


def test_the_host_is_part_of_signature_v4(emulator: Emulator, make_client: ClientFactory) -> None:
    body, headers = _signed_creation(emulator, make_client, "v4")
    headers["Host"] = f"{PROJECT}.another"
    status, document = _send(emulator, "POST", f"/logstores/{LOGSTORE}/consumergroups?a=1", body, headers)
    assert (status, document["errorCode"]) == (401, "SignatureNotMatch")


def test_a_client_that_signs_its_own_log_date_with_v1(emulator: Emulator, make_client: ClientFactory) -> None:
    """The Python SDK adds x-log-date after signing; what is sent with it signed is right too."""
    signed = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() - 5))
    headers = {"Host": f"{PROJECT}.localhost", "x-log-date": signed}
    make_client()._auth.sign_request("GET", "/logstores", {}, headers, b"")
    headers["x-log-date"] = signed
    status, document = _send(emulator, "GET", "/logstores", b"", headers)
    assert (status, document["logstores"]) == (200, [LOGSTORE])


def test_the_go_client_names_v1_otherwise_and_signs_the_path_as_it_is_encoded(
    emulator: Emulator, make_client: ClientFactory
) -> None:
    headers = {"Host": f"{PROJECT}.localhost"}
    path = f"/logstores/{LOGSTORE}%2Eold"
    make_client()._auth.sign_request("GET", path, {}, headers, b"")
    headers["Authorization"] = headers["Authorization"].replace("LOG ", "SLS ")
    del headers["x-log-date"]
    status, document = _send(emulator, "GET", path, b"", headers)
    assert (status, document["errorMessage"]) == (404, f"logstore {LOGSTORE}.old does not exist")


def test_the_go_client_lists_projects_without_parameters(emulator: Emulator, make_client: ClientFactory) -> None:
    headers = {"Host": "cn-emulator.log.aliyuncs.com"}
    make_client(version="v4")._auth.sign_request("GET", "/", {}, headers, b"")
    status, document = _send(emulator, "GET", "/", b"", headers)
    assert (status, document["count"]) == (200, 1)
