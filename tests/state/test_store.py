"""The state store: durable, shared, private, and made only when there is something to keep."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etlcore.state import FILE_NAME, DeadLetter, StateError, StateStore, schema
from etlcore.state.schema import VERSION


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / ".etl"


@pytest.fixture
def store(directory: Path) -> Iterator[StateStore]:
    with StateStore(directory) as opened:
        yield opened


def letter(**about: Any) -> DeadLetter:
    return DeadLetter(**{"pipeline": "p", "stage": "s", "reason": "bad", "row": {"a": 1}, "run": "r1", **about})


def run_python(code: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120, **options
    )


# Positions


def test_positions_come_back_as_they_were_saved(store: StateStore, directory: Path) -> None:
    positions = {"shard 0": "MTIz", "a.jsonl": 2**70, "deep": {"at": [1, None, {"x": 1.5}]}, "é": None}
    store.save_positions("p", "s", positions)
    assert store.positions("p", "s") == positions
    with StateStore(directory) as later:
        assert later.positions("p", "s") == positions


def test_saving_replaces_what_is_named_and_keeps_the_rest(store: StateStore) -> None:
    store.save_positions("p", "s", {"a": 1, "b": 1})
    store.save_positions("p", "s", {"b": 2, "c": 3})
    assert store.positions("p", "s") == {"a": 1, "b": 2, "c": 3}


def test_pipelines_and_stages_are_kept_apart(store: StateStore) -> None:
    store.save_positions("p", "s", {"a": 1})
    store.save_positions("p", "t", {"a": 2})
    store.save_positions("q", "s", {"a": 3})
    assert [store.positions(*who)["a"] for who in (("p", "s"), ("p", "t"), ("q", "s"))] == [1, 2, 3]
    assert store.positions("q", "t") == {}


def test_a_position_that_is_not_json_able_is_refused_by_name(store: StateStore) -> None:
    store.save_positions("p", "s", {"a": 1})
    with pytest.raises(TypeError, match="stage 's': the position of partition 'b' is not JSON-able"):
        store.save_positions("p", "s", {"a": 2, "b": object()})
    assert store.positions("p", "s") == {"a": 1}, "nothing of a refused call is saved"


def test_a_partition_without_a_utf8_name_is_refused(store: StateStore) -> None:
    with pytest.raises(TypeError, match=r"stage 's': the name of partition '\\udcff' has no form in UTF-8"):
        store.save_positions("p", "s", {"\udcff": 1})


def test_a_saved_position_survives_kill_9(directory: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from etlcore.state import StateStore\n"
        "store = StateStore(Path(sys.argv[1]))\n"
        "for n in range(50): store.save_positions('p', 's', {'a': n})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert run_python(code, str(directory)).returncode == -signal.SIGKILL
    with StateStore(directory) as later:
        assert later.positions("p", "s") == {"a": 49}


# What is on the disk


def test_reading_makes_nothing(store: StateStore, directory: Path) -> None:
    assert store.positions("p", "s") == {}
    assert list(store.dead_letters("p")) == []
    assert store.count_dead_letters("p") == 0
    store.save_positions("p", "s", {})
    store.add_dead_letters([])
    store.close()
    assert not directory.exists()


def test_the_first_write_makes_a_private_directory_out_of_git(store: StateStore, directory: Path) -> None:
    old = os.umask(0)
    try:
        store.save_positions("p", "s", {"a": 1})
    finally:
        os.umask(old)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert (directory / ".gitignore").read_text() == "*\n"
    files = [file for file in directory.iterdir() if file.name.startswith(FILE_NAME)]
    assert directory / FILE_NAME in files
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_missing_parents_are_made(tmp_path: Path) -> None:
    with StateStore(tmp_path / "a" / "b" / ".etl") as store:
        store.save_positions("p", "s", {"a": 1})
        assert store.positions("p", "s") == {"a": 1}


def test_a_directory_of_the_users_own_is_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with StateStore(tmp_path) as store:
        store.save_positions("p", "s", {"a": 1})
    assert not (tmp_path / ".gitignore").exists()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


def test_writes_are_synced_to_the_disk(store: StateStore, directory: Path) -> None:
    store.save_positions("p", "s", {"a": 1})
    assert store._connection is not None
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_closed_store_opens_again(store: StateStore) -> None:
    store.save_positions("p", "s", {"a": 1})
    store.close()
    store.close()
    assert store.positions("p", "s") == {"a": 1}


# Dead letters


def test_dead_letters_come_back_as_they_were_added(store: StateStore) -> None:
    when = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=timezone(timedelta(hours=8)))
    added = letter(row={"uri": "/%zz", "n": None}, time=when, traceback="Trace\n  back", positions={"shard 0": "MTI="})
    store.add_dead_letters([added, letter(reason="worse")])
    first, second = store.dead_letters("p")
    assert (first.row, first.time, first.traceback) == (added.row, when, "Trace\n  back")
    assert first.positions == {"shard 0": "MTI="}
    assert (second.reason, second.positions, second.traceback, second.run) == ("worse", None, None, "r1")
    assert first.id is not None
    assert second.id is not None
    assert first.id < second.id


def test_a_letter_is_dated_in_utc_by_itself() -> None:
    before = datetime.now(UTC)
    assert before <= letter().time <= datetime.now(UTC)


def test_dead_letters_are_told_apart_by_pipeline_and_stage(store: StateStore) -> None:
    store.add_dead_letters([letter(stage="s"), letter(stage="t"), letter(pipeline="q")])
    assert [(one.pipeline, one.stage) for one in store.dead_letters("p")] == [("p", "s"), ("p", "t")]
    assert [one.stage for one in store.dead_letters("p", "t")] == ["t"]
    assert [store.count_dead_letters("p"), store.count_dead_letters("p", "t"), store.count_dead_letters("x")] == [
        2,
        1,
        0,
    ]


def test_many_dead_letters_are_read_in_pages_while_more_arrive(store: StateStore) -> None:
    store.add_dead_letters([letter(row={"n": n}) for n in range(1200)])
    seen = []
    for found in store.dead_letters("p"):
        seen.append(found.row["n"])
        if found.row["n"] == 0:
            store.add_dead_letters([letter(row={"n": 1200})])  # no lock is held between two pages
    assert seen == list(range(1201))


def test_text_without_a_utf8_form_is_kept_escaped(store: StateStore) -> None:
    store.add_dead_letters([letter(reason="bad \ud800", row={"a": "x\udfff"}, traceback="t \ud800")])
    (found,) = store.dead_letters("p")
    assert found.reason == "bad \\ud800"
    assert found.row == {"a": "x\udfff"}


texts = st.text(max_size=5)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | texts
    | st.binary(max_size=5)
    | st.datetimes()
    | st.datetimes(timezones=st.just(UTC))
    | st.dates()
    | st.times()
    | st.timedeltas(min_value=timedelta(days=-9999), max_value=timedelta(days=9999))
    | st.decimals(allow_nan=False)
    | st.uuids()
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(texts | st.sampled_from(["$bytes", "$set", "$items"]), inner, max_size=3)
        | st.dictionaries(st.integers(), inner, max_size=2)
    ),
    max_leaves=8,
)


@given(st.dictionaries(texts | st.just("$decimal"), values, max_size=4))
def test_rows_come_back_whatever_they_hold(row: dict[str, Any]) -> None:
    record = letter(row=row).to_record()
    assert DeadLetter.from_record((1, *record)).row == row
    record[3].encode("utf-8")


def test_what_cannot_be_restored_stays_readable() -> None:
    class Strange:
        def __repr__(self) -> str:
            return "<strange>"

    row = {"tuple": (1, (2,)), "object": Strange(), "nan": float("nan"), "sets": [{2, 1}, frozenset({(1, 2)})]}
    found = DeadLetter.from_record((1, *letter(row=row).to_record())).row
    assert found["nan"] != found["nan"]
    assert {name: value for name, value in found.items() if name != "nan"} == {
        "tuple": [1, [2]],
        "object": "<strange>",
        "sets": [{1, 2}, [[1, 2]]],
    }


# Several at once


def test_several_threads_write_and_none_is_lost(store: StateStore) -> None:
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        for n in range(10):
            store.save_positions("p", f"s{number}", {"a": n})
            store.add_dead_letters([letter(stage=f"s{number}", row={"n": n})])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.count_dead_letters("p") == 80
    assert [store.positions("p", f"s{number}") for number in range(8)] == [{"a": 9}] * 8


def test_several_processes_make_and_write_one_store_at_once(directory: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from etlcore.state import StateStore\n"
        "store = StateStore(Path(sys.argv[1])); print('ready', flush=True); sys.stdin.read()\n"
        "for n in range(20): store.save_positions('p', sys.argv[2], {'a': n})"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(directory), str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for number in range(6)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:  # all are at the gate: let them go
        assert process.stdin is not None
        process.stdin.close()
    for process in processes:
        assert process.wait(timeout=120) == 0
        assert process.stdout is not None
        process.stdout.close()
    with StateStore(directory) as store:
        assert [store.positions("p", str(number)) for number in range(6)] == [{"a": 19}] * 6


def test_a_store_that_another_process_makes_while_it_is_looked_at(directory: Path) -> None:
    """What tells a state file from another program's is read at one moment, not before and after it was made."""
    directory.mkdir()
    made: list[str] = []

    class Slow(sqlite3.Connection):
        """Another process makes the whole file between this one's first look and its second."""

        def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
            found = super().execute(statement, *parameters)
            if statement.startswith("PRAGMA application_id") and not made:
                made.append(statement)
                found = _Read(found.fetchall())  # type: ignore[assignment]
                other = sqlite3.connect(directory / FILE_NAME, timeout=0, isolation_level=None)
                with closing(other), suppress(sqlite3.OperationalError):  # it may have to wait, which is as good
                    schema.upgrade(other, directory / FILE_NAME)
            return found

    with closing(sqlite3.connect(directory / FILE_NAME, isolation_level=None, factory=Slow)) as connection:
        schema.check(connection, directory / FILE_NAME)
    assert made


