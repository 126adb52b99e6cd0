"""Several clients for calls that are independent of each other, one for each shard: made side by side, not in turn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from etlcore_sls.client import SlsClient

T = TypeVar("T")
R = TypeVar("R")

_INLINE = 2  # so few calls are made in turn


class Clients:
    """Used by the worker alone; each of its threads has a client of its own."""

    def __init__(self, make_client: Callable[[], SlsClient], threads: int = 8) -> None:
        self._make_client = make_client
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._local = threading.local()
        self._all: list[SlsClient] = []

    def one(self, call: Callable[[SlsClient], R]) -> R:
        """``call(client)``."""
        return call(self._client())

    def map(self, call: Callable[[SlsClient, T], R], items: Sequence[T]) -> list[R]:
        """``[call(client, item) for item in items]``; raises what a call raised."""
        if len(items) <= _INLINE:
            return [call(self._client(), item) for item in items]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="sls-call")
        return list(self._pool.map(lambda item: call(self._client(), item), items))

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        for client in self._all:
            client.close()

    def _client(self) -> SlsClient:
        client: SlsClient | None = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = self._make_client()
            self._all.append(client)
        return client
