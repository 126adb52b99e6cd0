"""The official SDK's `LogClient`, as the source and the sink use it.

The SDK repeats a failed request ten times with a second in between and waits up to two minutes for each. That is its
caller's decision here: every request is made once, with a timeout of its own, and fails with `SlsError`.

A client is used by one thread at a time, as the HTTP session within it wants it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from aliyun.log.logexception import LogException
from aliyun.log.version import USER_AGENT

from etlcore_sls.connection import ConnectionConfig
from etlcore_sls.credentials import Provider
from etlcore_sls.endpoint import Endpoint
from etlcore_sls.errors import SlsError, SlsFailure, from_log_exception
from etlcore_sls.service_clock import ServiceClock

T = TypeVar("T")

_LogClient: Any = import_module("aliyun.log").LogClient  # its stubs leave out what is used below

_CONNECT_SECONDS = 10.0


class _OnceClient(_LogClient):  # type: ignore[misc]
    """`LogClient` without its retry loop, which only catches LogException."""

    service_clock: ServiceClock | None = None

    def _getHttpResponse(self, *args: Any, **kwargs: Any) -> Any:
        clock = self.service_clock
        if clock is None:
            return super()._getHttpResponse(*args, **kwargs)
        sent = clock.local()
        answer = super()._getHttpResponse(*args, **kwargs)
        clock.heard(answer[2].get("Date"), sent, clock.local())
        return answer

    def _sendRequest(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super()._sendRequest(*args, **kwargs)
        except LogException as error:
            raise from_log_exception(error) from error


class LogstoreClient:
    """One logstore. Methods raise `SlsError`; `SlsFailure` for unusable credentials."""

    def __init__(
        self,
        connection: ConnectionConfig,
        endpoint: Endpoint,
        provider: Provider,
        seconds: float | None = None,
        clock: ServiceClock | None = None,
    ) -> None:
        """``seconds`` is how long a request may take, where that is not the option ``request_seconds``.

        ``clock`` is told what the answers say of the time.
        """
        self._logstore = connection.project, connection.logstore
        limit = seconds or connection.request_seconds
        self._sdk: Any = _OnceClient(
            endpoint.url,
            source="",  # left out, the SDK looks the endpoint's address up to find its own
            auth_version=connection.signature,
            region=connection.region or endpoint.region or "",
            credentials_provider=provider,
        )
        self._sdk.service_clock = clock
        self._sdk.timeout = (min(_CONNECT_SECONDS, limit), limit)
        self._sdk.set_user_agent(f"etlcore-sls {USER_AGENT}")
        # The SDK recognises an address only where there is neither scheme nor port.
        self._sdk._isRowIp = endpoint.is_address
        if endpoint.is_loopback:
            self._sdk._session.trust_env = False
        elif connection.proxy is not None:
            self._sdk._session.trust_env = False  # the environment's proxies would be preferred
            self._sdk._session.proxies = {"http": connection.proxy, "https": connection.proxy}

    def close(self) -> None:
        self._sdk._session.close()

    def shards(self) -> list[int]:
        """The ids of the logstore's shards, in order."""
        answer = self._call(self._sdk.list_shards, *self._logstore)
        return sorted(int(shard["shardID"]) for shard in answer.get_shards_info())

    @staticmethod
    def _call(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        try:
            return function(*args, **kwargs)
        except (SlsError, SlsFailure):
            raise
        except LogException as error:
            raise from_log_exception(error) from error
        except Exception as error:
            # A header that is missing, a body that does not decompress: what the SDK did not expect either.
            raise SlsError("BadResponse", f"{type(error).__name__}: {error}", 0) from error