class _Read:
    """Rows that were read already, so that no statement is open."""

    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows

    def fetchone(self) -> Any:
        return self._rows[0]


def test_a_store_that_another_process_is_making_is_waited_for(
    store: StateStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite refuses at once to change the mode of a file that somebody else is about to write to."""
    directory.mkdir()
    other = sqlite3.connect(directory / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = threading.Event()
    real = time.sleep

    def sleep(seconds: float) -> None:
        waiting.set()
        real(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    saving = threading.Thread(target=lambda: store.save_positions("p", "s", {"a": 1}))
    saving.start()
    assert waiting.wait(60)
    other.execute("ROLLBACK")
    other.close()
    saving.join(60)
    assert store.positions("p", "s") == {"a": 1}


# What goes wrong


def test_a_newer_file_is_refused(store: StateStore, directory: Path) -> None:
    store.save_positions("p", "s", {"a": 1})
    store.close()
    with sqlite3.connect(directory / FILE_NAME) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(
        StateError, match=rf"has version 99, this etlcore reads up to {VERSION}: install .* a newer one"
    ):
        store.positions("p", "s")


def test_a_file_that_is_no_database_is_refused(store: StateStore, directory: Path) -> None:
    directory.mkdir()
    (directory / FILE_NAME).write_text("these are notes, not a database\n" * 100)
    with pytest.raises(StateError, match=r"is not an etlcore state file .*: move it away"):
        store.positions("p", "s")
    with pytest.raises(StateError, match=r"is not an etlcore state file .*: move it away"):
        store.save_positions("p", "s", {"a": 1})


def test_another_database_is_refused_and_left_alone(store: StateStore, directory: Path) -> None:
    directory.mkdir()
    with sqlite3.connect(directory / FILE_NAME) as connection:
        connection.execute("CREATE TABLE notes (text)")
    connection.close()
    with pytest.raises(StateError, match="not an etlcore state file: move it away"):
        store.save_positions("p", "s", {"a": 1})
    with sqlite3.connect(directory / FILE_NAME) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("notes",)]
    connection.close()


def test_a_damaged_file_is_an_error_with_the_next_step(store: StateStore, directory: Path) -> None:
    store.add_dead_letters([letter(row={"text": "x" * 1000}) for _ in range(200)])
    store.close()
    file = directory / FILE_NAME
    content = bytearray(file.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    file.write_bytes(content)
    with pytest.raises(StateError, match=r"state\.db is damaged .*: restore it from a backup or move it away"):
        list(store.dead_letters("p"))


def test_an_empty_file_is_an_empty_store(store: StateStore, directory: Path) -> None:
    """What a crash between making the file and its tables leaves."""
    directory.mkdir()
    (directory / FILE_NAME).touch()
    assert store.positions("p", "s") == {}
    store.save_positions("p", "s", {"a": 1})
    assert store.positions("p", "s") == {"a": 1}


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        StateStore(tmp_path / "file" / ".etl") as store,
        pytest.raises(StateError, match=r"cannot be made .*: make it"),
    ):
        store.save_positions("p", "s", {"a": 1})


def test_a_file_removed_while_in_use_is_noticed(store: StateStore, directory: Path) -> None:
    store.save_positions("p", "s", {"a": 1})
    (directory / FILE_NAME).unlink()
    with pytest.raises(StateError, match="was removed or replaced while it was in use"):
        store.save_positions("p", "s", {"a": 2})


AS_NOBODY = """
import os, sys
from pathlib import Path
from etlcore.state import StateStore, StateError
if os.geteuid() == 0:
    os.setuid(65534)
store = StateStore(Path(sys.argv[1]))
try:
    store.save_positions("p", "s", {"a": 1})
except StateError as error:
    print(error)
"""


@pytest.mark.parametrize("exists", [True, False], ids=["file exists", "no file yet"])
def test_a_read_only_directory_is_an_error_with_the_next_step(exists: bool) -> None:
    with tempfile.TemporaryDirectory() as base:  # pytest's own are closed to other users
        os.chmod(base, 0o755)
        directory = Path(base) / "state"
        directory.mkdir()
        if exists:
            with StateStore(directory) as store:
                store.save_positions("p", "s", {"a": 0})
            (directory / FILE_NAME).chmod(0o444)
        directory.chmod(0o555)
        try:
            done = run_python(AS_NOBODY, str(directory))
        finally:
            directory.chmod(0o755)
    assert done.stderr == ""
    assert str(directory) in done.stdout
    assert done.stdout.rstrip().endswith("or choose another state directory")
    assert len(done.stdout.splitlines()) == 1


NO_ROOM = """
import resource, signal, sys
from pathlib import Path
from etlcore.state import DeadLetter, StateError, StateStore
store = StateStore(Path(sys.argv[1]))
store.save_positions("p", "s", {"a": 1})
letters = [DeadLetter(pipeline="p", stage="s", reason="", row={"x": "x" * 5000}, run="r") for _ in range(100)]
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    store.add_dead_letters(letters)
except StateError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
print(store.positions("p", "s"), store.count_dead_letters("p"))
"""


def test_a_write_that_does_not_fit_is_an_error_and_leaves_nothing_behind(directory: Path) -> None:
    done = run_python(NO_ROOM, str(directory))
    assert done.stderr == ""
    error, after = done.stdout.splitlines()
    assert "start again: nothing is lost" in error
    assert after == "{'a': 1} 0"
