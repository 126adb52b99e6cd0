"""The options that the source and the sink have in common: which logstore, and how to reach it."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from etlcore_sls.endpoint import EMULATOR, parse_endpoint

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
_PROVIDER = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")


def checked_name(value: str | None) -> str | None:
    """A name of something in SLS, as it is. Raises ValueError."""
    if value is not None and not _NAME.match(value):
        raise ValueError(f"{value!r} is not a name in SLS: letters, digits, '-', '_' and '.' only")
    return value


class ConnectionConfig(BaseModel):
    """A logstore, credentials for it, and how requests travel."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: str = Field(
        description="The service: a name (cn-hangzhou.log.aliyuncs.com), an address (http://127.0.0.1:8090), each with "
        "or without http:// or https:// (http where there is none), or `emulator`: a server on this machine with "
        "sample logs in the project demo, the logstore nginx."
    )
    project: str = Field(description="The project.")
    logstore: str = Field(description="The logstore.")
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

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, value: str) -> str:
        if value.strip() == EMULATOR:
            return EMULATOR
        return parse_endpoint(value).url

    @field_validator("project", "logstore", "region")
    @classmethod
    def _check_name(cls, value: str | None) -> str | None:
        return checked_name(value)

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
    def _check_connection(self) -> ConnectionConfig:
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
