"""A test of the chaos run itself: with a runtime that is broken on purpose, it must find a broken promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.oracle import Broken
from tests.chaos.scene import play

SEEDS = 15
"""Within so many seeds, which begin where one is known that finds it on most machines."""


@pytest.mark.parametrize(
    ("mutation", "first", "breaks"),
    [
        ("commit_early", 0, ""),
        ("settle_on_exception", 0, ""),
        ("drop_a_receipt_at_fan_in", 0, ""),
        ("close_a_channel_one_sender_early", 0, ""),
        ("lose_the_flush", 0, ""),
        ("write_rows_without_their_positions", 2, "where each counts once"),
    ],
)
def test_a_broken_runtime_is_found_out(mutation: str, first: int, breaks: str, tmp_path: Path) -> None:
    """``breaks``: the promise that it breaks; with anything else it would have been found by chance."""
    for seed in range(first, first + SEEDS):
        try:
            play(seed, tmp_path / str(seed), mutation=mutation)
        except Broken as broken:
            said = str(broken).splitlines()[0]
            print(f"{mutation}: seed {seed}: {said}")  # noqa: T201 - shown with -rP
            assert breaks in said
            return
    pytest.fail(f"nobody noticed {mutation} in {SEEDS} seeds")
