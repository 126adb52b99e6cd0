"""The options of the SLS sink, beside those of `etlcore_sls.connection`. An option is described here alone."""

from __future__ import annotations

from pydantic import Field, field_validator

from etlcore_sls.connection import ConnectionConfig


class SlsSinkConfig(ConnectionConfig):
    """Options of the sink ``sls``."""

    time_column: str = Field(
        default="__time__",
        min_length=1,
        description="The column with the log's time: seconds since 1970 (fractions count), or a time with its zone, "
        "2024-05-01T08:00:00+08:00. Rows without it get the time at which they are written. Another column than "
        "`__time__` is also written as a field.",
    )
    topic: str = Field(default="", description="The topic of rows that have no column `__topic__`.")
    source: str = Field(default="", description="The source of rows that have no column `__source__`.")
    hash_key: str | None = Field(
        default=None,
        min_length=1,
        description="A column: rows with the same value in it go to the same shard, in order, by the MD5 of the value. "
        "Left out, or where a row has no value in it, the service chooses the shard.",
    )
    hash_buckets: int | None = Field(
        default=64,
        ge=1,
        le=65536,
        description="For `hash_key`: how many parts the range of hash keys is divided into, a power of 2. Rows of one "
        "part travel together. Have at least as many parts as shards; null sends every value on its own.",
    )
    put_logs: int = Field(default=4096, ge=1, le=512_000, description="The most logs in one request.")
    put_bytes: int = Field(
        default=5_000_000,
        ge=1000,
        le=50 * 1024 * 1024,
        description="The most bytes in one request, before compression. A log that is larger on its own is refused: "
        "`on_error` says what becomes of it.",
    )

    @field_validator("hash_buckets")
    @classmethod
    def _check_buckets(cls, value: int | None) -> int | None:
        if value is not None and value & (value - 1):
            raise ValueError(f"{value} is not a power of 2; write 16, 32, 64, …")
        return value
