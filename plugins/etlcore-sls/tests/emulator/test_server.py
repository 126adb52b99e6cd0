"""How clients reach the emulator: hosts, proxies, connections, and what is no request of the service."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

import pytest
import requests
from aliyun.log import LogClient
from etlcore_sls.emulator import Emulator, Settings
from etlcore_sls.emulator.dispatch import project_of
from etlcore_sls.emulator.shards import Shard
from etlcore_sls.pytest_plugin import EmulatorFactory

PROJECT, LOGSTORE = "shop", "access"


@pytest.mark.parametrize(
    ("host", "project"),
    [
        ("shop.cn-hangzhou.log.aliyuncs.com", "shop"),
        ("shop.cn-hangzhou.log.aliyuncs.com:8080", "shop"),
        ("cn-hangzhou.log.aliyuncs.com", ""),
        ("shop.127.0.0.1", "shop"),
        ("shop.127.0.0.1:8080", "shop"),
        ("shop.localhost:8080", "shop"),
        ("127.0.0.1", ""),
        ("127.0.0.1:8080", ""),
        ("[::1]:8080", ""),
        ("localhost", ""),
        ("", ""),
    ],
)
def test_the_project_is_the_first_label_of_the_host(host: str, project: str) -> None:
    assert project_of(host) == project


def test_by_address_with_the_project_in_the_host(client: LogClient) -> None:
    assert client.list_logstore(PROJECT).get_body()["logstores"] == [LOGSTORE]


def _direct_to(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every name lead to the emulator, as /etc/hosts or a name server would."""
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        return real("127.0.0.1", emulator.port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.mark.parametrize("endpoint", ["http://cn-emu.log.aliyuncs.com", "cn-emu.log.aliyuncs.com", "127.0.0.1"])
@pytest.mark.parametrize("version", ["v1", "v4"])
def test_by_name_and_by_bare_address(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, endpoint: str, version: str
) -> None:
    """Nothing of the client is touched: a bare address it uses as it is (on port 80), a name with the project ahead."""
    _direct_to(emulator, monkeypatch)
    key = emulator.key
    client = LogClient(endpoint, key.access_key_id, key.secret, source="s", auth_version=version, region="cn")
    assert client.list_logstore(PROJECT).get_body()["logstores"] == [LOGSTORE]
    assert client.list_project().get_count() == 1


@pytest.mark.parametrize("version", ["v1", "v4"])
def test_as_a_forward_proxy(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setenv("http_proxy", emulator.endpoint)
    monkeypatch.delenv("no_proxy", raising=False)
    key = emulator.key
    endpoint = "http://cn-emu.log.aliyuncs.com"
    client = LogClient(endpoint, key.access_key_id, key.secret, source="s", auth_version=version, region="cn")
    assert client.list_logstore(PROJECT).get_body()["logstores"] == [LOGSTORE]
    assert client.list_project().get_count() == 1


def test_on_an_ipv6_address(sls_emulator_factory: EmulatorFactory) -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
    emulator = sls_emulator_factory(host="::1")
    assert emulator.endpoint == f"http://[::1]:{emulator.port}"
    assert requests.get(f"{emulator.endpoint}/_emulator/faults", timeout=60).json() == {"result": []}


def test_a_proxy_for_https_says_that_it_is_none(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=60)
    connection.set_tunnel("shop.cn-emu.log.aliyuncs.com", 443)
    with pytest.raises(OSError, match="501"):
        connection.connect()


# --- connections -----------------------------------------------------------------------------------------------------


def _exchange(emulator: Emulator, data: bytes) -> bytes:
    """Send bytes and read all that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", emulator.port), timeout=60) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def test_many_requests_on_one_connection(emulator: Emulator) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=60)
    for _ in range(5):
        connection.request("GET", "/", headers={"Host": "shop.localhost"})
        response = connection.getresponse()
        assert response.status == 401
        assert json.loads(response.read())["errorCode"] == "Unauthorized"
    assert connection.sock is not None, "it was kept open"
    connection.close()


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"GET /nothing/here HTTP/1.1\r\nHost: shop.x\r\n\r\n", b"404", b"InvalidURI"),
        (b"GET http://[oops/ HTTP/1.1\r\nHost: shop.x\r\n\r\n", b"400", b"InvalidURI"),
        (b"PUT /logstores/a/shards HTTP/1.1\r\nHost: shop.x\r\n\r\n", b"405", b"MethodNotSupported"),
        (
            b"POST /logstores/a/shards/lb HTTP/1.1\r\nHost: a.x\r\nContent-Length: x\r\n\r\n",
            b"400",
            b"ParameterInvalid",
        ),
        (b"POST / HTTP/1.1\r\nHost: a.x\r\nContent-Length: 999999999\r\n\r\n", b"400", b"PostBodyTooLarge"),
        (b"POST / HTTP/1.1\r\nHost: a.x\r\nContent-Length: 10\r\n\r\nabc", b"400", b"PostBodyInvalid"),
        (
            b"POST / HTTP/1.1\r\nHost: a.x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"411",
            b"MissingContentLength",
        ),
    ],
)
def test_what_is_no_request(emulator: Emulator, data: bytes, status: bytes, code: bytes) -> None:
    answer = _exchange(emulator, data)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert code in answer


def test_a_failure_within_is_a_500_and_the_server_lives_on(
    emulator: Emulator, client: LogClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    headers = {"Host": f"{PROJECT}.x"}
    client._auth.sign_request("GET", f"/logstores/{LOGSTORE}/shards", {}, headers, b"")
    with monkeypatch.context() as patch:
        patch.setattr(Shard, "describe", None)
        answer = requests.get(f"{emulator.endpoint}/logstores/{LOGSTORE}/shards", headers=headers, timeout=60)
    assert (answer.status_code, answer.json()["errorCode"]) == (500, "InternalServerError")
    assert "Traceback" in capsys.readouterr().err
    assert client.list_shards(PROJECT, LOGSTORE).count == 4


def test_closing_ends_idle_connections_and_frees_the_port(emulator: Emulator) -> None:
    idle = socket.create_connection(("127.0.0.1", emulator.port), timeout=60)
    idle.sendall(b"GET / HTTP/1.1\r\nHost: shop.x\r\n\r\n")
    assert idle.recv(65536)
    port = emulator.port
    emulator.close()
    emulator.close()
    assert idle.recv(65536) == b""
    idle.close()
    with Emulator(Settings(port=port)) as again:
        assert again.port == port


def test_a_port_that_is_taken(emulator: Emulator) -> None:
    with pytest.raises(OSError, match="in use"):
        Emulator(Settings(port=emulator.port))


# --- the test interface is for programs on this machine --------------------------------------------------------------


def _control(emulator: Emulator, headers: dict[str, str], action: str = "state") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=60)
    connection.request("GET", f"/_emulator/{action}", headers=headers)
    response = connection.getresponse()
    document = json.loads(response.read())
    connection.close()
    return response.status, document


def test_state_events_and_faults_can_be_looked_at_with_any_http_client(emulator: Emulator) -> None:
    status, document = _control(emulator, {})
    assert status == 200
    assert len(document["result"][PROJECT][LOGSTORE]["shards"]) == 4
    assert _control(emulator, {}, "events?kind=logstore_created&after=1")[1]["result"][0]["logstore"] == LOGSTORE
    assert _control(emulator, {}, "faults") == (200, {"result": []})


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Host": f"evil.example:{80}"}]
)
def test_a_web_page_cannot_use_it(emulator: Emulator, headers: dict[str, str]) -> None:
    status, document = _control(emulator, headers)
    assert (status, document["errorCode"]) == (403, "Unauthorized")


@pytest.mark.parametrize(("action", "message"), [("explode", "must be one of"), ("state?x=1", "unexpected keyword")])
def test_an_unknown_action_or_parameter(emulator: Emulator, action: str, message: str) -> None:
    status, document = _control(emulator, {}, action)
    assert status == 400
    assert message in document["errorMessage"]
