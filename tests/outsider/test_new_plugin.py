"""From nothing to a proven plugin: `etl new plugin demo` in a fresh environment, installed, tested and run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.outsider.test_outsider import CLEAN, environment, run

__all__ = ["environment"]


def test_a_new_plugin_is_green_out_of_the_box(
    environment: Path, tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    def step(*command: object, cwd: Path = tmp_path) -> str:
        began = time.monotonic()
        done = run(environment / str(command[0]), *command[1:], cwd=cwd, env=CLEAN, timeout=600)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        seconds = time.monotonic() - began
        record_property(f"seconds of {' '.join(map(str, command[:2]))}", round(seconds, 1))
        print(f"{seconds:6.1f} s  {' '.join(map(str, command))}")  # noqa: T201 - the timing is what is asked for
        return str(done.stdout)

    step("etl", "new", "plugin", "demo")
    package = tmp_path / "demo-etl"
    step("pip", "install", "--quiet", "-e", ".", "pytest", cwd=package)
    tested = step("pytest", "-q", cwd=package)
    assert " passed" in tested
    assert "failed" not in tested
    assert "demo-etl 0.1.0: healthy" in step("etl", "plugins", "--check", cwd=package)
    step("etl", "run", "--quiet", "pipelines/demo.yaml", cwd=package)
    assert (package / "pipelines" / "demo.db").exists()
