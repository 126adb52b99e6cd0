"""What can be set about an emulator."""

from __future__ import annotations

from dataclasses import dataclass, field

DEMO_ACCESS_KEY_ID = "etlcore-demo-id"
DEMO_ACCESS_KEY_SECRET = "etlcore-demo-secret"
DEFAULT_REGION = "cn-emulator"


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key pair that may sign requests; with a security token it is a temporary (STS) one.

    ``expires`` is in seconds since 1970; a request signed later is refused with SecurityTokenExpired.
    """

    access_key_id: str
    secret: str
    security_token: str = ""
    expires: float | None = None


DEMO_KEY = AccessKey(DEMO_ACCESS_KEY_ID, DEMO_ACCESS_KEY_SECRET)


@dataclass(frozen=True)
class Samples:
    """The sample logs that a new emulator holds: nginx access logs, the same for the same seed."""

    project: str = "demo"
    logstore: str = "nginx"
    logs: int = 20_000
    shards: int = 4
    seed: int = 1


@dataclass(frozen=True)
class Settings:
    """Where an emulator listens, what it keeps, whom it trusts, and its limits (sizes in bytes, times in seconds).

    The real service's limits are partly unpublished; these are assumptions (README.md), so each can be set.
    """

    host: str = "127.0.0.1"
    port: int = 0
    data: str | None = None
    samples: Samples | None = None
    keys: tuple[AccessKey, ...] = (DEMO_KEY,)
    region: str = DEFAULT_REGION
    pull_max_bytes: int = 10 * 1024 * 1024
    pull_max_groups: int = 1000
    put_max_bytes: int = 30 * 1024 * 1024
    put_max_logs: int = 512_000
    max_clock_skew: float = 15 * 60
    max_consumer_groups: int = 30
    max_events: int = 100_000
    access_keys: dict[str, AccessKey] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "access_keys", {key.access_key_id: key for key in self.keys})
