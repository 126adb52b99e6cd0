"""Requests, replies and the table of operations that a request is matched against."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from etlcore_sls.emulator.errors import ApiError, parameter_invalid
from etlcore_sls.emulator.service import Service
from etlcore_sls.wire.compression import COMPRESSIONS, compress
from etlcore_sls.wire.signature import SignedRequest


@dataclass(slots=True)
class Call:
    """One request on its way to an operation. ``names`` are the parts of its path, ``project`` comes from its Host."""

    service: Service
    request: SignedRequest
    body: bytes
    project: str
    client: str
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def params(self) -> Mapping[str, str]:
        return self.request.params

    @property
    def headers(self) -> Mapping[str, str]:
        return self.request.headers

    def number(self, name: str, default: int | None = None) -> int:
        """A whole number among the query parameters. Raises ParameterInvalid."""
        text = self.params.get(name, "")
        if not text and default is not None:
            return default
        try:
            return int(text)
        except ValueError:
            raise parameter_invalid(f"parameter {name} must be a whole number, not {text!r}") from None

    def flag(self, name: str) -> bool:
        """A boolean among the query parameters: absent is false; Python sends ``True``, others ``true``."""
        return self.params.get(name, "false").lower() == "true"

    def json(self) -> dict[str, Any]:
        """The body as a JSON object. Raises PostBodyInvalid."""
        document = self._document()
        if not isinstance(document, dict):
            raise ApiError(400, "PostBodyInvalid", "the body must be a JSON object")
        return document

    def json_list(self) -> list[Any]:
        """The body as a JSON array; an empty body is an empty one. Raises PostBodyInvalid."""
        document = self._document() if self.body else []
        if not isinstance(document, list):
            raise ApiError(400, "PostBodyInvalid", "the body must be a JSON array")
        return document

    def _document(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise ApiError(400, "PostBodyInvalid", f"the body is not JSON: {error}") from None

    def field(self, document: Mapping[str, Any], name: str, kind: type, default: Any = None) -> Any:
        """A field of a JSON body. Raises ParameterInvalid when it is missing or of another type."""
        value = document.get(name, default)
        if value is None or not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise parameter_invalid(f"field {name} must be given and be of type {kind.__name__}")
        return value


@dataclass(slots=True)
class Reply:
    """What goes back. ``bytes_per_second`` and ``response_bytes`` are faults that only the sender can act out."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    bytes_per_second: int = 0
    response_bytes: int | None = None


def json_reply(document: Any, status: int = 200) -> Reply:
    return Reply(json.dumps(document, separators=(",", ":")).encode(), status)


def compressed_reply(call: Call, body: bytes, headers: dict[str, str], content_type: str) -> Reply:
    """A reply in the first compression of ``Accept-Encoding`` that SLS knows; plain when there is none."""
    headers["x-log-bodyrawsize"] = str(len(body))
    for kind in (part.split(";")[0].strip().lower() for part in call.headers.get("accept-encoding", "").split(",")):
        if kind in COMPRESSIONS:
            headers["x-log-compresstype"] = kind
            body = compress(body, kind) if body else b""
            break
    return Reply(body, headers=headers, content_type=content_type)


def error_reply(error: ApiError) -> Reply:
    return json_reply({"errorCode": error.code, "errorMessage": error.message}, error.status)


Operation = Callable[[Call], Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation: its name, and the method, path and ``type`` parameter by which it is known."""

    name: str
    method: str
    path: re.Pattern[str]
    types: tuple[str, ...]
    has_any: tuple[str, ...]
    locked: bool
    operation: Operation


ROUTES: list[Route] = []


def route(
    name: str,
    method: str,
    path: str,
    *,
    types: tuple[str, ...] = (),
    has_any: tuple[str, ...] = (),
    locked: bool = True,
) -> Callable[[Operation], Operation]:
    """Register an operation.

    ``{name}`` in the path is one segment; ``types`` are values of the parameter ``type``; ``has_any`` names parameters
    of which one must be there. An operation runs under the service's lock, unless it says that it takes it itself.
    """
    pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path) + "/?")

    def register(operation: Operation) -> Operation:
        ROUTES.append(Route(name, method, pattern, types, has_any, locked, operation))
        # Whichever module was imported first: what is known by its parameters comes before what takes any.
        ROUTES.sort(key=lambda known: (not (known.types or known.has_any), known.path.groups))
        return operation

    return register


def find_route(method: str, path: str, params: Mapping[str, str]) -> tuple[Route, dict[str, str]]:
    """The operation for a request, and the names in its path. Raises ApiError (404 or 405)."""
    known = False
    for candidate in ROUTES:
        match = candidate.path.fullmatch(path)
        if match is None:
            continue
        known = True
        if candidate.method != method:
            continue
        if candidate.types and params.get("type") not in candidate.types:
            continue
        if candidate.has_any and not any(name in params for name in candidate.has_any):
            continue
        return candidate, match.groupdict()
    if known:
        raise ApiError(405, "MethodNotSupported", f"{method} {path} with these parameters is not an operation")
    raise ApiError(404, "InvalidURI", f"{path} is not a path of this service, or one that is not emulated")
