"""The sink `sqlite` in real runs that end in every way: each row is in the table exactly once."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from etlcore_sls.emulator import Emulator

from etlcore.state import StateStore
from tests.e2e.support import ETL, EtlRun, Store

KILLS = 8
ROWS = 400  # that come between two kills

PIPELINE = """
    name: exact
    commit: {{interval: 20ms}}
    defaults: {{queue: 50, batch: 7}}
    stages:
      logs: {source}
      work:
        transform: python
        workers: 3
        with: {{call: "stages.py:slow", options: {{seconds: "${{PAUSE:-0.001}}"}}}}
      out: {{sink: sqlite, with: {{path: out.db, table: delivered}}}}
"""

SLOW = '"stages.py:slow", options: {{seconds: "${{PAUSE:-0.001}}"}}'
WAYS = """
import threading
from itertools import count
from pathlib import Path

seen = count()


def hold(row, above):
    if int(row["id"]) >= above:
        Path(__file__).with_name("held").touch()
        threading.Event().wait()
    return row


def fail(row):
    if next(seen) == 200:
        raise OSError("on purpose")
    return row
"""


class Site:
    """A directory with a pipeline that ends in a table, and ever more rows for it: in a file, or in a logstore."""

    def __init__(self, store: Store, kind: str) -> None:
        self.store = store
        self._file = store.directory / "in.jsonl" if kind == "files" else None
        self._put = 0
        self.path = store.directory
        if self._file is None:
            store.create(3)
            self.source = store.source(until="${UNTIL:-never}", fetch_groups=4)
        else:
            options = {"path": "in.jsonl", "batch": 20, "follow": "${FOLLOW:-true}", "poll_seconds": 0.02}
            self.source = json.dumps({"source": "files", "with": options})
        self.file = self.pipeline()

    def pipeline(self, text: str = PIPELINE) -> Path:
        return self.store.pipeline(text.format(source=self.source))

    def put(self, rows: int) -> None:
        if self._file is None:
            self.store.put(rows, per_group=5)
        else:
            with open(self._file, "a") as stream:
                stream.writelines(f'{{"id": {number}}}\n' for number in range(self._put, self._put + rows))
        self._put += rows

    def start(self, name: str, *arguments: str, **environ: str) -> EtlRun:
        return self.store.run(self.file, name, *arguments, environ=environ)

    def to_the_end(self) -> EtlRun:
        return self.start("last", UNTIL="end", FOLLOW="false", PAUSE="0").ended(0)

    def ids(self) -> list[int]:
        return sorted(int(number) for (number,) in self.rows("SELECT id FROM delivered"))

    def count(self) -> int:
        return len(self.ids())

    def rows(self, query: str) -> list[tuple]:  # type: ignore[type-arg]
        if not (self.path / "out.db").exists():
            return []
        with contextlib.closing(sqlite3.connect(self.path / "out.db", timeout=60)) as db:
            try:
                return list(db.execute(query))
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):  # nothing has come so far
                    return []
                raise

    def all(self) -> list[int]:
        return list(range(self._put))


@pytest.fixture(params=["files", "sls"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with Emulator() as emulator:
        store = Store(emulator, tmp_path)
        yield Site(store, request.param)
        store.close()


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Site]:
    with Emulator() as emulator:
        store = Store(emulator, tmp_path)
        yield Site(store, "files")
        store.close()


def test_kill_9_at_random_moments_loses_no_row_and_repeats_none(site: Site) -> None:
    seed = int(os.environ.get("ETL_TEST_SEED") or random.SystemRandom().randrange(10**9))
    print(f"ETL_TEST_SEED={seed}")  # noqa: T201 - shown when the test fails
    dice = random.Random(seed)
    in_the_middle = 0
    for number in range(KILLS):
        site.put(ROWS)
        before = site.count()
        run = site.start(f"run-{number}")
        if dice.random() < 0.8:
            wanted = before + dice.randint(1, ROWS // 2)
            run.until(lambda wanted=wanted: site.count() >= wanted, f"{wanted} rows")  # type: ignore[misc]
        time.sleep(dice.uniform(0.0, 0.1))
        run.kill()
        ids = site.ids()
        assert len(ids) == len(set(ids)), f"rows are there twice after kill {number}"
        in_the_middle += before < len(ids) < len(site.all())
    assert in_the_middle, "no kill hit anything"
    site.to_the_end()
    assert site.ids() == site.all()


def test_every_way_to_stop_leaves_each_row_once(site: Site) -> None:
    """A first signal, a second one, a stage that fails: one after the other, in the middle of the work."""
    site.put(ROWS)
    run = site.start("signal")
    run.until(lambda: site.count() > 20, "rows")
    run.stop(signal.SIGTERM).ended(0)
    assert run.balance["delivered"] == site.count(), "what was read is delivered"

    (site.path / "ways.py").write_text(WAYS)
    site.pipeline(PIPELINE.replace(SLOW, '"ways.py:hold", options: {{above: 700}}'))
    site.put(ROWS)
    run = site.start("second")
    before = site.count()
    run.until(lambda: site.count() > before and (site.path / "held").exists(), "more rows, and one that is held")
    run.stop().send(signal.SIGINT).ended(3)
    assert run.balance["abandoned"] > 0

    site.pipeline(PIPELINE.replace(SLOW, '"ways.py:fail"'))
    site.put(ROWS)
    site.start("fails").ended(1)

    site.pipeline()
    site.to_the_end()
    assert site.ids() == site.all()


def test_a_sink_that_cannot_write_stops_the_run_with_one_line_and_goes_on_in_the_next(files: Site) -> None:
    files.put(50)
    files.to_the_end()
    with contextlib.closing(sqlite3.connect(files.path / "out.db", isolation_level=None)) as db:
        db.execute("ALTER TABLE delivered RENAME TO kept")
        db.execute("CREATE VIEW delivered AS SELECT id FROM kept")
        files.put(50)
        run = files.start("view", FOLLOW="false").ended(1)
        assert "cause: stage out, in open: delivered is a view: name a table" in run.stderr
        assert "Traceback" not in run.stderr
        db.execute("DROP VIEW delivered")
        db.execute("ALTER TABLE kept RENAME TO delivered")
    files.to_the_end()
    assert files.ids() == files.all()


def test_rows_that_cannot_be_stored_become_dead_letters_and_the_others_arrive(files: Site) -> None:
    out = "{{sink: sqlite, on_error: dead_letter, with: {{path: out.db, table: delivered, mode: upsert, key: id}}}}"
    files.pipeline(f"name: exact\nstages:\n  logs: {{source}}\n  out: {out}\n")
    (files.path / "in.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in [{"id": 1}, {"id": None}, {"id": 2**64}, {"n": 1}, {"id": 2, "n": 2}])
    )
    run = files.to_the_end()
    assert run.balance["delivered"] == 2
    assert files.rows("SELECT id, n FROM delivered") == [(1, None), (2, 2)]
    with StateStore(files.path / ".etl") as state:
        reasons = [letter.reason for letter in state.dead_letters("exact", "out")]
    assert reasons == [
        "`id` is null, and it is a part of the key",
        "column `id` holds a whole number of more than 64 bits, which SQLite lacks",
        "`id` is null, and it is a part of the key",
    ]


def test_two_pipelines_and_two_sinks_of_one_share_a_database(files: Site) -> None:
    files.put(30)
    source = "{{source: files, with: {{path: in.jsonl}}}}"
    two = (
        "name: two\nstages:\n"
        f"  first: {source}\n  a: {{{{sink: sqlite, with: {{{{path: out.db, table: delivered}}}}}}}}\n"
        f"  second: {source}\n  b: {{{{sink: sqlite, with: {{{{path: out.db, table: other}}}}}}}}\n"
    )
    files.to_the_end()
    other = files.store.pipeline(two.format(), "two")
    for name in ("once", "again"):
        run = files.store.run(other, name).ended(0)
        assert "is no source of this pipeline" not in run.stderr
    assert files.count() == 60
    assert files.rows("SELECT count(*), count(DISTINCT id) FROM other") == [(30, 30)]


def test_positions_survive_the_loss_of_the_state_directory(files: Site) -> None:
    files.put(100)
    files.to_the_end()
    files.put(10)
    files.start("other-state", "--state", str(files.path / "other"), FOLLOW="false").ended(0)
    assert files.ids() == files.all()


@pytest.mark.parametrize("to", ["begin", "end"])
def test_etl_state_reset_moves_the_positions_in_the_database(site: Site, to: str) -> None:
    site.put(60)
    site.to_the_end()
    environ = {**os.environ, "UNTIL": "end", "FOLLOW": "false"}
    if to == "end":
        site.put(60)
    command = [str(ETL), "state", "reset", str(site.file), "--to", to, "--yes"]
    done = subprocess.run(command, capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stderr
    assert "moved" in done.stdout
    site.to_the_end()
    first = list(range(60))
    assert site.ids() == (sorted(first * 2) if to == "begin" else first), "read twice, and skipped, as it was wanted"


def test_etl_explain_says_effectively_once_and_why(files: Site) -> None:
    said = subprocess.run([str(ETL), "explain", str(files.file)], capture_output=True, text=True, check=True).stdout
    assert said.startswith("logs -> work -> out: effectively-once\n")
    assert "out (sqlite) keeps the rows and the source's positions in one transaction" in said


def test_nothing_is_left_behind_by_a_clean_end(files: Site) -> None:
    files.put(10)
    files.to_the_end()
    assert sorted(file.name for file in files.path.glob("out.db*")) == ["out.db"]
