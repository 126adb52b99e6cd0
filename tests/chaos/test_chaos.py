"""Random pipelines under random disasters: nothing lost, nothing repeated without a cause, every report balances."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.oracle import Broken
from tests.chaos.scene import play, replay


def test_a_random_pipeline_keeps_its_promises(seed: int, tmp_path: Path) -> None:
    try:
        play(seed, tmp_path)
    except Broken as error:
        broken = str(error)
    else:
        return
    pytest.fail(f"replay with: {replay(seed)}\n{broken}", pytrace=False)
