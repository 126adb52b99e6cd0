"""How much the tests of the runtime try: few seeds by default, so that they take seconds, and as many as you like.

``ETLCORE_TEST_EFFORT=20 pytest tests/runtime`` tries twenty times as many seeds and examples;
``ETLCORE_TEST_SEED=5000`` begins at another seed.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

EFFORT = max(1, int(os.environ.get("ETLCORE_TEST_EFFORT", "1")))
FIRST_SEED = int(os.environ.get("ETLCORE_TEST_SEED", "0"))


def seeds(count: int) -> range:
    """So many seeds at the least effort."""
    return range(FIRST_SEED, FIRST_SEED + count * EFFORT)


def examples(count: int, steps: int = 30) -> settings:
    """So many examples of a state machine at the least effort, each of up to ``steps`` steps.

    How long a step takes is no matter: nothing is asserted on time.
    """
    return settings(
        max_examples=count * EFFORT,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def one_failure(count: int, steps: int = 30) -> settings:
    """As `examples`, for a test that must fail: the first failure will do, and is not remembered."""
    return settings(
        examples(count, steps), phases=(Phase.generate,), database=None, report_multiple_bugs=False, derandomize=True
    )
