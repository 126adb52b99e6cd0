"""A replay that is killed: a letter goes only after all that came from it has come to its end, so none is lost."""

from __future__ import annotations

import random
import signal
import sqlite3
from typing import Any

import pytest

from .dead_support import Background, bury, etl, letters, rows_in

STAGES = """
    import os
    import pathlib
    import signal
    import time

    from etlcore import Reject

    HERE = pathlib.Path(__file__).parent

    def gate(row):
        while row["n"] >= 5 and not (HERE / "open").exists():
            (HERE / "reached").touch()
            time.sleep(0.001)
        return row

    def gate_or_refuse(row):
        if row["n"] < 5:
            raise Reject("small")
        return gate(row)

    def slow_or_refuse(row):
        time.sleep(0.001)
        if row["n"] % 7 == 0:
            raise Reject("a multiple of seven")
        return row
"""


def pipeline(work: str, commit: str) -> str:
    return f"""
    name: p
    commit: {{interval: {commit}}}
    stages:
      in: {{source: generate, with: {{rows: 1}}}}
      work: {{transform: python, with: {{call: "stages.py:{work}"}}}}
      out: {{sink: files, with: {{path: out.jsonl}}}}
    """


@pytest.fixture
def place(place: Any) -> Any:
    place.write("stages.py", STAGES)
    return place


def delivered(place: Any) -> list[int]:
    return [row["n"] for row in rows_in(place.path / "out.jsonl")]


def waiting(place: Any) -> list[int]:
    return [letter.row["n"] for letter in letters(place)]


def replay_to_the_end(place: Any) -> str:
    done = etl(place, "dead", "replay", "p.yaml")
    assert done.returncode == 0, done.stderr
    return str(done.stderr)


def test_killed_before_anything_was_committed_all_is_replayed_again(place: Any) -> None:
    place.write("p.yaml", pipeline("gate", commit="1h"))
    bury(place.path / ".etl", [{"n": n} for n in range(10)])
    with Background(place, "dead", "replay", "p.yaml") as run:
        run.until(lambda: delivered(place) == [0, 1, 2, 3, 4], "five rows")
        run.kill()
    kept = waiting(place)
    assert set(kept) >= set(range(5, 10))
    (place.path / "open").touch()
    replay_to_the_end(place)
    assert waiting(place) == []
    assert sorted(delivered(place)) == sorted([0, 1, 2, 3, 4, *kept])


def test_killed_after_a_commit_only_the_rest_is_replayed(place: Any) -> None:
    place.write("p.yaml", pipeline("gate", commit="1ms"))
    bury(place.path / ".etl", [{"n": n} for n in range(10)])
    with Background(place, "dead", "replay", "p.yaml") as run:
        run.until(lambda: waiting(place) == [5, 6, 7, 8, 9], "five letters gone")
        run.kill()
    assert delivered(place) == [0, 1, 2, 3, 4]
    (place.path / "open").touch()
    replay_to_the_end(place)
    assert delivered(place) == list(range(10)), "none is lost, and none is repeated"
    assert waiting(place) == []


def test_what_a_killed_replay_had_refused_again_is_one_letter_in_the_end(place: Any) -> None:
    """The new letters are on disk, the old ones are not deleted yet: the row must not be there twice for ever."""
    place.write("p.yaml", pipeline("gate_or_refuse", commit="1h").replace("}}\n      out", "}, workers: 2}\n      out"))
    # The first commit comes behind the first row, and nothing is settled then: it is at the gate.
    bury(place.path / ".etl", [{"n": n} for n in (5, 0, 1, 2, 3, 4, 6, 7, 8, 9)])
    for _ in range(2):
        with Background(place, "dead", "replay", "p.yaml") as run:
            run.until(lambda: sorted(waiting(place)) == sorted([*range(10), *range(5)]), "five refused again")
            run.kill()
    (place.path / "open").touch()
    said = replay_to_the_end(place)
    assert "5 dead letters of a replay that was killed: what they came from is replayed" in said
    assert said.splitlines()[-1] == "10 dead letters replayed, 5 refused again"
    assert sorted((letter.row["n"], letter.attempts) for letter in letters(place)) == [(n, 2) for n in range(5)]
    assert sorted(delivered(place)) == [5, 6, 7, 8, 9]


