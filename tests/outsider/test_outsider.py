"""A plugin as an outsider writes it: its own distribution, installed by pip into a fresh environment, in a pipeline.

``acme-etl`` is the plugin that the documentation prints, character for character.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]

CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PYTHON", "PYTEST", "VIRTUAL_ENV", "UV_", "ETL"))
}


def run(*command: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment's directory of scripts, with etlcore and acme-etl installed by pip and nothing else."""
    directory = tmp_path_factory.mktemp("outsider")
    run(sys.executable, "-m", "venv", directory / "venv", check=True, env=CLEAN)
    scripts = directory / "venv" / "bin"
    probe = run(scripts / "pip", "download", "--no-deps", "--dest", directory, "hatchling", env=CLEAN)
    if probe.returncode != 0:
        pytest.skip("pip cannot reach a package index")
    shutil.copytree(HERE / "acme-etl", directory / "acme-etl")
    installed = run(scripts / "pip", "install", "--quiet", CHECKOUT, directory / "acme-etl", env=CLEAN)
    assert installed.returncode == 0, installed.stderr
    return scripts


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    return Path(shutil.copy(HERE / "acme.yaml", tmp_path))


def etl(environment: Path, *arguments: Any, **environ: str) -> subprocess.CompletedProcess[str]:
    return run(environment / "etl", *arguments, env={**CLEAN, **environ}, timeout=120)


def test_it_runs_as_printed_and_goes_on_where_it_stopped(environment: Path, pipeline: Path) -> None:
    first = etl(environment, "run", pipeline, UPTO="1050")
    assert first.returncode == 0, first.stderr
    assert [json.loads(line) for line in first.stdout.splitlines()] == [{"n": 2 * n} for n in range(1050)]
    assert "balanced: 1,050 read = 1,050 delivered + 0 filtered + 0 dead-lettered + 0 abandoned" in first.stderr

    again = etl(environment, "run", pipeline, UPTO="1050")
    assert (again.returncode, again.stdout) == (0, ""), again.stderr

    more = etl(environment, "run", pipeline, UPTO="1200")
    assert more.returncode == 0, more.stderr
    assert [json.loads(line)["n"] for line in more.stdout.splitlines()] == [2 * n for n in range(1050, 1200)]


def test_etlcore_is_whole_without_the_other_plugins(environment: Path, pipeline: Path) -> None:
    shown = etl(environment, "--help")
    assert "\n  run " in shown.stdout
    assert "\n  sls " not in shown.stdout
    checked = etl(environment, "check", pipeline)
    assert (checked.returncode, checked.stdout) == (0, f"{pipeline}: ok (3 stages)\n"), checked.stderr
    pipeline.write_text("stages: {logs: {source: sls}, out: {sink: acme.double}}")
    wrong = etl(environment, "check", pipeline)
    assert wrong.returncode == 2
    assert f"{pipeline}:1:25: no plugin named `sls` is installed" in wrong.stderr
    assert "  -> pip install etlcore-sls\n" in wrong.stderr
    assert "`acme.double` is a transform, not a sink" in wrong.stderr
    assert "  -> write `transform: acme.double`\n" in wrong.stderr


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
