"""The fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from etlcore_sls.emulator import Emulator

from .support import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store without a logstore: the test says how many shards. All runs are ended after the test."""
    with Emulator() as emulator:
        store = Store(emulator, tmp_path)
        yield store
        emulator.control.clear_faults()
        store.close()
