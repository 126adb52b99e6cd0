"""Where the access key comes from: options, the environment, the emulator, or the user's own provider.

Each is an SDK credentials provider, asked for every request, so that rotation works without a restart.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

from etlcore_sls.connection import ConnectionConfig
from etlcore_sls.errors import SlsError, SlsFailure

ENV_ID = "ALIBABA_CLOUD_ACCESS_KEY_ID"
ENV_SECRET = "ALIBABA_CLOUD_ACCESS_KEY_SECRET"
ENV_TOKEN = "ALIBABA_CLOUD_SECURITY_TOKEN"
_KEEP_SECONDS = 300.0  # STS credentials live for at least 15 minutes


class Provider(Protocol):
    """What the SDK asks for credentials; `get_credentials` may be called from several threads."""

    def get_credentials(self) -> Any: ...


class OwnProvider:
    """Credentials from the user's own code, kept for ``keep`` seconds; `expire` makes the next request ask again."""

    def __init__(self, name: str, ask: Callable[[], Any], keep: float) -> None:
        self._name = name
        self._ask = ask
        self._keep = keep
        self._lock = threading.Lock()
        self._kept: Any = None
        self._until = 0.0

    def get_credentials(self) -> Any:
        """Raises SlsError when the user's code fails (it may not the next time), SlsFailure when it is wrong."""
        with self._lock:
            if self._kept is None or time.monotonic() >= self._until:
                try:
                    made = self._ask()
                except Exception as error:
                    message = f"{self._name} failed: {type(error).__name__}: {error}"
                    raise SlsError("CredentialsUnavailable", message, 0) from error
                self._kept = _as_credentials(self._name, made)
                self._until = time.monotonic() + self._keep
            return self._kept

    def expire(self) -> None:
        with self._lock:
            self._until = 0.0


def make_provider(config: ConnectionConfig) -> Provider:
    """The provider that the options ask for. Raises SlsFailure when there are no credentials to be had."""
    if config.credentials is not None:
        return _own_provider(config.credentials)
    if config.access_key_id is not None and config.access_key_secret is not None:
        token = config.security_token.get_secret_value() if config.security_token else ""
        return _static(config.access_key_id, config.access_key_secret.get_secret_value(), token)
    key_id, secret = os.environ.get(ENV_ID, ""), os.environ.get(ENV_SECRET, "")
    if not key_id or not secret:
        raise SlsFailure(
            f"no credentials: give `access_key_id` and `access_key_secret`, or set {ENV_ID} and {ENV_SECRET}, "
            "or name your own with `credentials: module:name`"
        )
    return _static(key_id, secret, os.environ.get(ENV_TOKEN, ""))


def expire(provider: Provider) -> bool:
    """Ask for new credentials before the next request; False where there cannot be any."""
    if not isinstance(provider, OwnProvider):
        return False
    provider.expire()
    return True


def _static(key_id: str, secret: str, token: str) -> Provider:
    from aliyun.log.credentials import StaticCredentialsProvider

    provider: Provider = StaticCredentialsProvider(key_id, secret, token)
    return provider


def _own_provider(name: str) -> Provider:
    module_name, _, path = name.partition(":")
    try:
        found: Any = import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise SlsFailure(f"`credentials: {name}` cannot be loaded: {error}") from error
    if isinstance(found, type):
        found = found()
    if hasattr(found, "get_credentials"):
        return OwnProvider(name, found.get_credentials, keep=0.0)
    if callable(found):
        return OwnProvider(name, found, keep=_KEEP_SECONDS)
    raise SlsFailure(f"`credentials: {name}` is neither a function nor an object with get_credentials()")


def _as_credentials(name: str, made: Any) -> Any:
    from aliyun.log.credentials import Credentials

    if hasattr(made, "get_access_key_id"):
        return made
    if isinstance(made, tuple | list) and len(made) in (2, 3):
        return Credentials(*made)
    raise SlsFailure(
        f"`credentials: {name}` gave {type(made).__name__}; it must give (id, secret) or (id, secret, token)"
    )
