"""A test of the chaos run itself: with a runtime that is broken on purpose, it must find a broken promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.oracle import Broken
from tests.chaos.scene import play

SEEDS = 15
"""Within so many seeds, which begin where one is known that finds it on most machines."""


@pytest.mark.parametrize(
    ("mutation", "first"),
    [
        ("commit_early", 0),
        ("settle_on_exception", 0),
        ("drop_a_receipt_at_fan_in", 0),
        ("close_a_channel_one_sender_early", 0),
        ("lose_the_flush", 0),
    ],
)
def test_a_broken_runtime_is_found_out(mutation: str, first: int, tmp_path: Path) -> None:
    for seed in range(first, first + SEEDS):
        try:
            play(seed, tmp_path / str(seed), mutation=mutation)
        except Broken as broken:
            print(f"{mutation}: seed {seed}: {str(broken).splitlines()[0]}")  # noqa: T201 - shown with -rP
            return
    pytest.fail(f"nobody noticed {mutation} in {SEEDS} seeds")
