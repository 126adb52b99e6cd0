"""The options of the SLS source. This model is the only place where an option is described."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from etlcore_sls.endpoint import EMULATOR, parse_endpoint
from etlcore_sls.moment import parse_moment

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
_PROVIDER = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")


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


class SlsConfig(BaseModel):
    """Options of the source ``sls``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: str = Field(
        description="The service: a name (cn-hangzhou.log.aliyuncs.com), an address (http://127.0.0.1:8090), each with "
        "or without http:// or https:// (http where there is none), or `emulator`: a server on this machine with "
        "sample logs in the project demo, the logstore nginx."
    )
    project: str = Field(description="The project.")
    logstore: str = Field(description="The logstore.")
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
    on_invalid_cursor: Literal["begin", "end", "stop"] = Field(
        default="begin",
        description="When the place to read from has expired: go on at the oldest log that is left (`begin`), at the "
        "`end`, or `stop` the run. Going on is logged and counted.",
    )

    access_key_id: str | None = Field(
        default=None,
        description="The access key's id. Left out together with the secret, both are taken from the environment: "
        "ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and ALIBABA_CLOUD_SECURITY_TOKEN.",
    )
    access_key_secret: SecretStr | None = Field(default=None, description="The access key's secret.")
    security_token: SecretStr | None = Field(default=None, description="The token of temporary (STS) credentials.")
    credentials: str | None = Field(
        default=None,
        description="`module:name` of your own credentials: an object with get_credentials(), as the SDK's "
        "CredentialsProvider, asked for every request; or a function that returns (id, secret) or (id, secret, "
        "token), asked every few minutes and when the service refuses what it gave.",
    )
    signature: Literal["v1", "v4"] = Field(default="v1", description="The signature version.")
    region: str | None = Field(
        default=None, description="The region, for signature v4; left out, it is taken from the endpoint's name."
    )
    proxy: str | None = Field(
        default=None,
        description="An HTTP proxy (http://host:port). Left out, http_proxy, https_proxy and no_proxy of the "
        "environment apply; an endpoint on this machine is always reached directly.",
    )
    request_seconds: float = Field(
        default=30.0, gt=0, le=600, description="How long one request may take before it is tried again."
    )

    compression: Literal["lz4", "zstd", "none"] = Field(default="lz4", description="How logs travel.")
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

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, value: str) -> str:
        if value.strip() == EMULATOR:
            return EMULATOR
        return parse_endpoint(value).url

    @field_validator("project", "logstore", "consumer_group", "consumer", "processor", "region")
    @classmethod
    def _check_name(cls, value: str | None) -> str | None:
        if value is not None and not _NAME.match(value):
            raise ValueError(f"{value!r} is not a name in SLS: letters, digits, '-', '_' and '.' only")
        return value

    @field_validator("query")
    @classmethod
    def _check_query(cls, value: str | None) -> str | None:
        return value.strip() or None if value is not None else None

    @field_validator("credentials")
    @classmethod
    def _check_provider(cls, value: str | None) -> str | None:
        if value is not None and not _PROVIDER.match(value):
            raise ValueError(f"{value!r} does not name credentials; write module:name")
        return value

    @field_validator("proxy")
    @classmethod
    def _check_proxy(cls, value: str | None) -> str | None:
        if value is not None and not re.match(r"^https?://[^/\s]+/?$", value):
            raise ValueError(f"{value!r} is not a proxy; write http://host:port")
        return value

    @model_validator(mode="after")
    def _check_together(self) -> SlsConfig:
        if self.query and self.processor:
            raise ValueError("`query` and `processor` exclude each other; keep one")
        self._check_credentials()
        if self.endpoint != EMULATOR:
            endpoint = parse_endpoint(self.endpoint)
            if endpoint.host.startswith(f"{self.project}."):
                raise ValueError(
                    f"the endpoint {endpoint.host} begins with the project; "
                    f"write {endpoint.host.removeprefix(f'{self.project}.')}"
                )
            if self.signature == "v4" and not (self.region or endpoint.region):
                raise ValueError("signature v4 needs a `region`; the endpoint's name does not tell it")
        if isinstance(self.start, int) and isinstance(self.until, int) and self.until <= self.start:
            raise ValueError("`until` is not after `start`: there would be nothing to read")
        return self

    def _check_credentials(self) -> None:
        if (self.access_key_id is None) != (self.access_key_secret is None):
            there, missing = ("access_key_id", "access_key_secret")
            if self.access_key_id is None:
                there, missing = missing, there
            raise ValueError(f"`{there}` is given without `{missing}`; give both or none")
        if self.security_token is not None and self.access_key_id is None:
            raise ValueError("`security_token` is given without `access_key_id` and `access_key_secret`")
        if self.credentials is not None and self.access_key_id is not None:
            raise ValueError("`credentials` and `access_key_id` exclude each other; keep one")
