"""`etl test`, as a process: what it prints and writes, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

ETL = Path(sys.executable).with_name("etl")
SECRET = "hunter2-and-more"
GOOD = """
stages:
  numbers: {source: generate}
  wanted: {transform: filter, with: {where: n > 1}}
  out: {sink: console}
tests:
  two is wanted: {given: {numbers: [{n: 1}, {n: 2}]}, expect: {out: [{n: 2}]}}
"""
BAD = GOOD + "  so is one: {given: {numbers: [{n: 1}, {n: 2}]}, expect: {out: [{n: 1}, {n: 2}]}}\n"
LEAKY = """
    from pydantic import BaseModel, SecretStr

    from etlcore import Component, RowTransform, hookimpl


    class Leak(RowTransform):
        class Config(BaseModel):
            password: SecretStr

        def map(self, row):
            password = self.config.password.get_secret_value()
            print("printed")
            if row["n"] == 2:
                raise ValueError(f"cannot log in with {password}")
            return {**row, "password": password}


    @hookimpl
    def etl_components():
        yield Component("leaky", kind="transform", target="leaky:Leak")
"""
LEAKING = """
plugins: [./leaky.py]
stages:
  numbers: {source: generate}
  leak: {transform: leaky, with: {password: "${PASSWORD}"}}
  out: {sink: console}
tests:
  a row: {given: {numbers: [{n: 1}]}, expect: {out: []}}
  an error: {given: {numbers: [{n: 2}]}, expect: {out: []}}
  another: {given: {numbers: [{n: 1}]}, expect: {out: []}, environ: {PASSWORD: other-than-hunter}}
"""


def etl(directory: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [ETL, "test", *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=120, **options)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name, text in (("good.yaml", GOOD), ("bad.yaml", BAD), ("none.yaml", GOOD.partition("tests:")[0])):
        (tmp_path / name).write_text(text)
    (tmp_path / "wrong.yaml").write_text(GOOD.replace("filter", "fliter"))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code", "printed", "told"),
    [
        (["good.yaml"], 0, ["good.yaml", "  ok      two is wanted (", "1 test: passed, "], ""),
        (
            ["bad.yaml"],
            1,
            ["  FAILED  so is one (", "bad.yaml:8:3", '      -{"n":1}', "2 tests: 1 failed, 1 passed"],
            "",
        ),
        (["bad.yaml", "--only", "TWO"], 0, ["1 test: passed"], ""),
        (["good.yaml", "none.yaml"], 0, ["none.yaml: no tests", "1 test: passed"], ""),
        (["none.yaml"], 2, [], "there are no tests in none.yaml\n  -> write some, like"),
        (["none.yaml", "none.yaml"], 2, ["none.yaml: no tests"], "there are no tests in none.yaml, none.yaml"),
        (["good.yaml", "--only", "three"], 2, [], "no test has `three` in its name\n  -> the tests are: two is wanted"),
        (["wrong.yaml", "bad.yaml"], 2, ["2 tests: 1 failed"], "wrong.yaml:4:23: no plugin named `fliter`"),
        (["missing.yaml"], 2, [], "missing.yaml: cannot be read"),
        (["good.yaml", "--junit", "no/such.xml"], 2, [], "--junit: the directory no does not exist"),
        ([], 2, [], "Missing argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_it_says_and_how_it_ends(
    place: Path, arguments: list[str], code: int, printed: list[str], told: str
) -> None:
    done = etl(place, *arguments)
    assert done.returncode == code, done
    assert [text for text in printed if text not in done.stdout] == []
    assert told in done.stderr
    assert bool(done.stderr) == bool(told)
    assert "Traceback" not in done.stderr
    assert sorted(file.name for file in place.iterdir()) == ["bad.yaml", "good.yaml", "none.yaml", "wrong.yaml"]


def test_the_example_that_it_gives_is_one(place: Path) -> None:
    example = etl(place, "none.yaml").stderr.partition("like\n")[2]
    with (place / "none.yaml").open("a") as file:
        file.write(textwrap.dedent(example).replace("id: 1", "n: 2"))
    assert etl(place, "none.yaml").returncode == 0


def test_junit(place: Path) -> None:
    (place / "strange.yaml").write_text(
        BAD.replace("so is one", r'"a <b> & \"c\" \b"').replace("expect: {out: [{n: 1}", r'expect: {out: [{n: "\e"}')
    )
    assert etl(place, "good.yaml", "strange.yaml", "--junit", "results.xml").returncode == 1
    root = ElementTree.parse(place / "results.xml").getroot()
    assert (root.tag, root.get("tests"), root.get("failures"), root.get("errors")) == ("testsuites", "3", "1", "0")
    assert [(suite.get("name"), suite.get("failures")) for suite in root] == [("good.yaml", "0"), ("strange.yaml", "1")]
    case = root[1][1]
    assert (case.get("name"), case.get("line")) == ('a <b> & "c" \N{REPLACEMENT CHARACTER}', "8")
    assert float(case.get("time") or "") > 0
    assert '-{"n":"\\u001b"}' in (case[0].text or "")


def test_json_with_coverage(place: Path) -> None:
    done = etl(place, "good.yaml", "bad.yaml", "--json", "--coverage")
    found = json.loads(done.stdout)
    assert (found["tests"], found["failed"]) == (3, 1)
    good, bad = found["files"]
    assert (good["file"], good["coverage"]["reached"], good["coverage"]["of"]) == ("good.yaml", 3, 3)
    assert [(test["name"], test["passed"]) for test in bad["tests"]] == [("two is wanted", True), ("so is one", False)]
    assert bad["tests"][1]["differences"][0]["diff"] == ['-{"n":1}', ' {"n":2}']


def test_coverage_as_a_table(place: Path) -> None:
    (place / "good.yaml").write_text(GOOD.replace("given: {numbers:", "given: {out:").replace("{n: 1}, ", ""))
    done = etl(place, "good.yaml", "--coverage")
    assert done.returncode == 0, done
    assert [" ".join(line.split()) for line in done.stdout.splitlines()[2:7]] == [
        "reached: 1 of 3 stages and outputs",
        "stage tests in out dead",
        "numbers 0 - 0 - no test gives it rows",
        "wanted 0 0 0 0 no row comes to it",
        "out 1 1 - -",
    ]
    assert "dead letters of no test: wanted" in done.stdout


def test_secrets_are_shown_nowhere_and_what_stages_print_does_not_mix_with_results(tmp_path: Path) -> None:
    (tmp_path / "leaky.py").write_text(textwrap.dedent(LEAKY))
    (tmp_path / "p.yaml").write_text(LEAKING)
    options = {"env": {"PASSWORD": SECRET}}
    text = etl(tmp_path, "p.yaml", "--junit", "results.xml", **options)
    data = etl(tmp_path, "p.yaml", "--json", **options)
    assert text.returncode == data.returncode == 1
    written = (tmp_path / "results.xml").read_text()
    for output in (text.stdout + text.stderr, data.stdout + data.stderr, written):
        assert SECRET not in output
        assert "other-than-hunter" not in output
        assert "********" in output
    assert "printed" not in text.stdout
    assert text.stderr.count("printed") == 3
    assert len(json.loads(data.stdout)["files"][0]["tests"]) == 3
    assert "cannot log in with ********" in text.stdout
    assert 'raise ValueError(f"cannot log in' in text.stdout, "the traceback is shown"


def test_nothing_heavy_is_imported_for_the_help() -> None:
    code = (
        "import sys; from etlcore.cli import main; main(['test', '--help']);"
        " print(sorted({'pyarrow', 'pydantic', 'sqlite3', 'etlcore.trial'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done
