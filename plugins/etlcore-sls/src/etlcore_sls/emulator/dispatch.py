"""From a received request to a reply: which project, which operation, which faults, who signed it."""

from __future__ import annotations

import ipaddress
import sys
import traceback
from contextlib import nullcontext
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

# Imported for what they register.
from etlcore_sls.emulator import api_groups, api_logs, api_processors, api_query, api_stores  # noqa: F401
from etlcore_sls.emulator.actions import perform
from etlcore_sls.emulator.authentication import authenticate
from etlcore_sls.emulator.calls import Call, Reply, Route, error_reply, find_route, json_reply
from etlcore_sls.emulator.control import CONTROL_PATH
from etlcore_sls.emulator.errors import ApiError
from etlcore_sls.emulator.faults import AFTER, BEFORE, CUT, SLOW, ConnectionCut, Fault
from etlcore_sls.emulator.service import Service, request_id
from etlcore_sls.wire.signature import SignedRequest

_SERVICE_DOMAIN = "log.aliyuncs.com"  # one label before it is a region, two are a project and a region


def project_of(host: str) -> str:
    """The project in a Host: its first label, unless the host is an address, a single name, or an endpoint's own.

    ``demo.cn-hangzhou.log.aliyuncs.com`` and ``demo.127.0.0.1:8080`` name the project ``demo``; ``127.0.0.1``,
    ``localhost`` and ``cn-hangzhou.log.aliyuncs.com`` name none.
    """
    name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        label, dot, rest = name.partition(".")
        return label if dot and rest != _SERVICE_DOMAIN else ""
    return ""


def read_request(method: str, target: str, headers: dict[str, str]) -> SignedRequest:
    """A request from its first line and headers. The target may be a whole URL, as forward proxies get it.

    Raises ApiError when it is no URL.
    """
    try:
        parts = urlsplit(target)
    except ValueError as error:
        raise ApiError(400, "InvalidURI", f"{target} is not a URL: {error}") from None
    raw_path = parts.path or "/"
    if parts.netloc and "host" not in headers:
        headers["host"] = parts.netloc
    params = dict(parse_qsl(parts.query, keep_blank_values=True))
    return SignedRequest(method, unquote(raw_path), raw_path, params, headers)


def handle(service: Service, request: SignedRequest, body: bytes, client: str) -> Reply:
    """Answer one request. Raises ConnectionCut when a fault wants the connection closed instead."""
    try:
        if request.path.startswith(CONTROL_PATH):
            return _control(service, request, body, client)
        reply = _operate(service, request, body, client)
    except ApiError as error:
        service.events.add("refused", method=request.method, path=request.path, status=error.status, code=error.code)
        reply = error_reply(error)
    except ConnectionCut:
        raise
    except Exception:  # noqa: BLE001 - a server answers 500 and lives on
        traceback.print_exc(file=sys.stderr)
        reply = error_reply(ApiError(500, "InternalServerError", "the emulator failed; its output says where"))
    reply.headers["x-log-requestid"] = request_id()
    return reply


def _operate(service: Service, request: SignedRequest, body: bytes, client: str) -> Reply:
    route, names = find_route(request.method, request.path, request.params)
    call = Call(service, request, body, project_of(request.headers.get("host", "")), client, names)
    hit = service.faults.take(route.name, _facts(call))
    for fault in hit:
        service.events.add("fault", operation=route.name, fault=fault.number, action=fault.action)
    _perform(service, hit, BEFORE)
    authenticate(request, body, service.keys, service.now(), service.settings.max_clock_skew)
    reply = _run(service, route, call)
    _perform(service, hit, AFTER)
    for fault in hit:
        if fault.action == SLOW:
            reply.bytes_per_second = fault.bytes_per_second
        elif fault.action == CUT:
            reply.response_bytes = fault.response_bytes
    return reply


def _control(service: Service, request: SignedRequest, body: bytes, client: str) -> Reply:
    """An action of the test interface: for programs on this machine, not for web pages that it happens to show."""
    host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
    if not _is_loopback(client) or not _is_loopback(host) or "origin" in request.headers:
        raise ApiError(403, "Unauthorized", f"{CONTROL_PATH} answers only programs on this machine")
    if request.method == "GET":
        numbers = {name: int(value) for name, value in request.params.items() if value.isdecimal()}
        parameters: dict[str, Any] = {**request.params, **numbers}
    else:
        parameters = Call(service, request, body or b"{}", "", client).json()
    return json_reply({"result": perform(service, request.path.removeprefix(CONTROL_PATH), parameters)})


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _run(service: Service, route: Route, call: Call) -> Reply:
    with service.locked() if route.locked else nullcontext():
        return route.operation(call)


def _perform(service: Service, faults: list[Fault], point: str) -> None:
    for fault in faults:
        if fault.point == point:
            service.faults.perform(fault)


def _facts(call: Call) -> dict[str, Any]:
    facts: dict[str, Any] = {"project": call.project, **call.names}
    if "consumer" in call.params:
        facts["consumer"] = call.params["consumer"]
    if "shard" in call.params:
        facts["shard"] = call.params["shard"]
    return facts
