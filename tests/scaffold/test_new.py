"""`etl new`: what it writes is whole and in order, and what is there already is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from etlcore.plugins.records import KINDS, Kind
from etlcore.plugins.written import read
from etlcore.scaffold import plugin_files
from etlcore.spec import load

ETL = str(Path(sys.executable).with_name("etl"))
ALL = [kinds for size in (1, 2, 3) for kinds in combinations(KINDS, size)]


def etl(directory: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ETL, *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environ},
    )


@pytest.mark.parametrize("kinds", ALL, ids="-".join)
def test_a_package_has_what_was_asked_for_and_nothing_else(kinds: tuple[Kind, ...]) -> None:
    files = plugin_files("my-db", kinds)
    modules = {path.rpartition("/")[2] for path in files if path.startswith("src/")}
    assert modules == {"__init__.py", *(f"{kind}.py" for kind in kinds)}
    for path, text in files.items():
        assert "@" not in text.replace("@hookimpl", "").replace("actions/checkout@v4", "").replace("python@v5", ""), (
            path
        )
        assert text.endswith("\n")
        assert not text.endswith("\n\n")
        assert "\n\n\n\n" not in text
        if path.endswith(".py"):
            compile(text, path, "exec")
    project = tomllib.loads(files["pyproject.toml"])
    assert project["project"]["entry-points"]["etlcore"] == {"my-db": "my_db_etl"}
    assert yaml.safe_load(files[".github/workflows/test.yml"])["jobs"]
    assert files["tests/test_contract.py"].count("\nclass Test") == len(kinds)
    for kind in KINDS:
        assert (f"{kind.capitalize()}Contract" in files["tests/test_contract.py"]) == (kind in kinds)
        assert (f"`{kind}: my-db." in files["README.md"]) == (kind in kinds)


@pytest.mark.parametrize("kinds", ALL, ids="-".join)
def test_it_runs_as_it_stands(tmp_path: Path, kinds: tuple[Kind, ...]) -> None:
    written = etl(tmp_path, "new", "plugin", "demo", *(f"--{kind}" for kind in kinds))
    assert written.returncode == 0, written.stderr
    package = tmp_path / "demo-etl"
    assert written.stdout.splitlines() == [
        str(path.relative_to(tmp_path)) for path in map(Path, [tmp_path / line for line in written.stdout.splitlines()])
    ]
    site = package / "src"
    info = site / "demo_etl-0.1.0.dist-info"  # as an installation leaves it; tests/outsider has pip do it
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: demo-etl\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[etlcore]\ndemo = demo_etl\n")

    ran = etl(tmp_path, "run", "--quiet", "demo-etl/pipelines/demo.yaml", PYTHONPATH=str(site))
    assert (ran.returncode, ran.stderr) == (0, "")
    if "sink" not in kinds:
        assert ran.stdout.count("\n") == 1000
        assert ("NUMBER" in ran.stdout) == ("transform" in kinds)
    listed = etl(tmp_path, "plugins", "--check", PYTHONPATH=str(site))
    assert "demo-etl 0.1.0: healthy" in listed.stdout


def test_its_records_can_be_read_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "records.py").write_text(plugin_files("demo", KINDS)["src/demo_etl/__init__.py"])
    monkeypatch.syspath_prepend(str(tmp_path))
    found = read("records")
    assert (len(found.records), found.complete) == (3, True)


def test_a_pipeline_that_runs_with_tests_that_pass(tmp_path: Path) -> None:
    assert etl(tmp_path, "new", "pipeline", "demo").stdout == "demo.yaml\n"
    ran = etl(tmp_path, "run", "--quiet", "demo.yaml")
    assert (ran.returncode, ran.stderr, ran.stdout.count("\n")) == (0, "", 10)
    tested = etl(tmp_path, "test", "demo.yaml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_a_pipeline_of_named_components(tmp_path: Path) -> None:
    parts = ["--source", "generate", "--source", "files", "--transform", "parse_uri", "--transform", "filter"]
    written = etl(tmp_path, "new", "pipeline", "p", *parts, "--sink", "console", "--sink", "files")
    assert written.returncode == 0, written.stderr
    stages = yaml.safe_load((tmp_path / "p.yaml").read_text())["stages"]
    assert {name: stage.get("from") for name, stage in stages.items()} == {
        "input": None,
        "input_2": None,
        "parse_uri": ["input", "input_2"],
        "filter": None,
        "output": None,
        "output_2": "filter",
    }
    needed = etl(tmp_path, "check", "p.yaml")
    assert "the environment variable INPUT_2_PATH is not set" in needed.stderr
    environ = {"INPUT_2_PATH": "in.jsonl", "FILTER_WHERE": "path == '/'", "OUTPUT_2_PATH": "out.jsonl"}
    assert etl(tmp_path, "check", "p.yaml", **environ).returncode == 0


@pytest.mark.parametrize(
    ("name", "file"), [("null", "null.yaml"), ("12", "12.yaml"), ("two words", "'two words.yaml'"), ("x.yml", "x.yaml")]
)
def test_a_pipeline_of_an_odd_name(tmp_path: Path, name: str, file: str) -> None:
    assert etl(tmp_path, "new", "pipeline", name).returncode == 0
    (written,) = tmp_path.iterdir()
    assert f"# etl run {file} " in written.read_text()
    assert load(written).name == written.stem


def test_an_option_whose_name_no_variable_can_have(tmp_path: Path, site: Any) -> None:
    site.install(
        "odd-etl",
        "1",
        {"odd": "odd_etl"},
        {
            "odd_etl.py": """
            from etlcore import Component, Sink, hookimpl
            from pydantic import BaseModel, Field

            class Out(Sink):
                class Config(BaseModel):
                    größe: int = Field(description="How large: # it is.\\n\\nNot more.")
                def write(self, batch): pass

            @hookimpl
            def etl_components():
                yield Component("odd", "sink", "odd_etl:Out")
            """
        },
    )
    environ = {"PYTHONPATH": str(site.path)}
    assert etl(tmp_path, "new", "pipeline", "p", "--sink", "odd", **environ).returncode == 0
    assert "OUTPUT_GR_" in etl(tmp_path, "check", "p.yaml", **environ).stderr
    assert etl(tmp_path, "check", "p.yaml", OUTPUT_GR__E="5", **environ).returncode == 0


def test_nothing_is_left_of_a_package_that_cannot_be_written_to_its_end(tmp_path: Path) -> None:
    limited = 'ulimit -f 1; trap "" XFSZ; exec "$0" new plugin demo'  # as on a full disk: no file beyond 1 KiB
    done = subprocess.run(
        ["bash", "-c", limited, ETL], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 74
    assert list(tmp_path.iterdir()) == []


def test_what_is_left_out_is_filled_in(tmp_path: Path) -> None:
    assert etl(tmp_path, "new", "pipeline", "p.yaml", "--transform", "parse_uri", "-d", "sub/dir").returncode == 0
    assert etl(tmp_path, "check", "sub/dir/p.yaml").stdout == "sub/dir/p.yaml: ok (3 stages)\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plugin", "Demo"], "'Demo' is no name for a plugin\n  -> use small letters"),
        (["plugin", "select"], "the name `select` is taken: etlcore "),
        (["pipeline", "../x"], "'../x' is no name for a pipeline"),
        (["pipeline", "x", "--source", "generat"], "did you mean `generate`?"),
        (["pipeline", "x", "--sink", "generate"], "`generate` is a source, not a sink"),
        (["pipeline", "there"], "there.yaml is there already\n  -> choose another name"),
        (["plugin", "mine"], "pyproject.toml is there already"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "there.yaml").write_text("mine")
    (tmp_path / "mine-etl").mkdir()
    (tmp_path / "mine-etl" / "pyproject.toml").write_text("mine")
    before = sorted(path for path in tmp_path.rglob("*"))
    done = etl(tmp_path, "new", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert sorted(path for path in tmp_path.rglob("*")) == before
    assert (tmp_path / "there.yaml").read_text() == "mine"


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = etl(tmp_path, "new", "plugin", "demo", "-d", "file/below")
    assert done.returncode == 74
    assert "file/below" in done.stderr
    assert "Traceback" not in done.stderr
