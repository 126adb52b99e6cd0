"""Fetchers: a few threads that read shards ahead of the worker, each pull for the shard that has waited longest.

What goes wrong with one shard postpones that shard alone; no thread ever sleeps on its behalf.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from etlcore_sls.config import SlsConfig
from etlcore_sls.credentials import Provider, expire
from etlcore_sls.errors import SlsError, SlsFailure
from etlcore_sls.holdings import Holdings, Page, Shard
from etlcore_sls.until import Until, at_or_after
from etlcore_sls.wire.cursor import decode_cursor, encode_cursor

if TYPE_CHECKING:
    from etlcore_sls.client import Pull, SlsClient

_BACKOFF_SECONDS = (0.5, 30.0)  # the first wait, and the longest
_ATTEMPTS = 5  # for what is unlikely to go away: refused credentials, a response that cannot be read
_LAG_SECONDS = 5.0  # how often a shard that is behind is asked how far


class Fetchers:
    """The fetch threads of one worker."""

    def __init__(
        self,
        config: SlsConfig,
        holdings: Holdings,
        until: Until,
        make_client: Callable[[], SlsClient],
        provider: Provider,
        log: logging.Logger,
        count: Callable[[str, str], None],
    ) -> None:
        """``count(figure, partition)`` is told of what an operator may want to see as a number."""
        self._config = config
        self._holdings = holdings
        self._until = until
        self._make_client = make_client
        self._provider = provider
        self._log = log
        self._count = count
        self._one_position = bool(config.query or config.processor)

    def start(self) -> None:
        """Start the threads. They end by themselves after `Holdings.stop`; a request under way is not waited for."""
        for number in range(self._config.fetch_threads):
            threading.Thread(target=self._run, name=f"sls-fetch-{number}", daemon=True).start()

    def _run(self) -> None:
        client = None
        try:
            client = self._make_client()
            while (shard := self._holdings.job()) is not None:
                self._serve(client, shard)
        except BaseException as error:  # noqa: BLE001 - a thread has nobody to raise to; the worker raises it
            self._holdings.fail(error)
        finally:
            if client is not None:
                client.close()

    def _serve(self, client: SlsClient, shard: Shard) -> None:
        try:
            if shard.cursor is None:
                self._locate(client, shard)
            elif self._until.reached(shard):
                self._holdings.complete(shard)
            elif shard.full:
                self._look(client, shard, shard.cursor)
            elif (pause := self._until.pause()) > 0:
                self._holdings.postpone(shard, pause)
            else:
                self._pull(client, shard, shard.cursor)
        except SlsError as error:
            self._refused(client, shard, error)

    def _locate(self, client: SlsClient, shard: Shard) -> None:
        """Where to start in a shard that was just given to us.

        Where the group has no checkpoint, the place that we start from becomes one even if no log ever follows it: so
        that `start: end` means the same place in the next run, and a shard that was split empty counts as read.

        A transactional sink may be ahead of the checkpoint, when a run ended between its transaction and the commit:
        what it has is not read again.
        """
        if self._until.beyond(shard):
            self._holdings.complete(shard)
            return
        checkpoint = client.checkpoints(shard.id).get(shard.id)
        if checkpoint is not None:
            shard.checkpoint = checkpoint
        if shard.start is not None and not at_or_after(checkpoint, shard.start):
            self._holdings.put(shard, Page((), (shard.start,), 0), shard.start)
            return
        if checkpoint is not None:
            self._holdings.put(shard, None, checkpoint)
            return
        cursor = client.cursor(shard.id, self._config.start)
        self._holdings.put(shard, Page((), (cursor,), 0), cursor)

    def _pull(self, client: SlsClient, shard: Shard, cursor: str) -> None:
        pull = client.pull(shard.id, cursor, self._until.end(shard))
        nothing = pull.count == 0 and pull.next_cursor == cursor
        at_end = pull.at_end if pull.at_end is not None else nothing
        self._measure_lag(client, shard, pull, at_end)
        page = None if nothing else Page(pull.pieces, self._positions(cursor, pull), pull.raw_bytes)
        self._holdings.put(shard, page, pull.next_cursor, self._config.poll_seconds if at_end or nothing else 0.0)

    def _positions(self, cursor: str, pull: Pull) -> list[str]:
        """The cursor behind each log group: a cursor counts log groups, unless a query dropped some."""
        if not self._one_position and pull.count > 1:
            try:
                first, last = decode_cursor(cursor), decode_cursor(pull.next_cursor)
            except ValueError:
                return [pull.next_cursor]
            if last - first == pull.count:
                return [*(encode_cursor(first + i) for i in range(1, pull.count)), pull.next_cursor]
        return [pull.next_cursor]

    def _measure_lag(self, client: SlsClient, shard: Shard, pull: Pull, at_end: bool) -> None:
        if at_end:
            shard.unread_since = None
            return
        now = time.monotonic()
        if now < shard.lag_due:
            return
        shard.lag_due = now + _LAG_SECONDS
        try:
            shard.unread_since = float(client.cursor_time(shard.id, pull.next_cursor))
        except SlsError:
            shard.unread_since = None  # nothing stands there yet, or the service is busy: not worth a word

    def _look(self, client: SlsClient, shard: Shard, cursor: str) -> None:
        """How far behind a shard is that must wait because the worker does: the sink may be slow, or down."""
        try:
            at_end = client.cursor(shard.id, "end") == cursor
            shard.unread_since = None if at_end else float(client.cursor_time(shard.id, cursor))
        except SlsError:
            pass  # what was known stays; a pull will tell what is wrong
        self._holdings.looked(shard, _LAG_SECONDS)

    # --- what can go wrong -------------------------------------------------------------------------------------------

    def _refused(self, client: SlsClient, shard: Shard, error: SlsError) -> None:
        shard.failures += 1
        if error.is_invalid_cursor:
            self._expired(client, shard, error)
        elif error.is_shard_gone:
            self._log.warning("%s no longer exists: it was split or merged, and its logs have expired", shard.partition)
            self._until.drop(shard.id)
            self._holdings.drop(shard)
        elif error.code == "BadResponse" and shard.failures >= _ATTEMPTS:
            self._fail(shard, f"the answer cannot be read, {shard.failures} times in a row: {error.message}", error)
        elif error.is_transient or self._may_be_renewed(shard, error):
            self._retry(shard, error)
        else:
            self._fail(shard, str(error), error)

    def _may_be_renewed(self, shard: Shard, error: SlsError) -> bool:
        return error.is_auth and shard.failures < _ATTEMPTS and expire(self._provider)

    def _retry(self, shard: Shard, error: SlsError) -> None:
        first, longest = _BACKOFF_SECONDS
        seconds = min(longest, first * 2 ** min(shard.failures - 1, 10)) * random.uniform(0.75, 1.25)
        self._count("fetch_errors", shard.partition)
        if shard.failures in (1, 5) or shard.failures % 20 == 0:
            self._log.warning("%s: %s; next attempt in %.1f s", shard.partition, error, seconds)
        self._holdings.postpone(shard, seconds)

    def _expired(self, client: SlsClient, shard: Shard, error: SlsError) -> None:
        policy = self._config.on_invalid_cursor
        if policy == "stop" or shard.failures >= _ATTEMPTS:
            self._fail(
                shard,
                f"{error}; the logs at that place have expired. With `on_invalid_cursor: begin` the run goes on at the "
                "oldest log that is left",
                error,
            )
            return
        try:
            cursor = client.cursor(shard.id, policy)
        except SlsError as again:
            self._retry(shard, again)
            return
        if cursor == shard.cursor:
            self._retry(shard, error)
            return
        self._count("invalid_cursors", shard.partition)
        self._log.warning(
            "%s: the logs at %s have expired; going on at the %s, %s", shard.partition, shard.cursor, policy, cursor
        )
        self._holdings.put(shard, Page((), (cursor,), 0), cursor)

    def _fail(self, shard: Shard, what: str, error: SlsError) -> None:
        self._holdings.postpone(shard, _BACKOFF_SECONDS[1])
        failure = SlsFailure(f"{shard.partition} at {shard.cursor}: {what}")
        failure.__cause__ = error
        self._holdings.fail(failure)
