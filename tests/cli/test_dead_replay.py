"""`etl dead replay`: letters run again from the stage that refused them, through the pipeline as it is now."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime
from typing import Any

import pytest

from .dead_support import Background, bury, etl, letters, rows_in

STAGES = """
    import pathlib
    import time

    from etlcore import Reject

    HERE = pathlib.Path(__file__).parent

    def even(row):
        if row["n"] % 2:
            raise Reject(f"{row['n']} is odd")
        return row

    def good(row):
        return {**row, "good": True}

    def not_three(row):
        if row["n"] == 3:
            raise Reject("three is never good")
        return row

    def poison(row):
        if row["n"] == 54321:
            raise ValueError("poison")
        return row

    def raises(row):
        raise ValueError(f"nothing is good enough, not even {row['n']}")

    def drops(row):
        return None

    def gate(row):
        while row["n"] >= 5 and not (HERE / "open").exists():
            (HERE / "reached").touch()
            time.sleep(0.01)
        return row

    def gate_or_refuse(row):
        if row["n"] < 5:
            raise Reject("small")
        return gate(row)
"""


def pipeline(work: str, more: str = "", top: str = "") -> str:
    return f"""
    name: p
    {top}
    stages:
      in: {{source: generate, with: {{rows: 10, fields: {{n: "{{id}}"}}}}}}
      work: {{transform: python, with: {{call: "stages.py:{work}"}}{more}}}
      out: {{sink: files, with: {{path: out.jsonl}}}}
    """


@pytest.fixture
def place(place: Any) -> Any:
    place.write("stages.py", STAGES)
    return place


def delivered(place: Any) -> list[int]:
    return [row["n"] for row in rows_in(place.path / "out.jsonl")]


def replay(place: Any, *arguments: str) -> str:
    """A replay that ends with exit code 0; what it said."""
    done = etl(place, "dead", "replay", "p.yaml", *arguments)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return str(done.stderr)


# -- what a replay does -----------------------------------------------------------------------------------------------


def test_through_the_corrected_pipeline_and_the_letters_are_gone(place: Any) -> None:
    place.write("p.yaml", pipeline("even"))
    assert place.run("p.yaml")[0] == 0
    assert delivered(place) == [0, 2, 4, 6, 8]
    place.write("p.yaml", pipeline("good"))
    said = replay(place, "--report", "report.json")
    assert delivered(place) == [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]
    assert all(row.get("good") for row in rows_in(place.path / "out.jsonl")[5:])
    assert letters(place) == []
    assert "balanced: 5 read = 5 delivered + 0 filtered + 0 dead-lettered + 0 abandoned" in said
    assert said.splitlines()[-1] == "5 dead letters replayed"
    report = place.json("report.json")
    assert [stage["stage"] for stage in report["stages"]] == ["dead letters of work", "work", "out"]
    assert place.run("p.yaml")[1] == "", "the source's positions are where they were: nothing is read again"
    assert delivered(place) == [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]


def test_what_is_refused_again_is_a_new_letter_with_its_history(place: Any) -> None:
    place.write("p.yaml", pipeline("even"))
    place.run("p.yaml")
    first = {letter.row["n"]: letter for letter in letters(place)}
    place.write("p.yaml", pipeline("not_three"))
    said = replay(place)
    assert said.splitlines()[-1] == "5 dead letters replayed, 1 refused again"
    (again,) = letters(place)
    assert again.id not in [letter.id for letter in first.values()]
    assert (again.reason, again.attempts, again.replayed_from) == ("three is never good", 2, first[3].id)
    assert again.row == {"n": 3}
    assert again.positions == first[3].positions, "where the row came from in the first place"
    assert again.version != first[3].version
    assert again.run != first[3].run
    replay(place)
    (third,) = letters(place)
    assert (third.attempts, third.replayed_from) == (3, again.id)
    place.write("p.yaml", pipeline("good"))
    replay(place)
    assert letters(place) == []
    assert sorted(delivered(place)) == list(range(10))


def test_one_poison_row_among_a_hundred_thousand(place: Any) -> None:
    text = pipeline("poison", ", on_error: dead_letter").replace("rows: 10,", "rows: 100000,")
    place.write("p.yaml", text)
    code, _, err = place.run("p.yaml")
    assert code == 0, err
    assert "balanced: 100,000 read = 99,999 delivered + 0 filtered + 1 dead-lettered + 0 abandoned" in err
    (letter,) = letters(place)
    assert letter.row == {"n": 54321}
    assert "ValueError: poison" in letter.reason
    assert "stages.py" in (letter.traceback or "")
    place.write("p.yaml", text.replace("poison", "good"))
    replay(place)
    assert letters(place) == []
    assert sorted(delivered(place)) == list(range(100_000))


def test_a_row_is_replayed_as_it_was(place: Any) -> None:
    row = {"n": 1, "bytes": b"\x00\xff", "time": datetime(2024, 5, 1, tzinfo=UTC), "deep": {"a": [1, None, {"b": 2.5}]}}
    place.write(
        "same.py",
        f"""
        import datetime

        def same(row):
            assert row == {row!r}, row
            return {{"n": "the same"}}
        """,
    )
    place.write("p.yaml", pipeline("good").replace("stages.py:good", "same.py:same"))
    bury(place.path / ".etl", [row])
    replay(place)
    assert delivered(place) == ["the same"]


def test_filters_and_ids(place: Any) -> None:
    place.write("p.yaml", pipeline("good"))
    bury(place.path / ".etl", [{"n": n} for n in range(6)])
    bury(place.path / ".etl", [{"n": 6}], reason="no room")
    bury(place.path / ".etl", [{"n": 7}], pipeline="other")
    assert replay(place, "--id", "2", "--id", "8").splitlines()[-1] == "1 dead letter replayed"
    assert delivered(place) == [1]
    replay(place, "--reason", "ROOM")
    assert delivered(place) == [1, 6]
    replay(place, "--stage", "work", "--before", "2000-01-01")
    assert delivered(place) == [1, 6]
    replay(place, "--stage", "work", "--since", "1d")
    assert sorted(delivered(place)) == [0, 1, 2, 3, 4, 5, 6]
    assert [letter.pipeline for letter in letters(place)] == ["other"]


def test_a_row_that_is_filtered_now_is_gone_as_well(place: Any) -> None:
    place.write("p.yaml", pipeline("drops"))
    bury(place.path / ".etl", [{"n": n} for n in range(3)])
    assert "3 read = 0 delivered + 3 filtered" in replay(place)
    assert letters(place) == []


def test_nothing_to_replay(place: Any) -> None:
    place.write("p.yaml", pipeline("good"))
    assert replay(place) == "no dead letters of p to replay in .etl\n"
    bury(place.path / ".etl", [{"n": 1}], pipeline="other")
    assert replay(place, "--dry-run") == ""
    assert len(letters(place)) == 1


def test_a_dry_run_changes_nothing(place: Any) -> None:
    place.write("p.yaml", pipeline("good"))
    bury(place.path / ".etl", [{"n": 1}, {"n": 2}])
    bury(place.path / ".etl", [{"n": 3}], stage="out", reason="no\nroom")
    done = etl(place, "dead", "replay", "p.yaml", "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "letters  refused by  given to  reason",
        "2        work        work      bad",
        "1        out         out       no room",
        "3 dead letters would run through work, out; nothing was changed",
    ]
    assert len(letters(place)) == 3
    assert delivered(place) == []
    assert etl(place, "state", "show", "p.yaml", "--json").stdout.count('"run"') == 0


def test_the_history_and_the_log_as_json(place: Any) -> None:
    place.write("p.yaml", pipeline("good"))
    bury(place.path / ".etl", [{"n": 1}])
    events = [json.loads(line) for line in replay(place, "--log-format", "json").splitlines()]
    assert [event["event"] for event in events if event["event"] in ("started", "report")] == ["started", "report"]
    assert events[-1]["message"] == "1 dead letter replayed"
    (shown,) = json.loads(etl(place, "state", "show", "p.yaml", "--json").stdout)["pipelines"]
    (run,) = shown["runs"]
    assert (run["kind"], run["exit_code"], run["balance"]["delivered"]) == ("replay", 0, 1)


# -- which stages are kept --------------------------------------------------------------------------------------------

GRAPH = """
    name: p
    stages:
      a: {source: generate, with: {rows: 3, fields: {n: "{id}"}}}
      b: {source: generate, with: {rows: 3, fields: {n: "{id}"}}}
      from_b: {transform: python, from: b, with: {call: "stages.py:good"}}
      only_b: {sink: files, from: from_b, with: {path: only_b.jsonl}}
      parted: {transform: parting, from: [a, from_b]}
      small: {sink: files, from: parted.small, with: {path: small.jsonl}}
      large: {transform: python, from: parted, with: {call: "stages.py:good"}}
      first: {sink: files, from: large, with: {path: first.jsonl}}
      second: {sink: files, from: [large, from_b], with: {path: second.jsonl}}
