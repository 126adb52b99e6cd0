"""The sink ``sls``: rows become logs of a logstore.

`etlcore_sls.sink_log` makes a log of a row, `etlcore_sls.sink_columns` those of Arrow columns; `etlcore_sls.sink_batch`
divides a batch into requests. They are put one after the other, so that rows of one hash key stay in order, and `write`
returns when the last one is acknowledged. What is refused because of what it holds is halved until the bad logs are
found.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NoReturn

from etlcore import Batch, Context, RetryAfter, RowsFailed, Sink
from etlcore_sls.connect import find_service, until_ready
from etlcore_sls.errors import SlsError
from etlcore_sls.loading import load_sdk
from etlcore_sls.sink_config import SlsSinkConfig

if TYPE_CHECKING:
    from etlcore_sls.sink_batch import Request
    from etlcore_sls.sink_client import PutClient

_QUOTA_SECONDS = (0.5, 10.0)  # the first wait, and the longest
_SHORT_SECONDS = 5.0  # for the request that `open` makes: a small one, that must not hold up a stop


@dataclass(slots=True)
class _Delivery:
    """How far a batch has come."""

    batch: Batch
    pending: deque[Request]
    refused: dict[int, str]
    """Rows that SLS will never take, with the reasons."""
    acknowledged: int = 0

    def settle(self) -> None:
        """The first request is acknowledged."""
        self.acknowledged += len(self.pending.popleft().rows)

    def divide(self, error: SlsError) -> None:
        """The first request holds a log that is bad: look for it in each half."""
        request = self.pending.popleft()
        if len(request.rows) == 1:
            self.refused[request.rows[0]] = f"refused by SLS: {error}"
        else:
            self.pending.extendleft(reversed(request.halves()))

    def fail(self, error: SlsError) -> NoReturn:
        """Nothing more can be put for now: say what is not written."""
        if not self.acknowledged:
            raise error
        reason = f"not written: {error}"
        raise RowsFailed(
            {**self.refused, **{row: reason for request in self.pending for row in request.rows}}
        ) from error


@dataclass(slots=True)
class _Pauses:
    """How long to wait when a quota is exceeded: longer each time in a row."""

    next: float = field(default=_QUOTA_SECONDS[0])

    def take(self) -> float:
        seconds, self.next = self.next, min(_QUOTA_SECONDS[1], self.next * 2)
        return seconds * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        self.next = _QUOTA_SECONDS[0]


class SlsSink(Sink):
    """See the module's description; the options are `etlcore_sls.sink_config.SlsSinkConfig`."""

    example = """
        stages:
          rows: {source: generate, with: {rows: 100}}
          out:
            sink: sls
            with: {endpoint: emulator, project: demo, logstore: made-up}  # an SLS server on this machine
    """

    Config: ClassVar[type[SlsSinkConfig]] = SlsSinkConfig
    config: SlsSinkConfig

    def open(self, context: Context) -> None:
        load_sdk()
        from etlcore_sls.sink_client import PutClient
        from etlcore_sls.sink_log import LogMaker

        config = self.config
        self._closing: list[Callable[[], None]] = []
        self._unfinished: _Delivery | None = None
        self._pauses = _Pauses()
        endpoint, self._provider = find_service(
            config, context, self._closing, lambda emulator: emulator.create(config.project, config.logstore)
        )
        self._client = PutClient(config, endpoint, self._provider)
        self._closing.append(self._client.close)
        self._maker = LogMaker(config.time_column, config.topic, config.source)
        asking = PutClient(config, endpoint, self._provider, min(_SHORT_SECONDS, config.request_seconds))
        self._closing.append(asking.close)
        until_ready(config, context, lambda: self._check_logstore(asking))

    def write(self, batch: Batch) -> None:
        """Put all rows.

        Raises RowsFailed with the rows that were refused or whose requests failed, RetryAfter when a quota is
        exceeded, and SlsError when nothing was written at all.
        """
        delivery = self._take_up(batch)
        while delivery.pending:
            request = delivery.pending[0]
            try:
                self._put(request)
            except SlsError as error:
                if error.is_quota:
                    self._unfinished = delivery
                    self.context.metrics.count("quota_waits")
                    raise RetryAfter(self._pauses.take(), str(error)) from error
                if not error.is_bad_logs:
                    delivery.fail(error)
                delivery.divide(error)
            else:
                delivery.settle()
                self._pauses.reset()
        if delivery.refused:
            self.context.metrics.count("refused_logs", len(delivery.refused))
            raise RowsFailed(delivery.refused, final=True)

    def close(self) -> None:
        for close in reversed(getattr(self, "_closing", ())):
            close()

    def _take_up(self, batch: Batch) -> _Delivery:
        """Where to go on. After a RetryAfter the same batch comes again: what was acknowledged is not put twice."""
        from etlcore_sls.sink_batch import Requests

        unfinished, self._unfinished = self._unfinished, None
        if unfinished is not None and unfinished.batch is batch:
            return unfinished
        made = Requests(self.config, self._maker)
        if batch.columnar:
            from etlcore_sls.sink_columns import Columns

            made.add_columns(Columns(self._maker, batch.arrow, time.time()))
        else:
            made.add(batch.rows, time.time())
        return _Delivery(batch, deque(made.requests), made.refused)

    def _put(self, request: Request) -> None:
        from etlcore_sls.credentials import expire

        body = request.body
        try:
            self._client.put(body, request.key)
        except SlsError as error:
            if not (error.is_auth and expire(self._provider)):
                raise
            self._client.put(body, request.key)  # with credentials that are newly asked for
        self.context.metrics.count("put_requests")

    def _check_logstore(self, client: PutClient) -> None:
        """Find out before the first row comes whether there is such a logstore, and whether the key is known."""
        try:
            client.shards()
        except SlsError as error:
            if not error.is_denied:
                raise
            self.context.log.info("the key may not list shards, so whether it may write shows with the first rows")
