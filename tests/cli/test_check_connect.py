"""`etl check --connect`: every source and sink is opened, nothing is read, written or left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ETL = str(Path(sys.executable).with_name("etl"))

PLUGIN = """
    from etlcore import Component, hookimpl

    @hookimpl
    def etl_components():
        yield Component("probe.in", "source", "probe_stages:In")
        yield Component("probe.t", "transform", "probe_stages:Never")
        yield Component("probe.out", "sink", "probe_stages:Out")
        yield Component("probe.looks", "sink", "probe_stages:Looks")
"""
STAGES = """
    import threading
    from etlcore import Sink, Source, Transform
    from pydantic import BaseModel, SecretStr

    def note(text):
        with open("told", "a") as file:
            file.write(text + "\\n")

    class In(Source):
        class Config(BaseModel):
            password: SecretStr = SecretStr("")
            hang: bool = False

        def open(self, context):
            note("in open")
            if self.config.hang:
                threading.Event().wait()
            if self.config.password.get_secret_value():
                raise ConnectionError("refused " + self.config.password.get_secret_value())

        def read(self):
            note("in read")
            yield None

        def close(self):
            note("in close")

    class Never(Transform):
        def open(self, context):
            note("t open")

        def process(self, batch):
            return batch

    class Out(Sink):
        def open(self, context):
            note("out open")

        def write(self, batch):
            note("out write")

    class Looks(Out):
        def probe(self):
            note("looks probe")
"""


@pytest.fixture
def place(site: Any, tmp_path: Path) -> Any:
    site.install("probe-etl", "1.0", {"probe": "probe_etl"}, {"probe_etl.py": PLUGIN, "probe_stages.py": STAGES})
    directory = tmp_path / "place"
    directory.mkdir()

    def check(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        (directory / "p.yaml").write_text(text, encoding="utf-8")
        return subprocess.run(
            [ETL, "check", "--connect", *arguments, "p.yaml"],
            cwd=directory,
            env=site.environ(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    check.directory = directory  # type: ignore[attr-defined]
    return check


def told(place: Any) -> list[str]:
    return sorted((place.directory / "told").read_text().splitlines())


def test_sources_and_sinks_are_opened_and_closed(place: Any) -> None:
    done = place("stages: {a: {source: probe.in}, t: {transform: probe.t}, b: {sink: probe.out}}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "p.yaml: ok (3 stages)\n  a  source probe.in: ok\n  b  sink probe.out: ok\n"
    assert told(place) == ["in close", "in open", "out open"]
    assert sorted(os.listdir(place.directory)) == ["p.yaml", "told"]


def test_a_component_may_look_instead(place: Any) -> None:
    assert place("stages: {a: {source: probe.in}, b: {sink: probe.looks}}").returncode == 0
    assert told(place) == ["in close", "in open", "looks probe"]


def test_what_cannot_be_opened_is_said_without_secrets(place: Any) -> None:
    done = place("stages: {a: {source: probe.in, with: {password: hunter22}}, b: {sink: probe.out}}")
    assert done.returncode == 1
    assert done.stdout == "p.yaml: ok (2 stages)\n  b  sink probe.out: ok\n"
    assert done.stderr == "  a  source probe.in: ConnectionError: refused ********\n"


def test_one_that_hangs_is_given_up(place: Any) -> None:
    done = place("stages: {a: {source: probe.in, with: {hang: true}}, b: {sink: probe.out}}", "--timeout", "3")
    assert done.returncode == 1
    assert done.stderr == "  a  source probe.in: no answer in 3 s\n"


def test_a_file_that_is_wrong_is_not_connected(place: Any) -> None:
    done = place("stages: {a: {source: probe.in, wrokers: 1}, b: {sink: probe.out}}")
    assert (done.returncode, done.stdout) == (2, "")
    assert not (place.directory / "told").exists()


@pytest.mark.parametrize(
    ("sink", "message"),
    [
        ("{sink: files, with: {path: out.jsonl, mode: overwrite}}", None),
        ("{sink: files, with: {path: new/out/}}", None),
        ("{sink: files, with: {path: p.yaml/out.jsonl}}", "p.yaml is no directory"),
        ("{sink: files, with: {path: there/}}", None),
        ("{sink: files, with: {path: there}}", "there is not a regular file"),
        ("{sink: sqlite, with: {path: new.db, table: t}}", None),
        ("{sink: sqlite, with: {path: out.jsonl, table: t}}", "out.jsonl cannot be used: file is not a database"),
    ],
)
def test_the_built_in_sinks_make_nothing(place: Any, sink: str, message: str | None) -> None:
    (place.directory / "out.jsonl").write_text('{"kept": true}\n')
    (place.directory / "there").mkdir()
    done = place(f"stages: {{a: {{source: generate}}, b: {sink}}}")
    assert done.returncode == (0 if message is None else 1)
    assert (message or "") in done.stderr
    assert sorted(os.listdir(place.directory)) == ["out.jsonl", "p.yaml", "there"]
    assert (place.directory / "out.jsonl").read_text() == '{"kept": true}\n'
