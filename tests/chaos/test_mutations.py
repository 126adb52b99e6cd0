"""A test of the chaos run itself: with a runtime that is broken on purpose, it must find a broken promise.

Only pipelines are run in which the fault can show at all, and the scenes are short. And what the oracle says must be
what the fault leads to: a runtime that does not even start would break a promise too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.drawing import Drawing, Node
from tests.chaos.oracle import Broken
from tests.chaos.scene import play

SEEDS = 8
"""Within so many seeds of pipelines in which it can show."""
LOST = "is committed, and not delivered"


@dataclass(frozen=True)
class Fault:
    shows_in: Callable[[Drawing], bool]
    breaks: str
    """What the oracle says of it: a regular expression."""
    scene: dict[str, Any] = field(default_factory=dict)
    """What helps it: see `Scene`."""


def _has(does: str) -> Callable[[Drawing], bool]:
    return lambda drawing: any(node.does == does for node in drawing.nodes)


def _is_slow(node: Node) -> bool:
    return node.does == "slow" and node.settings["workers"] == 1


def _a_slow_stage(drawing: Drawing) -> bool:
    return drawing.exact is None and any(map(_is_slow, drawing.nodes))


def _only_one_is_slow(drawing: Drawing) -> Node | None:
    """The one stage behind which rows pile up, where nothing else holds them back: no other slow one, and no buffer."""
    slow = [node for node in drawing.nodes if node.does in ("slow", "keep")]
    return slow[0] if len(slow) == 1 and _is_slow(slow[0]) else None


def _a_slow_stage_that_joins(drawing: Drawing) -> bool:
    """It takes many rows at once, which come from several stages in smaller batches."""
    node = _only_one_is_slow(drawing)
    if node is None or drawing.exact is not None or node.settings["queue"] < 20 or node.settings["batch"] < 10:
        return False
    arms = [arm for arm in drawing.nodes if arm.name in node.inputs]
    return len(arms) > 1 and all(arm.settings["batch"] < 10 for arm in arms)


def _a_slow_way_and_a_fast_one(drawing: Drawing) -> bool:
    """Into one stage: the fast one is at its end while there are still rows on the slow one."""
    slow = _only_one_is_slow(drawing)
    return slow is not None and any(slow.name in node.inputs and len(node.inputs) > 1 for node in drawing.nodes)


FAULTS = {
    "commit_early": Fault(_a_slow_stage, LOST, {"pause": 0.05, "ends": ["kill"]}),
    "settle_on_exception": Fault(_has("poison"), rf"{LOST}|exit code 4"),
    "drop_a_receipt_at_fan_in": Fault(_a_slow_stage_that_joins, LOST, {"pause": 0.1, "linger": 0.5, "ends": ["kill"]}),
    "close_a_channel_one_sender_early": Fault(_a_slow_way_and_a_fast_one, "exit code 3, not 0", {"last_pause": 0.02}),
    "lose_the_flush": Fault(_has("keep"), LOST),
    "write_rows_without_their_positions": Fault(
        _has("sqlite"), "where each counts once", {"linger": 0.5, "ends": ["kill"]}
    ),
}


def _seeds(fault: Fault) -> Iterator[int]:
    return islice((seed for seed in count() if fault.shows_in(Drawing(seed))), SEEDS)


@pytest.mark.parametrize("mutation", FAULTS)
def test_a_broken_runtime_is_found_out(mutation: str, tmp_path: Path) -> None:
    fault = FAULTS[mutation]
    for seed in _seeds(fault):
        said = _broken(seed, tmp_path / str(seed), mutation=mutation, arguments=("--timeout", "5"), **fault.scene)
        if said is not None:
            print(f"{mutation}: seed {seed}: {said.splitlines()[0]}")  # noqa: T201 - shown with -rP
            assert re.search(fault.breaks, said.splitlines()[0]), f"found for another reason:\n{said}"
            return
    pytest.fail(f"nobody noticed {mutation} in {SEEDS} seeds")


def _broken(seed: int, directory: Path, **options: Any) -> str | None:
    """What the oracle says of a short scene."""
    try:
        play(seed, directory, rounds=1, **options)
    except Broken as broken:
        return str(broken)
    return None
