"""The history of runs, positions that are moved, and a file that an older etlcore has written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from etlcore.state import FILE_NAME, DeadLetter, RunRecord, Selection, StateError, StateStore
from etlcore.state.history import KEPT
from etlcore.state.schema import APPLICATION_ID, STEPS, VERSION

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    with StateStore(tmp_path / ".etl") as opened:
        yield opened


def record(run: str, pipeline: str = "p", **about: Any) -> RunRecord:
    return RunRecord(run, pipeline, NOON, **about)


# Runs


def test_a_run_is_kept_at_its_beginning_and_completed_at_its_end(store: StateStore) -> None:
    begun = record("r1", file="/x/p.yaml", version="abc")
    store.save_run(begun)
    assert store.runs("p") == [begun]
    ended = record(
        "r1",
        file="/x/p.yaml",
        version="abc",
        ended=NOON + timedelta(seconds=1.5),
        reason="end of input",
        exit_code=0,
        balance={"read": 3, "delivered": 3},
        committed={"in": {"partitions": 1, "complete": 1, "uncommitted_rows": 0, "positions": {"a": 7}}},
    )
    store.save_run(ended)
    assert store.runs("p") == [ended]


def test_the_newest_run_comes_first_and_pipelines_are_apart(store: StateStore) -> None:
    for run in ("r1", "r2", "r3"):
        store.save_run(record(run))
    store.save_run(record("q1", "q", kind="replay"))
    store.save_run(record("r1", exit_code=0))  # it ends last, and is still the oldest
    assert [found.run for found in store.runs("p")] == ["r3", "r2", "r1"]
    assert [found.run for found in store.runs("p", 2)] == ["r3", "r2"]
    assert [found.kind for found in store.runs("q")] == ["replay"]


def test_old_runs_go_as_new_ones_come(store: StateStore) -> None:
    store.save_run(record("other", "q"))
    for number in range(KEPT + 3):
        store.save_run(record(f"r{number}"))
    kept = store.runs("p", 10 * KEPT)
    assert [found.run for found in kept] == [f"r{number}" for number in range(KEPT + 2, 2, -1)]
    assert len(store.runs("q")) == 1


def test_secrets_and_text_without_a_utf8_form_in_a_run(tmp_path: Path) -> None:
    with StateStore(tmp_path, mask=lambda text: text.replace("hush", "***")) as store:
        store.save_run(record("r1", file="/x/\udcff.yaml", reason="stage hush failed"))
        (found,) = store.runs("p")
    assert (found.file, found.reason) == ("/x/\\udcff.yaml", "stage *** failed")


# Positions


def test_positions_are_listed_and_forgotten(store: StateStore) -> None:
    before = datetime.now(UTC)
    store.save_positions("p", "s", {"b": {"at": 2}, "a": 1})
    store.save_positions("p", "t", {"a": 3})
    store.save_positions("q", "s", {"a": 4})
    found = store.stored_positions("p")
    assert [(one.stage, one.partition, one.value) for one in found] == [
        ("s", "a", 1),
        ("s", "b", {"at": 2}),
        ("t", "a", 3),
    ]
    assert all(before <= one.time <= datetime.now(UTC) for one in found)
    store.delete_positions("p", "s", ["a", "x"])
    assert store.positions("p", "s") == {"b": {"at": 2}}
    assert store.positions("p", "t") == {"a": 3}
    assert store.positions("q", "s") == {"a": 4}


# A file of an earlier version


def write_version_1(directory: Path) -> None:
    """What the first version of etlcore left, with something in every table."""
    directory.mkdir()
    connection = sqlite3.connect(directory / FILE_NAME, isolation_level=None)
    for statement in STEPS[0]:
        connection.execute(statement)
    connection.execute("PRAGMA user_version = 1")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("INSERT INTO positions VALUES ('p', 's', 'a', '7', '2024-05-01T12:00:00.000000+00:00')")
    connection.execute(
        "INSERT INTO dead_letters (pipeline, stage, reason, row, time, run) VALUES "
        "('p', 's', 'bad', '{\"n\": 1}', '2024-05-01T12:00:00.000000+00:00', 'r0')"
    )
    connection.close()


def test_a_file_of_an_earlier_version_is_brought_up_to_date(store: StateStore) -> None:
    write_version_1(store.directory)
    assert store.positions("p", "s") == {"a": 7}
    (old,) = store.letters(Selection())
    assert (old.row, old.version, old.attempts, old.replayed_from) == ({"n": 1}, None, 1, None)
    store.add_dead_letters([DeadLetter("p", "s", "bad", {"n": 2}, "r1", version="abc")])
    store.save_run(record("r1"))
    with StateStore(store.directory) as later:
        assert [found.version for found in later.letters(Selection())] == [None, "abc"]
        assert len(later.runs("p")) == 1


def test_an_upgrade_that_cannot_be_written_changes_nothing(store: StateStore) -> None:
    write_version_1(store.directory)
    blocker = sqlite3.connect(store.directory / FILE_NAME, isolation_level=None)
    blocker.execute("CREATE TABLE runs (mine)")  # a table in the way makes the last step fail
    with pytest.raises(StateError, match=r"state\.db cannot be used \(table runs already exists\)"):
        store.positions("p", "s")
    assert blocker.execute("PRAGMA user_version").fetchone() == (1,)
    columns = [row[1] for row in blocker.execute("PRAGMA table_info(dead_letters)")]
    assert "version" not in columns, "all steps are undone"
    blocker.execute("DROP TABLE runs")
    blocker.close()
    assert store.positions("p", "s") == {"a": 7}


def test_the_version_is_that_of_the_steps(store: StateStore) -> None:
    store.save_run(record("r1"))
    store.close()
    connection = sqlite3.connect(store.file)
    assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    connection.close()
