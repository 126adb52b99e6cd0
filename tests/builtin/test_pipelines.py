"""The built-in stages in real pipelines: `etl` as a process, real files, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from etlcore.state import StateStore

PATIENCE = 120  # seconds: far beyond what any of these takes


class Place:
    """A directory with pipeline files, and `etl` run in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(textwrap.dedent(text))

    def start(self, file: str, **options: Any) -> subprocess.Popen[bytes]:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen([*etl(), "run", file, "--quiet"], cwd=self.path, env=self.environment, **options)

    def run(self, file: str) -> tuple[int, list[dict[str, Any]], str]:
        """The exit code, the rows on standard output, and what stood on standard error."""
        process = self.start(file)
        out, err = process.communicate(timeout=PATIENCE)
        return process.returncode, [json.loads(line) for line in out.splitlines()], err.decode()

    def rows(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / name).read_bytes().splitlines()]


def etl() -> list[str]:
    """The command of this environment, not of another on the path."""
    return [str(Path(sys.executable).with_name("etl"))]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("columnar", ["true", "false"])
def test_made_up_requests_are_parsed_filtered_and_kept(place: Place, columnar: str) -> None:
    place.write(
        "p.yaml",
        f"""
        name: requests
        stages:
          made:
            source: generate
            with:
              rows: 3000
              batch: 100
              columnar: {columnar}
              fields: {{id: "{{id}}", request_uri: "{{choice:/a?x=1|/b%20c?x=2|/%zz}}"}}
          parsed:
            transform: parse_uri
            workers: 3
            with: {{params: [x]}}
          wanted:
            transform: filter
            with: {{where: "x = '2' and id >= 10"}}
          named:
            transform: select
            with: {{columns: {{number: id, where: path}}}}
          out:
            sink: files
            with: {{path: out/kept.jsonl}}
        """,
    )
    code, _, err = place.run("p.yaml")
    assert (code, err) == (0, "")
    kept = place.rows("out/kept.jsonl")
    assert {row["where"] for row in kept} == {"/b c"}
    assert len({row["number"] for row in kept}) == len(kept)
    with StateStore(place.path / ".etl") as state:
        dead = list(state.dead_letters("requests", "parsed"))
    assert {letter.reason for letter in dead} == {"request_uri: bad percent escape '%zz' at character 2"}
    assert 500 < len(kept) < 1500
    assert 500 < len(dead) < 1500
    assert place.run("p.yaml") == (0, [], ""), "nothing is read twice"
    assert place.rows("out/kept.jsonl") == kept


def test_a_closed_reader_stops_the_run_with_one_clear_cause(place: Place) -> None:
    place.write(
        "p.yaml",
        """
        name: piped
        stages:
          made: {source: generate, with: {rows: null, rate: 1000, batch: 10}}
          out: {sink: console, workers: 2}
        """,
    )
    process = place.start("p.yaml")
    assert process.stdout is not None
    assert process.stderr is not None
    assert json.loads(process.stdout.readline())["id"] == 0
    process.stdout.close()
    err = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(timeout=PATIENCE) == 1
    assert err.count("standard output was closed by its reader") == 1
    assert "Traceback" not in err
    assert "Exception ignored" not in err


def test_a_bad_line_goes_to_the_dead_letters_and_the_others_go_on(place: Place) -> None:
    place.write("p.yaml", 'name: p\nstages: {in: {source: files, with: {path: "*.jsonl"}}, out: {sink: console}}\n')
    place.write("a.jsonl", '{"n":1}\n{"n":2}\n{"n":\n{"n":4}\n')
    assert place.run("p.yaml") == (0, [{"n": 1}, {"n": 2}, {"n": 4}], "")
    with StateStore(place.path / ".etl") as state:
        (letter,) = state.dead_letters("p", "in")
    assert letter.row == {"line": '{"n":', "file": "a.jsonl", "offset": 16}
    assert letter.reason == "not JSON: expecting value (column 6)"
    assert place.run("p.yaml") == (0, [], ""), "nor is it read again"
    with StateStore(place.path / ".etl") as state:
        assert len(list(state.dead_letters("p", "in"))) == 1


def test_a_bad_line_stops_the_run_where_it_is_to_and_the_next_one_goes_on_where_it_was_mended(place: Place) -> None:
    place.write(
        "p.yaml",
        'name: p\nstages: {in: {source: files, with: {path: "*.jsonl", on_bad_line: stop}}, out: {sink: console}}\n',
    )
    place.write("a.jsonl", '{"n":1}\n{"n":2}\n{"n":\n{"n":4}\n')
    code, rows, err = place.run("p.yaml")
    assert (code, rows) == (1, [{"n": 1}, {"n": 2}])
    assert "a.jsonl:3: not JSON: expecting value (column 6): mend the line, or set on_bad_line: reject" in err
    place.write("a.jsonl", '{"n":1}\n{"n":2}\n{"n":3}\n{"n":4}\n')
    assert place.run("p.yaml") == (0, [{"n": 3}, {"n": 4}], "")


