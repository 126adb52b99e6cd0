"""The calls that the source makes, on the official SDK's `LogClient` (see `etlcore_sls.sdk`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from etlcore_sls.body import Piece, read_body
from etlcore_sls.columns import Wanted
from etlcore_sls.config import SlsConfig
from etlcore_sls.credentials import Provider
from etlcore_sls.endpoint import Endpoint
from etlcore_sls.sdk import LogstoreClient
from etlcore_sls.service_clock import ServiceClock


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group as the service has it."""

    name: str
    timeout: int
    in_order: bool


@dataclass(frozen=True, slots=True)
class Pull:
    """One answer to a pull."""

    pieces: Sequence[Piece]
    count: int
    next_cursor: str
    raw_bytes: int
    at_end: bool | None
    """Whether the service says that nothing follows at the moment; None when it does not say."""


class SlsClient(LogstoreClient):
    """One logstore and one consumer group of it. Methods raise `SlsError`; `SlsFailure` for unusable credentials."""

    def __init__(
        self,
        config: SlsConfig,
        endpoint: Endpoint,
        provider: Provider,
        seconds: float | None = None,
        clock: ServiceClock | None = None,
    ) -> None:
        """As `LogstoreClient`."""
        super().__init__(config, endpoint, provider, seconds, clock)
        self._config = config

    # --- shards and logs ---------------------------------------------------------------------------------------------

    def cursor(self, shard: int, at: Literal["begin", "end"] | int) -> str:
        """The cursor of a shard at its begin, its end, or a time of receipt (seconds since 1970)."""
        return str(self._call(self._sdk.get_cursor, *self._logstore, shard, at).get_cursor())

    def cursor_time(self, shard: int, cursor: str) -> int:
        """When the service received what stands at a cursor, in seconds since 1970."""
        return int(self._call(self._sdk.get_cursor_time, *self._logstore, shard, cursor).get_cursor_time())

    def pull(self, shard: int, cursor: str, end_cursor: str | None = None) -> Pull:
        """What follows a cursor, up to ``end_cursor``."""
        config = self._config
        return self._call(
            lambda: _pull(
                self._sdk.pull_logs(
                    *self._logstore,
                    shard,
                    cursor,
                    count=config.fetch_groups,
                    end_cursor=end_cursor,
                    compress=config.compression != "none",
                    accept_compress_type=config.compression if config.compression != "none" else None,
                    query=config.query,
                    processor=config.processor,
                ),
                config.wanted,
            )
        )

    # --- the consumer group ------------------------------------------------------------------------------------------

    def group(self) -> Group | None:
        """The consumer group, or None when there is none of that name."""
        answer = self._call(self._sdk.list_consumer_group, *self._logstore)
        for found in answer.get_consumer_groups():
            if found.get_consumer_group_name() == self._config.consumer_group:
                return Group(self._config.consumer_group, int(found.get_timeout()), bool(found.is_in_order()))
        return None

    def create_group(self, timeout: int, in_order: bool) -> None:
        self._call(self._sdk.create_consumer_group, *self._group, timeout, in_order)

    def heartbeat(self, consumer: str, held: list[int]) -> list[int]:
        """Tell the group that a consumer lives and which shards it holds; the shards that it is to hold."""
        answer = self._call(self._sdk.heart_beat, *self._group, consumer, held)
        return [int(shard) for shard in answer.get_shards() or ()]

    def checkpoints(self, shard: int = -1) -> dict[int, str]:
        """The group's checkpoints: of one shard, or (-1) of all that have one."""
        answer = self._call(self._sdk.get_check_point, *self._group, shard)
        found = answer.get_consumer_group_check_points() or ()
        return {int(item["shard"]): str(item["checkpoint"]) for item in found if item.get("checkpoint")}

    def commit(self, shard: int, cursor: str, consumer: str) -> None:
        """Move a checkpoint, if the shard is the consumer's; `SlsError.is_not_the_owner` and the like otherwise."""
        self._call(self._sdk.update_check_point, *self._group, shard, cursor, consumer=consumer, force_success=False)

    @property
    def _group(self) -> tuple[str, str, str]:
        return self._config.project, self._config.logstore, self._config.consumer_group


def _pull(response: Any, wanted: Wanted) -> Pull:
    pieces = _pieces(response, wanted)
    count = response.get_loggroup_count()
    found = sum(map(len, pieces))
    if found != count:
        raise ValueError(f"x-log-count says {count} log groups, the body holds {found}")
    return Pull(
        pieces=pieces,
        count=count,
        next_cursor=str(response.get_next_cursor()),
        raw_bytes=int(response.get_raw_size()),
        at_end=_at_end(response.get_all_headers()),
    )


def _pieces(response: Any, wanted: Wanted) -> Sequence[Piece]:
    body = getattr(response, "_raw_uncompressed_body", None)
    if body is None:  # there was none, or this version of the SDK keeps it elsewhere
        groups = response.loggroup_list.LogGroups
        return [groups] if groups else []
    return read_body(body, wanted)


def _at_end(headers: Mapping[str, str]) -> bool | None:
    for name, value in headers.items():
        if name.lower() == "x-log-end-of-cursor":
            return value == "1"
    return None
