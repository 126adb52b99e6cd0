"""How the source and the sink come to their service: where it is, what to sign with, and waiting until it answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from etlcore import Context
from etlcore_sls.connection import ConnectionConfig
from etlcore_sls.endpoint import EMULATOR, Endpoint, parse_endpoint
from etlcore_sls.errors import SlsError, SlsFailure

if TYPE_CHECKING:
    from etlcore_sls.local import LocalEmulator

T = TypeVar("T")

_PATIENCE_SECONDS = 10.0


def find_service(
    connection: ConnectionConfig,
    context: Context,
    closing: list[Callable[[], None]],
    prepare: Callable[[LocalEmulator], None] | None = None,
) -> tuple[Endpoint, Any]:
    """Where the service is and what to sign requests with; starts the emulator if that is what was asked for.

    What must be closed in the end is added to ``closing``. ``prepare`` is called with the emulator, where there is one.
    Raises SlsFailure when there are no credentials.
    """
    from etlcore_sls.credentials import make_provider

    if connection.endpoint != EMULATOR:
        return parse_endpoint(connection.endpoint), make_provider(connection)
    from aliyun.log.credentials import StaticCredentialsProvider

    from etlcore_sls.local import LocalEmulator

    emulator = LocalEmulator(context.state_directory)
    closing.append(emulator.close)
    if prepare is not None:
        prepare(emulator)
    return parse_endpoint(emulator.endpoint), StaticCredentialsProvider(emulator.access_key_id, emulator.secret)


def until_ready(
    connection: ConnectionConfig, context: Context, call: Callable[[], T], patience: float = _PATIENCE_SECONDS
) -> T:
    """What a call gives, tried again for ``patience`` seconds while the service is not to be reached.

    Raises SlsFailure; at once where trying again is of no use, and after a stop.
    """
    give_up = time.monotonic() + patience
    wait = 0.2
    where = f"{connection.project}/{connection.logstore} at {connection.endpoint}"
    told = False
    while True:
        try:
            return call()
        except SlsError as error:
            late = time.monotonic() + wait > give_up
            if not error.is_transient or late or context.stopping.is_set():
                raise SlsFailure(f"cannot use the logstore {where}: {error}") from error
            if not told:
                context.log.warning("cannot reach %s yet, trying for %.0f s: %s", where, patience, error)
                told = True
        context.stopping.wait(wait)
        wait = min(2.0, wait * 2)
