"""pytest fixtures for whoever tests against SLS. Importing this costs nothing; the emulator is loaded when asked for.

def test_my_stage(sls_emulator) -> None:
    sls_emulator.control.put("demo", "logs", [{"request_uri": "/"}])      # a logstore with two shards
    client = LogClient(sls_emulator.endpoint, sls_emulator.key.access_key_id, sls_emulator.key.secret)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from etlcore_sls.emulator import Emulator

EmulatorFactory = Callable[..., "Emulator"]


@pytest.fixture
def sls_emulator_factory() -> Iterator[EmulatorFactory]:
    """Start emulators, each with the ``Settings`` fields that it is called with; all are closed after the test."""
    from etlcore_sls.emulator import Emulator, Settings

    started: list[Emulator] = []

    def start(**settings: object) -> Emulator:
        emulator = Emulator(Settings(**settings))  # type: ignore[arg-type]
        started.append(emulator)
        return emulator

    yield start
    for emulator in reversed(started):
        emulator.close()


@pytest.fixture
def sls_emulator(sls_emulator_factory: EmulatorFactory) -> Emulator:
    """A running emulator in memory, on loopback, with project ``demo`` and in it an empty logstore ``logs``."""
    emulator = sls_emulator_factory()
    emulator.control.create("demo", "logs", shards=2)
    return emulator
