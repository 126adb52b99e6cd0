"""Fixtures: an emulator in this process over real HTTP, and the unmodified SDK in front of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aliyun.log import LogClient
from etlcore_sls.emulator import AccessKey, Emulator
from etlcore_sls.pytest_plugin import EmulatorFactory

PROJECT, LOGSTORE = "shop", "access"

ClientFactory = Callable[..., LogClient]


@pytest.fixture
def emulator(sls_emulator_factory: EmulatorFactory) -> Emulator:
    """An emulator with project ``shop`` and in it the logstore ``access`` of four shards."""
    emulator = sls_emulator_factory()
    emulator.control.create(PROJECT, LOGSTORE, shards=4)
    return emulator


@pytest.fixture
def make_client(emulator: Emulator) -> ClientFactory:
    """Make SDK clients of the emulator: ``make_client(key=…, version="v1"|"v4", endpoint=…)``."""

    def make(key: AccessKey | None = None, version: str = "v1", emulator: Emulator = emulator) -> LogClient:
        key = key or emulator.key
        token = key.security_token or None
        client = LogClient(
            emulator.endpoint, key.access_key_id, key.secret, token, "10.0.0.1", auth_version=version, region="cn-test"
        )
        client._isRowIp = True  # the project goes to the Host header, the address stays as it is
        return client

    return make


@pytest.fixture
def client(make_client: ClientFactory) -> LogClient:
    return make_client()
