"""The environment for a pytest that a test starts: that of the tests, without what it says of the tests' own run."""

from __future__ import annotations

import os


def for_another_pytest() -> dict[str, str]:
    """The process's environment without pytest's variables, such as PYTEST_ADDOPTS."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
