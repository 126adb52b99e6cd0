"""``pytest tests/chaos --seeds N [--first-seed S]``: how many random pipelines are run, and from which seed on."""

from __future__ import annotations

import os

import pytest

FEW, MANY = 3, 20


def pytest_addoption(parser: pytest.Parser) -> None:
    default = MANY if os.environ.get("CI") == "true" else FEW
    parser.addoption("--seeds", type=int, default=default, help="chaos: how many seeds (3; 20 where CI=true)")
    parser.addoption("--first-seed", type=int, default=0, help="chaos: the first seed; a failing one is replayed so")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        # Where the whole suite is run, this file is loaded too late for its options to be read.
        first = getattr(metafunc.config.option, "first_seed", 0)
        count = getattr(metafunc.config.option, "seeds", MANY if os.environ.get("CI") == "true" else FEW)
        metafunc.parametrize("seed", range(first, first + count))