"""

PARTING = """
    from etlcore import Batch, Component, Transform, hookimpl

    @hookimpl
    def etl_components():
        yield Component("parting", "transform", "parting:Parting")

    class Parting(Transform):
        outputs = ("small",)

        def process(self, batch):
            yield "small", Batch.from_rows([row for row in batch.rows if row["n"] < 10])
            yield Batch.from_rows([row for row in batch.rows if row["n"] >= 10])
"""


@pytest.fixture
def graph(place: Any, site: Any) -> Any:
    """A graph with two sources, a fan-in, a named output and a fan-out."""
    site.install("parting", "1.0", {"parting": "parting"}, {"parting.py": PARTING})
    place.env["PYTHONPATH"] = str(site.path)
    place.write("p.yaml", GRAPH)
    return place


def files(place: Any) -> dict[str, list[int]]:
    return {file.stem: [row["n"] for row in rows_in(file)] for file in place.path.glob("*.jsonl")}


def test_all_behind_the_stage_is_kept_and_nothing_in_front_of_it(graph: Any) -> None:
    bury(graph.path / ".etl", [{"n": 5}, {"n": 15}], stage="parted")
    done = etl(graph, "dead", "replay", "p.yaml", "--dry-run")
    assert done.stdout.splitlines()[-1] == (
        "2 dead letters would run through parted, small, large, first, second; nothing was changed"
    )
    replay(graph)
    assert files(graph) == {"small": [5], "first": [15], "second": [15]}


def test_of_a_sink_that_two_stages_feed_only_the_sink_is_kept(graph: Any) -> None:
    bury(graph.path / ".etl", [{"n": 5}], stage="second")
    said = replay(graph)
    assert files(graph) == {"second": [5]}
    assert "balanced: 1 read = 1 delivered" in said


def test_letters_of_several_stages_are_replayed_together(graph: Any) -> None:
    bury(graph.path / ".etl", [{"n": 5}], stage="from_b")
    bury(graph.path / ".etl", [{"n": 15}], stage="large")
    bury(graph.path / ".etl", [{"n": 25}], stage="first")
    said = replay(graph)
    found = files(graph)
    assert {name: sorted(numbers) for name, numbers in found.items()} == {
        "only_b": [5],
        "small": [5],
        "first": [15, 25],
        "second": [5, 15],
    }
    assert letters(graph) == []
    assert said.splitlines()[-1] == "3 dead letters replayed"


def test_a_row_that_two_branches_refuse_again_is_two_letters(place: Any) -> None:
    place.write(
        "p.yaml",
        """
        name: p
        stages:
          in: {source: generate, with: {rows: 1}}
          work: {transform: python, with: {call: "stages.py:good"}}
          first: {transform: python, with: {call: "stages.py:raises"}, on_error: dead_letter}
          one: {sink: blackhole}
          second: {transform: python, from: work, with: {call: "stages.py:even"}}
          other: {sink: blackhole}
        """,
    )
    bury(place.path / ".etl", [{"n": 15}])
    assert replay(place).splitlines()[-1] == "1 dead letter replayed, 2 refused again"
    found = sorted(letters(place), key=lambda letter: letter.stage)
    assert [(letter.stage, letter.attempts, letter.replayed_from) for letter in found] == [
        ("first", 2, 1),
        ("second", 2, 1),
    ]


def test_what_another_letter_leads_to_is_not_replayed_in_the_same_breath(place: Any) -> None:
    place.write(
        "p.yaml",
        """
        name: p
        stages:
          in: {source: generate, with: {rows: 1}}
          work: {transform: python, with: {call: "stages.py:good"}}
          next: {transform: python, with: {call: "stages.py:even"}}
          out: {sink: files, with: {path: out.jsonl}}
        """,
    )
    bury(place.path / ".etl", [{"n": 1}])
    bury(place.path / ".etl", [{"n": 3}, {"n": 4}], stage="next")
    assert replay(place).splitlines()[-1] == "3 dead letters replayed, 2 refused again"
    found = sorted((letter.row["n"], letter.stage, letter.attempts) for letter in letters(place))
    assert found == [(1, "next", 2), (3, "next", 2)]


JOINING = """
    from etlcore import Batch, Component, Transform, hookimpl

    @hookimpl
    def etl_components():
        yield Component("joining", "transform", "joining:Joining")

    class Joining(Transform):
        # Refuses whole batches: the rows as they came, but for a first one that it has changed.
        buffers = True

        def open(self, context):
            self.kept = []

        def process(self, batch):
            self.kept.append(batch)
            return ()

        def flush(self):
            rows = [row for batch in self.kept for row in batch.rows]
            self.context.reject([{"n": 1000}, *rows[1:]], "joined")
            return ()
