"""``pytest [tests/chaos] --seeds N [--first-seed S]``: how many random pipelines are run, and from which seed on.

The options themselves are in ``tests/conftest.py``.
"""

from __future__ import annotations

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        first: int = metafunc.config.getoption("--first-seed")
        count: int = metafunc.config.getoption("--seeds")
        metafunc.parametrize("seed", range(first, first + count))
