"""Heartbeats: a thread that keeps this consumer in its group, and learns which shards are its own.

It has a client of its own, so that nothing else can hold it up, and lives until the last commit is made: only a
consumer that is heard of may move a checkpoint.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from etlcore_sls.credentials import Provider, expire
from etlcore_sls.errors import SlsError, SlsFailure
from etlcore_sls.holdings import Holdings

if TYPE_CHECKING:
    from etlcore_sls.client import Group, SlsClient

_RETRY_SECONDS = 0.5
_REFUSALS = 5  # in a row, before credentials count as wrong for good


class Heartbeats:
    def __init__(
        self,
        client: SlsClient,
        consumer: str,
        group: Group,
        interval: float,
        holdings: Holdings,
        provider: Provider,
        log: logging.Logger,
        told: Callable[[], None],
    ) -> None:
        """``interval`` in seconds. ``told`` is called after each heartbeat. The client is closed at the end."""
        self._client = client
        self._consumer = consumer
        self._group = group
        self._interval = interval
        self._holdings = holdings
        self._provider = provider
        self._log = log
        self._told = told
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="sls-heartbeat", daemon=True)
        self._failures = 0
        self._heard = time.monotonic()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End; a heartbeat that is under way is not waited for long."""
        self._ended = True
        self._holdings.beat_now.set()
        if self._thread.ident is not None:
            self._thread.join(0.2)

    def _run(self) -> None:
        beat_now = self._holdings.beat_now
        try:
            while not self._ended:
                beat_now.clear()
                seconds = self._beat()
                self._told()
                beat_now.wait(seconds)
        except BaseException as error:  # noqa: BLE001 - a thread has nobody to raise to; the worker raises it
            self._holdings.fail(error)
        finally:
            self._client.close()

    def _beat(self) -> float:
        """One heartbeat; how many seconds until the next."""
        held, version = self._holdings.held()
        sent = time.monotonic()
        try:
            answer = self._client.heartbeat(self._consumer, held)
        except SlsError as error:
            return self._refused(error, held)
        if self._failures > 1:
            self._log.info("heartbeats are answered again")
        self._failures = 0
        self._heard = sent
        self._holdings.suspend(False)
        changes = self._holdings.assign(answer, version)
        if changes is None:
            return 0.0
        gained, lost = changes
        if gained:
            self._log.info("given %s", _names(gained))
        if lost:
            self._log.info("asked to hand over %s: delivering and committing what was read of them", _names(lost))
        return self._interval

    def _refused(self, error: SlsError, held: list[int]) -> float:
        if error.is_consumer_gone:
            evicted = self._holdings.evict()
            self._log.warning(
                "the group has given this consumer up (%s); %s: nothing more of them is committed",
                error.code,
                f"{_names(evicted)} will be read by others" if evicted else "it held no shard",
            )
            # The empty heartbeat that registers again follows at once, unless it is what was refused.
            return 0.0 if held else self._interval
        self._failures += 1
        if error.is_group_gone:
            self._holdings.fail(
                SlsFailure(
                    f"the consumer group {self._group.name} was deleted while it was in use, and its checkpoints with "
                    "it; the next run creates it again and starts at `start`"
                )
            )
            return self._interval
        if not error.is_transient and not self._may_be_renewed(error):
            self._holdings.fail(SlsFailure(f"heartbeats are refused: {error}"))
            return self._interval
        if self._failures in (2, 10) or self._failures % 50 == 0:
            self._log.warning("a heartbeat failed, %d in a row: %s", self._failures, error)
        if time.monotonic() - self._heard > self._group.timeout:
            # By now the group may have given our shards to others; read no further until it has told us.
            self._holdings.suspend(True)
        return min(self._interval, _RETRY_SECONDS * 2.0 ** min(self._failures - 1, 6))

    def _may_be_renewed(self, error: SlsError) -> bool:
        return error.is_auth and self._failures < _REFUSALS and expire(self._provider)


def _names(numbers: list[int]) -> str:
    return ("shard " if len(numbers) == 1 else "shards ") + ", ".join(map(str, numbers))