"""


def test_where_rows_were_joined_the_row_itself_tells_its_origin(place: Any, site: Any) -> None:
    site.install("joining", "1.0", {"joining": "joining"}, {"joining.py": JOINING})
    place.env["PYTHONPATH"] = str(site.path)
    place.write(
        "p.yaml",
        """
        name: p
        stages:
          in: {source: generate, with: {rows: 1}}
          work: {transform: joining}
          out: {sink: blackhole}
        """,
    )
    for n in range(3):
        bury(place.path / ".etl", [{"n": n}], positions={f"file {n}": n}, attempts=n + 1)
    replay(place)
    changed, *others = letters(place)
    assert [(letter.row["n"], letter.replayed_from, letter.attempts, letter.positions) for letter in others] == [
        (1, 2, 3, {"file 1": 1}),
        (2, 3, 4, {"file 2": 2}),
    ]
    assert changed.row == {"n": 1000}
    assert (changed.replayed_from, changed.attempts) == (None, 4), "it may have come from any of them"
    assert changed.positions == {"file 0": 0, "file 1": 1, "file 2": 2}


# -- letters without a stage ------------------------------------------------------------------------------------------


def test_a_stage_that_is_gone(place: Any) -> None:
    place.write("p.yaml", pipeline("good"))
    bury(place.path / ".etl", [{"n": 1}, {"n": 2}], stage="parsed")
    bury(place.path / ".etl", [{"n": 3}])
    for more in ([], ["--dry-run"]):
        done = etl(place, "dead", "replay", "p.yaml", *more)
        assert done.returncode == 2
        assert done.stderr == (
            "the pipeline p no longer has every stage that refused rows: there are 2 dead letters of the stage "
            "`parsed`; its stages are `in`, `work` and `out`\n"
            "  -> give them to another stage (--stage parsed --into STAGE), replay others (--stage), or delete them "
            "(etl dead purge)\n"
        )
    assert len(letters(place)) == 3
    replay(place, "--stage", "work")
    assert delivered(place) == [3]
    replay(place, "--stage", "parsed", "--into", "out")
    assert delivered(place) == [3, 1, 2]
    assert letters(place) == []


def test_letters_of_a_source(place: Any) -> None:
    place.write("p.yaml", pipeline("good"))
    bury(place.path / ".etl", [{"n": 1}], stage="in")
    bury(place.path / ".etl", [{"n": 2}])
    said = replay(place)
    assert "1 dead letter of the source `in` cannot go back to it: a source takes no rows" in said
    assert "--stage in --into STAGE (`work` or `out`)" in said
    assert delivered(place) == [2]
    done = etl(place, "dead", "replay", "p.yaml", "--stage", "in")
    assert done.returncode == 2
    replay(place, "--stage", "in", "--into", "work")
    assert delivered(place) == [2, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stage", "wrok"], "the pipeline p has no stage `wrok`\n  -> did you mean `work`?"),
        (["--stage", "xyz"], "the pipeline p has no stage `xyz`\n  -> its stages are `in`, `work` and `out`"),
        (["--stage", "work", "--into", "outt"], "has no stage `outt`\n  -> did you mean `out`?"),
        (["--stage", "work", "--into", "in"], "stage in is a source: it takes no rows"),
    ],
)
def test_a_stage_that_never_was(place: Any, arguments: list[str], message: str) -> None:
    place.write("p.yaml", pipeline("good"))
    bury(place.path / ".etl", [{"n": 1}])
    done = etl(place, "dead", "replay", "p.yaml", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(letters(place)) == 1


# -- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_stage_that_raises_stops_the_replay_and_keeps_the_letters(place: Any) -> None:
    place.write("p.yaml", pipeline("raises"))
    bury(place.path / ".etl", [{"n": 1}, {"n": 2}])
    done = etl(place, "dead", "replay", "p.yaml")
    assert done.returncode == 1
    assert "nothing is good enough" in done.stderr
    assert done.stderr.splitlines()[-1] == "0 dead letters replayed, 2 left as they were"
    assert [letter.id for letter in letters(place)] == [1, 2]


def test_a_signal_ends_a_replay_in_order(place: Any) -> None:
    """Ten letters, the sixth at the gate, room for one more: those that were not begun stay as they were."""
    place.write("p.yaml", pipeline("gate", ", queue: {rows: 1}, batch: {rows: 1}"))
    bury(place.path / ".etl", [{"n": n} for n in range(10)])
    with Background(place, "dead", "replay", "p.yaml") as run:
        run.until((place.path / "reached").exists, "a row at the gate")
        run.process.send_signal(signal.SIGTERM)
        run.until(lambda: "reading nothing new" in run.err.read_text(), "the stop")
        (place.path / "open").touch()
        assert run.end() == 0
        said = run.err.read_text()
    done = delivered(place)
    assert done == list(range(len(done)))
    assert 6 <= len(done) < 10
    assert [letter.row["n"] for letter in letters(place)] == list(range(len(done), 10))
    assert said.splitlines()[-1] == f"{len(done)} dead letters replayed, {10 - len(done)} left as they were"
    replay(place)
    assert delivered(place) == list(range(10))


def test_a_replay_has_the_pipeline_to_itself(place: Any) -> None:
    place.write("p.yaml", pipeline("gate"))
    bury(place.path / ".etl", [{"n": n} for n in range(10)])
    with Background(place, "dead", "replay", "p.yaml") as run:
        run.until((place.path / "reached").exists, "a row at the gate")
        for verb in (["run"], ["dead", "replay"]):
            done = etl(place, *verb, "p.yaml")
            assert done.returncode == 2
            assert "the pipeline p is in use with the state directory .etl, by replay " in done.stderr
            assert f"process {run.pid} on " in done.stderr
        (place.path / "open").touch()
        assert run.end() == 0
    assert delivered(place) == list(range(10))
