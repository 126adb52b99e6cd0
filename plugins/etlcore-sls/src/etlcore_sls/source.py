"""The source ``sls``: the logs of a logstore, read as a member of a consumer group.

`open` finds the service and the group. `read` starts two kinds of threads, heartbeats (`etlcore_sls.heartbeat`) and
fetchers (`etlcore_sls.fetch`), which meet in `etlcore_sls.holdings`, and turns the pages they bring into batches.
`commit` moves the group's checkpoints (`etlcore_sls.commit`). Heartbeats end in `close`, after the last commit.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from etlcore import Batch, Context, Source
from etlcore_sls.config import SlsConfig
from etlcore_sls.connect import find_service, until_ready
from etlcore_sls.endpoint import Endpoint
from etlcore_sls.errors import SlsError
from etlcore_sls.holdings import Holdings, Page, Shard
from etlcore_sls.loading import load_sdk
from etlcore_sls.pages import batches

if TYPE_CHECKING:
    from etlcore_sls.client import Group, SlsClient

T = TypeVar("T")

_WAIT_SECONDS = 0.1  # for a page, before the runtime may look at whether it should stop
_SHORT_SECONDS = 5.0  # for requests of the worker's own thread: small ones, that must not hold up a stop
_GAUGE_SECONDS = 1.0


class SlsSource(Source):
    """See the module's description; the options are `etlcore_sls.config.SlsConfig`."""

    example = """
        stages:
          logs:
            source: sls
            with:
              endpoint: emulator  # an SLS server on this machine, with sample logs
              project: demo
              logstore: nginx
              consumer_group: example
              start: begin
              until: end
          out: {sink: blackhole}
    """

    Config: ClassVar[type[SlsConfig]] = SlsConfig
    config: SlsConfig
    replayable = True
    _closing: list[Callable[[], None]]

    def open(self, context: Context) -> None:
        load_sdk()
        self._take_hint(context)
        from etlcore_sls.client import SlsClient
        from etlcore_sls.clients import Clients
        from etlcore_sls.commit import Committer
        from etlcore_sls.fetch import Fetchers
        from etlcore_sls.finish import Finish
        from etlcore_sls.heartbeat import Heartbeats
        from etlcore_sls.service_clock import ServiceClock
        from etlcore_sls.until import Until

        self._closing = []
        self._counts: deque[tuple[str, str]] = deque()
        self._next_gauge = 0.0
        self._told: set[str] = set()
        config = self.config
        endpoint, provider = self._service()
        consumer = self._consumer_name()

        clock = self._clock = ServiceClock()

        def client(seconds: float | None = None) -> SlsClient:
            return SlsClient(config, endpoint, provider, seconds, clock)

        self._clients = Clients(lambda: client(min(_SHORT_SECONDS, config.request_seconds)))
        self._closing.append(self._clients.close)
        group = self._ready(lambda: self._clients.one(self._find_group))
        interval = min(config.heartbeat_seconds, group.timeout / 3)

        self._holdings = Holdings(config.fetch_bytes)
        self._closing.append(self._holdings.stop)
        self._until = Until(config.until, clock)
        if self._until.can_be_fixed():
            self._ready(self._fix_ends)
        self._finish = Finish(
            config,
            self._clients,
            self._holdings,
            self._until,
            patience=2 * (group.timeout + interval),  # its holder may have died up to a timeout later
            fix_ends=self._fix_ends,
            log=context.log,
        )
        self._heartbeats = Heartbeats(
            client(min(config.request_seconds, max(1.0, group.timeout / 3))),
            consumer,
            group,
            interval,
            self._holdings,
            provider,
            context.log,
            self._tell_lag,
        )
        self._closing.append(self._heartbeats.stop)
        self._fetchers = Fetchers(config, self._holdings, self._until, client, provider, context.log, self._count)
        self._committer = Committer(self._clients, consumer, self._holdings, provider, context.log)

    def probe(self) -> None:
        """Look for the logstore and the group; nobody joins, and nothing is made."""
        load_sdk()
        from etlcore_sls.client import SlsClient
        from etlcore_sls.service_clock import ServiceClock

        self._closing = []
        endpoint, provider = self._service()
        client = SlsClient(self.config, endpoint, provider, _SHORT_SECONDS, ServiceClock())
        self._closing.append(client.close)
        self._ready(client.shards)
        if self._ready(client.group) is None:
            self.context.log.info("there is no consumer group %s yet: a run makes it", self.config.consumer_group)

    def read(self) -> Iterator[Batch | None]:
        if self._finish.over():
            self.context.log.info("nothing to read: the consumer group %s is at the end", self.config.consumer_group)
            return
        self._holdings.start()
        self._heartbeats.start()
        self._fetchers.start()
        try:
            while not self._finish.over():
                self._claim()
                taken = self._holdings.take(_WAIT_SECONDS)
                self._forget_evicted()
                self._tell_figures()
                if taken is None:
                    yield None
                    continue
                yield from self._batches(*taken)
        finally:
            self._holdings.stop()

    def commit(self, positions: Mapping[str, Any]) -> None:
        forgotten = self._forget_evicted()
        self._tell_figures()
        try:
            self._committer.commit({name: value for name, value in positions.items() if name not in forgotten})
        finally:
            self._forget_evicted()

    def close(self) -> None:
        for close in reversed(getattr(self, "_closing", ())):
            close()
        committer = getattr(self, "_committer", None)
        if committer is not None and committer.failure is not None:
            raise committer.failure

    # --- between runs (`etl state reset`) -----------------------------------------------------------------------------

    def position_at(self, where: str | datetime) -> Mapping[str, Any]:
        from etlcore_sls.reset import position_at

        return position_at(self, where)

    def committed(self) -> Mapping[str, Any]:
        from etlcore_sls.reset import committed

        return committed(self)

    def reset(self, positions: Mapping[str, Any]) -> None:
        from etlcore_sls.reset import reset

        reset(self, positions)

    # --- opening -----------------------------------------------------------------------------------------------------

    def _take_hint(self, context: Context) -> None:
        """Read only the columns that the stages behind use, unless the options say which."""
        if self.config.columns is None and context.columns is not None:
            columns = sorted(context.columns) or ["__time__"]  # without any, nothing would say how many rows there are
            self.config = self.config.model_copy(update={"columns": columns})

    def _service(self) -> tuple[Endpoint, Any]:
        return find_service(self.config, self.context, self._closing)

    def _consumer_name(self) -> str:
        from etlcore_sls.identity import take_identity

        if self.config.consumer is not None:
            return f"{self.config.consumer}-{self.context.worker}" if self.context.workers > 1 else self.config.consumer
        identity = take_identity(self.context.state_directory)
        self._closing.append(identity.close)
        return identity.name

    def _ready(self, call: Callable[[], T]) -> T:
        return until_ready(self.config, self.context, call)

    def _find_group(self, client: SlsClient) -> Group:
        """The consumer group, made if there is none. One that exists is never changed: it may be shared."""
        config = self.config
        found = client.group()
        if found is None:
            try:
                client.create_group(config.group_timeout_seconds, config.group_in_order)
                self.context.log.info("created the consumer group %s", config.consumer_group)
            except SlsError as error:
                if error.code != "ConsumerGroupAlreadyExist":  # somebody was faster
                    raise
            found = client.group()
            if found is None:
                raise SlsError("ConsumerGroupNotExist", f"{config.consumer_group} cannot be seen yet", 0)
        if (found.timeout, found.in_order) != (config.group_timeout_seconds, config.group_in_order):
            self.context.log.info(
                "the consumer group %s exists with timeout %d s and in_order %s; it is left so",
                found.name,
                found.timeout,
                str(found.in_order).lower(),
            )
        return found

    def _fix_ends(self) -> None:
        """Ask for the end of each shard of the logstore, once for all workers of the stage."""
        from etlcore_sls.until import shared_ends

        def ask() -> Iterator[tuple[int, str]]:
            shards = self._clients.one(lambda client: client.shards())
            ends = self._clients.map(lambda client, shard: client.cursor(shard, self._until.at), shards)
            return zip(shards, ends, strict=True)

        self._until.fix(shared_ends(self.context.stopping, self.context.stage, ask))

    # --- reading -----------------------------------------------------------------------------------------------------

    def _batches(self, shard: Shard, page: Page) -> Iterator[Batch]:
        """What a page holds, as long as the shard is ours."""

        def damaged(logs: int) -> None:
            self.context.metrics.count("invalid_utf8_logs", logs, partition=shard.partition)

        for batch in batches(shard.partition, page, damaged, self.config.wanted):
            self._forget_evicted()
            if self._holdings.is_evicted(shard):
                return
            yield batch

    def _claim(self) -> None:
        """Ask the runtime for the shards that were given to us: rows of them may still be on their way."""
        for shard in self._holdings.unclaimed():
            self._forget_evicted()
            if self.context.claim(shard.partition):
                self._holdings.claimed(shard, self.context.positions.get(shard.partition))

    def _forget_evicted(self) -> set[str]:
        """Tell the runtime which shards were taken from us; it commits nothing more of them."""
        partitions = {shard.partition for shard in self._holdings.evictions()}
        if partitions:
            self._holdings.tell(lambda _: self._told.difference_update(partitions))
        for partition in partitions:
            self.context.forget(partition)
        return partitions

    # --- figures -----------------------------------------------------------------------------------------------------

    def _count(self, figure: str, partition: str) -> None:
        """Called by fetchers; the figures are told by the worker."""
        self._counts.append((figure, partition))

    def _tell_figures(self) -> None:
        while self._counts:
            figure, partition = self._counts.popleft()
            self.context.metrics.count(figure, partition=partition)
        now = time.monotonic()
        if now < self._next_gauge:
            return
        self._next_gauge = now + _GAUGE_SECONDS
        self._tell_lag()

    def _tell_lag(self) -> None:
        """Called by the worker and, because the worker may wait for a sink as long as it likes, with each heartbeat."""
        self._holdings.tell(self._tell_lag_of)

    def _tell_lag_of(self, shards: Sequence[Shard]) -> None:
        now = self._clock.now()
        lags = dict.fromkeys(self._told, 0.0)  # those that were handed over to others by now
        for shard in shards:
            lags[shard.partition] = 0.0 if shard.unread_since is None else max(0.0, now - shard.unread_since)
        self._told = {shard.partition for shard in shards}
        for partition, lag in lags.items():
            self.context.metrics.gauge("lag_seconds", lag, partition=partition)