def test_what_a_function_raises_is_told_with_its_line(place: Place) -> None:
    place.write(
        "p.yaml",
        "name: p\nstages: {a: {source: generate}, "
        "b: {transform: python, with: {call: f.py:f}}, c: {sink: blackhole}}\n",
    )
    place.write("f.py", "def f(row):\n    return row['nothing']\n")
    code, _, err = place.run("p.yaml")
    assert code == 1
    assert err.count("f.py:f raised KeyError: 'nothing' (f.py:2)") == 1
    assert "Traceback" not in err


def test_python_from_source_to_sink(place: Place) -> None:
    place.write(
        "p.yaml",
        """
        name: own
        stages:
          numbers:
            source: python
            with: {call: steps.py:numbers, options: {upto: 250}}
          odd:
            transform: python
            workers: 2
            with: {call: steps.py:odd}
          kept:
            sink: python
            with: {call: steps.py:keep, per: batch, options: {file: kept.txt}}
        """,
    )
    place.write(
        "steps.py",
        """
        from etlcore import Reject

        def numbers(upto):
            for n in range(upto):
                yield {"n": n}

        def odd(row):
            if row["n"] == 100:
                raise Reject("too round")
            return row if row["n"] % 2 else None

        def keep(batch, file, context):
            with open(context.directory / file, "a") as stream:
                stream.writelines(f"{row['n']}\\n" for row in batch.rows)
        """,
    )
    assert place.run("p.yaml") == (0, [], "")
    assert sorted(map(int, (place.path / "kept.txt").read_text().split())) == list(range(1, 250, 2))
    with StateStore(place.path / ".etl") as state:
        assert [(letter.row, letter.reason) for letter in state.dead_letters("own")] == [({"n": 100}, "too round")]


def test_kill_9_again_and_again_loses_no_line(place: Place) -> None:
    """Killed at whatever it is doing once new rows have reached the sink's file; the last run goes to the end."""
    total = 20_000
    for number in range(4):
        lines = "".join(json.dumps({"n": n, "x": "x" * 50}) + "\n" for n in range(number, total, 4))
        place.write(f"in{number}.jsonl", lines)
    place.write(
        "p.yaml",
        """
        name: crash
        stages:
          in: {source: files, workers: 2, with: {path: "in*.jsonl", batch: 50}}
          copied: {transform: select, workers: 2, with: {columns: [n]}, batch: {rows: 50}}
          out: {sink: files, workers: 2, with: {path: "out{worker}.jsonl"}}
        """,
    )
    kills = 0
    while kills < 5:
        before = sizes(place)
        process = place.start("p.yaml", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while sizes(place) < before + 5000 and process.poll() is None:
            pass_on()
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=PATIENCE)
        kills += 1
    assert kills >= 1
    code, _, err = place.run("p.yaml")
    assert (code, err) == (0, "")
    seen = [row["n"] for number in range(2) for row in place.rows(f"out{number}.jsonl")]
    assert set(seen) == set(range(total))


def sizes(place: Place) -> int:
    return sum(file.stat().st_size for file in place.path.glob("out*.jsonl"))


def pass_on() -> None:
    """Let others run for a moment while a condition is waited for."""
    import time

    time.sleep(0.005)


def test_every_wrong_option_is_placed(place: Place) -> None:
    place.write("steps.py", "def clean(row): return row\n")
    place.write(
        "p.yaml",
        """\
        name: wrong
        stages:
          in: {source: files, with: {path: ""}}
          g: {transform: python, with: {call: "steps.py:cleen"}}
          f: {transform: filter, with: {where: "status >= 'x"}}
          u: {transform: parse_uri, with: {params: [path]}}
          s: {transform: select, with: {columns: [a, a]}}
          m: {sink: files, with: {path: out.jsonl, mode: appendd}}
        """,
    )
    done = subprocess.run([*etl(), "check", "p.yaml"], cwd=place.path, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2
    for place_and_message in (
        "p.yaml:3:36: option `path` of `files`: a path is empty: name a file or a glob",
        "p.yaml:4:39: option `call` of `python`: there is no cleen in",
        "p.yaml:5:40: option `where` of `filter`: at character 11 of the expression: `'` is not understood",
        "two outputs would be called 'path': rename one",
        "p.yaml:7:42: option `columns` of `select`: column 'a' is listed twice: name each column once",
        "option `mode` of `files`: must be 'append' or 'overwrite', not appendd",
    ):
        assert place_and_message in done.stdout + done.stderr
