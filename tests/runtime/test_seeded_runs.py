"""Whole runs under the scheduler: small graphs, many seeds, one oracle (`tests.runtime.lab.Lab.check`).

Each test goes through a block of seeds; a failure says which seed it was, and `run_seed` repeats it. How
many there are, `tests.runtime.effort` says.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from etlcore.state import StateStore
from tests.runtime.effort import seeds
from tests.runtime.lab import run_seed
from tests.runtime.plans import PLANS, broken, random_plan

BLOCKS = [seeds(100)[start : start + 25] for start in range(0, len(seeds(100)), 25)]
SURPRISES = [seeds(40)[start : start + 20] for start in range(0, len(seeds(40)), 20)]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """A thousand runs with stages that fail have much to say."""
    logger = logging.getLogger("etlcore")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


@pytest.mark.parametrize("name", PLANS)
def test_a_run_drains_whatever_the_interleaving(name: str, store: StateStore) -> None:
    for seed in seeds(6):
        run_seed(PLANS[name], seed, store)


@pytest.mark.parametrize("name", PLANS)
def test_a_stopped_run_drains_and_the_next_one_goes_on_behind_it(name: str, store: StateStore) -> None:
    for seed in seeds(4):
        run_seed(PLANS[name], seed, store, stops=1, again=True)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_random_graphs_that_are_stopped(block: range, store: StateStore) -> None:
    for seed in block:
        run_seed(random_plan(seed), seed, store, stops=seed % 2, again=True)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_random_graphs_that_are_abandoned(block: range, store: StateStore) -> None:
    for seed in block:
        run_seed(random_plan(seed), seed, store, stops=2, aborts=True, again=True)


def test_a_bad_row_is_buried_again_when_its_transaction_was_abandoned(store: StateStore) -> None:
    """The first run ends between the dead letter and the transaction that would have passed its position."""
    plan = random_plan(31378)
    [sink] = [do.name for do in plan.stages if do.transactional]
    first = run_seed(plan, 31378, store, stops=2, aborts=True, again=True)
    beyond = [key for stage, key in first.buried() if stage == sink and key[1] >= first.committed.get(key[0], 0)]
    assert beyond, "the seed does not show it any more"


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_random_graphs_in_which_a_stage_fails(block: range, store: StateStore) -> None:
    for seed in block:
        run_seed(broken(random_plan(seed), seed), seed, store, stops=seed % 2, again=True)


@pytest.mark.parametrize("block", SURPRISES, ids=str)
def test_timeouts_that_come_early_and_waits_that_end_for_no_reason(block: range, store: StateStore) -> None:
    for seed in block:
        run_seed(random_plan(seed), seed, store, stops=seed % 3, aborts=True, again=True, surprises=0.02)


@pytest.mark.parametrize("name", ["diamond", "ordered", "keyed", "a buffer"])
def test_workers_that_are_interrupted_at_any_line(name: str, store: StateStore) -> None:
    for seed in seeds(3):
        run_seed(PLANS[name], seed, store, stops=seed % 3, aborts=True, again=True, lines=True)
        run_seed(broken(PLANS[name], seed), seed, store, name="broken", lines=True)