def test_a_new_letter_of_a_letter_that_is_not_replayed_now_stays(place: Any) -> None:
    place.write("p.yaml", pipeline("gate", commit="1s"))
    (place.path / "open").touch()
    bury(place.path / ".etl", [{"n": 1}])
    bury(place.path / ".etl", [{"n": 1}], stage="out", replayed_from=1)
    done = etl(place, "dead", "replay", "p.yaml", "--stage", "out")
    assert done.returncode == 0
    assert delivered(place) == [1]
    assert [letter.id for letter in letters(place)] == [1]


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_moments_none_is_lost(place: Any, seed: int) -> None:
    """Every row ends as delivered or as one letter, and what is repeated was in flight at one of the kills."""
    dice = random.Random(seed)
    place.write("p.yaml", pipeline("slow_or_refuse", commit="10ms"))
    rows = 400
    bury(place.path / ".etl", [{"n": n} for n in range(rows)])
    kills = 0
    for _ in range(5):
        target = len(delivered(place)) + dice.randrange(1, 60)
        before = len(letters(place))
        with Background(place, "dead", "replay", "p.yaml") as run:
            run.until(lambda n=target: run.process.poll() is not None or len(delivered(place)) >= n, "some rows")
            if run.process.poll() is None:
                run.kill()
                kills += 1
        assert set(delivered(place)) | set(waiting(place)) == set(range(rows))
        assert before >= len(set(waiting(place)))
    assert kills
    replay_to_the_end(place)
    sevens = list(range(0, rows, 7))
    assert sorted(waiting(place)) == sevens, "one letter for each row that is refused, however often it was killed"
    assert set(delivered(place)) == set(range(rows)) - set(sevens)


EXACTLY = """
    import json
    import os
    import pathlib
    import signal
    import sqlite3

    from etlcore import Component, TransactionalSink, hookimpl

    @hookimpl
    def etl_components():
        yield Component("exactly", "sink", "exactly:Exactly")

    class Exactly(TransactionalSink):
        def open(self, context):
            self.file = sqlite3.connect(context.directory / "rows.db", isolation_level=None)
            self.file.execute("CREATE TABLE IF NOT EXISTS rows (n)")
            self.file.execute("CREATE TABLE IF NOT EXISTS positions (name PRIMARY KEY, value)")

        def positions(self):
            return {name: json.loads(value) for name, value in self.file.execute("SELECT * FROM positions")}

        def write(self, batch, positions=None):
            self.file.execute("BEGIN")
            self.file.executemany("INSERT INTO rows VALUES (?)", [(row["n"],) for row in batch.rows])
            self.file.executemany(
                "INSERT OR REPLACE INTO positions VALUES (?, ?)",
                [(name, json.dumps(value)) for name, value in (positions or {}).items()],
            )
            self.file.execute("COMMIT")
            if (self.context.directory / "die").exists():
                os.kill(os.getpid(), signal.SIGKILL)

        def close(self):
            self.file.close()
"""


def test_into_a_transactional_sink_a_letter_counts_exactly_once(place: Any, site: Any) -> None:
    """Killed when the rows are in and the letters are not deleted: the next replay deletes them, and no more."""
    site.install("exactly", "1.0", {"exactly": "exactly"}, {"exactly.py": EXACTLY})
    place.env["PYTHONPATH"] = str(site.path)
    place.write(
        "p.yaml",
        """
        name: p
        commit: {interval: 1ms}
        stages:
          in: {source: generate, with: {rows: 1}}
          work: {transform: python, with: {call: "stages.py:gate"}}
          out: {sink: exactly}
        """,
    )
    (place.path / "open").touch()
    text = (place.path / "p.yaml").read_text()
    place.write("p.yaml", text.replace("rows: 1}", 'rows: 1, fields: {n: "{id}"}}'))
    assert place.run("p.yaml")[0] == 0  # the sink has a position of the pipeline's own source
    bury(place.path / ".etl", [{"n": n} for n in range(1, 20)])

    def written() -> list[int]:
        with sqlite3.connect(place.path / "rows.db") as file:
            return [n for (n,) in file.execute("SELECT n FROM rows ORDER BY n")]

    (place.path / "die").touch()
    with Background(place, "dead", "replay", "p.yaml") as run:
        assert run.end() == -signal.SIGKILL
    assert written()
    assert len(letters(place)) == 19
    (place.path / "die").unlink()
    assert "is no source of this pipeline" not in replay_to_the_end(place)
    assert written() == list(range(20))
    assert letters(place) == []
