"""What tests of several rooms share."""

from __future__ import annotations

import importlib
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Here and not in ``tests/chaos``: options of a directory further down are unknown where the whole suite is run."""
    default = 20 if os.environ.get("CI") == "true" else 3
    parser.addoption("--seeds", type=int, default=default, help="chaos: how many seeds (3; 20 where CI=true)")
    parser.addoption("--first-seed", type=int, default=0, help="chaos: the first seed; a failing one is replayed so")


@dataclass(frozen=True)
class Site:
    """A directory of installed distributions, as pip leaves them: modules, and metadata beside them."""

    path: Path

    def install(
        self, name: str, version: str, entry_points: Mapping[str, str], modules: Mapping[str, str] | None = None
    ) -> None:
        """Put a distribution there; ``modules`` maps file names to their text."""
        info = self.path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        points = "".join(f"{key} = {value}\n" for key, value in entry_points.items())
        (info / "entry_points.txt").write_text(f"[etlcore]\n{points}")
        for file, text in (modules or {}).items():
            target = self.path / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(textwrap.dedent(text))
        importlib.invalidate_caches()

    def environ(self) -> dict[str, str]:
        """An environment in which a child process has the distributions too."""
        return {**os.environ, "PYTHONPATH": str(self.path)}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Installed distributions of the test's own, found by this process; gone afterwards."""
    path = tmp_path / "site"
    path.mkdir()
    monkeypatch.syspath_prepend(str(path))
    yield Site(path)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(path)):
            del sys.modules[name]
