"""The options of the SLS source, beside those of `etlcore_sls.connection`. An option is described here alone."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from etlcore_sls.connection import ConnectionConfig, checked_name
from etlcore_sls.moment import parse_moment


def _start(value: Any) -> Any:
    return value if value in ("begin", "end") else _moment_or(value, "begin, end")


def _until(value: Any) -> Any:
    if value is None or value in ("never", ""):
        return "never"
    return value if value == "end" else _moment_or(value, "never, end")


def _moment_or(value: Any, words: str) -> int:
    try:
        return parse_moment(value)
    except ValueError as error:
        raise ValueError(f"{error} (or one of: {words})") from None


Start = Annotated[Literal["begin", "end"] | int, BeforeValidator(_start)]
Until = Annotated[Literal["never", "end"] | int, BeforeValidator(_until)]


class SlsConfig(ConnectionConfig):
    """Options of the source ``sls``."""

    consumer_group: str = Field(
        description="The consumer group, created when missing. It keeps how far has been delivered, for each shard; "
        "runs with the same group share out the shards."
    )
    consumer: str | None = Field(
        default=None,
        description="This consumer's name in the group; no two running consumers may have the same. Left out, a name "
        "is kept in the state directory, so that the next run gets the shards of a crashed one back at once.",
    )

    start: Start = Field(
        default="begin",
        description="Where a shard without a checkpoint starts: `begin` (the oldest log), `end` (only new logs), or a "
        "time of receipt: 2024-05-01T08:00:00+08:00, or seconds since 1970.",
    )
    until: Until = Field(
        default="never",
        description="Where the run ends: `never` (it runs until it is stopped), `end` (each shard's end as it is when "
        "the run starts), or a time of receipt.",
    )
    query: str | None = Field(
        default=None, description="An SPL query that the service applies before it sends: * | where status = '500'."
    )
    processor: str | None = Field(default=None, description="The name of a consume processor, instead of a query.")
    columns: list[str] | None = Field(
        default=None,
        min_length=1,
        description="The only columns to read, fields and metadata; left out, those that the stages behind use "
        "(`etl explain` shows them). Other fields are not decoded: a few columns are read two to three times as fast.",
    )
    on_invalid_cursor: Literal["begin", "end", "stop"] = Field(
        default="begin",
        description="When the place to read from has expired: go on at the oldest log that is left (`begin`), at the "
        "`end`, or `stop` the run. Going on is logged and counted.",
    )

    fetch_threads: int = Field(
        default=4, ge=1, le=64, description="How many shards are read from at the same time, by each worker."
    )
    fetch_groups: int = Field(default=1000, ge=1, le=1000, description="The most log groups that one request brings.")
    fetch_bytes: int = Field(
        default=32 * 1024 * 1024,
        ge=1024,
        description="How many bytes are read ahead, by each worker: uncompressed, as the service counts them. It may "
        "be exceeded by one response for each fetch thread.",
    )
    poll_seconds: float = Field(
        default=1.0, gt=0, le=60, description="How long to wait before a shard that had nothing new is asked again."
    )
    heartbeat_seconds: float = Field(
        default=5.0,
        gt=0,
        le=300,
        description="How often the group hears from this consumer; more often where the group's timeout needs it.",
    )
    group_timeout_seconds: int = Field(
        default=60,
        ge=1,
        description="For a group that is created: after so long without a heartbeat a consumer's shards go to others. "
        "An existing group is left as it is.",
    )
    group_in_order: bool = Field(
        default=False,
        description="For a group that is created: shards that came from a split or a merge wait until what they came "
        "from has been read to its end. An existing group is left as it is.",
    )

    @field_validator("consumer_group", "consumer", "processor")
    @classmethod
    def _check_more_names(cls, value: str | None) -> str | None:
        return checked_name(value)

    @field_validator("query")
    @classmethod
    def _check_query(cls, value: str | None) -> str | None:
        return value.strip() or None if value is not None else None

    @property
    def wanted(self) -> frozenset[str] | None:
        """The columns to read; None for all."""
        return None if self.columns is None else frozenset(self.columns)

    @model_validator(mode="after")
    def _check_reading(self) -> SlsConfig:
        if self.query and self.processor:
            raise ValueError("`query` and `processor` exclude each other; keep one")
        if isinstance(self.start, int) and isinstance(self.until, int) and self.until <= self.start:
            raise ValueError("`until` is not after `start`: there would be nothing to read")
        return self
