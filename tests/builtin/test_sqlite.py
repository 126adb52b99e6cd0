"""The sink `sqlite`: what becomes of rows in its table, and what it says of databases that it cannot use."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from etlcore import Batch, RetryAfter, RowsFailed

TABLE = {"path": "out.db", "table": "rows"}


def batch(*rows: dict[Any, Any]) -> Batch:
    return Batch.from_rows(list(rows))


def query(file: Path, text: str = "SELECT * FROM rows") -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(file)) as db:
        return list(db.execute(text))


def columns(file: Path, table: str = "rows") -> dict[str, str]:
    return dict(query(file, f"SELECT name, type FROM pragma_table_info('{table}')"))


def make(file: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(file)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.db"


@pytest.fixture
def sink(use: Any) -> Callable[..., Any]:
    """Open the sink: ``sink(mode="upsert", key="id")``."""
    return lambda **options: use("sink", "sqlite", **{**TABLE, **options})


def refused(sink: Any, *rows: dict[Any, Any]) -> dict[int, str]:
    """Write rows until those that cannot be written are out, as the runtime does it; gives them, and why."""
    left = dict(enumerate(rows))
    reasons: dict[int, str] = {}
    while True:
        try:
            sink.write(batch(*left.values()))
            return dict(sorted(reasons.items()))
        except RowsFailed as failed:
            indexes = list(left)
            reasons |= {indexes[at]: reason for at, reason in failed.reasons.items()}
            left = {index: row for index, row in left.items() if index not in reasons}


# --- tables and types ------------------------------------------------------------------------------------------------


def test_the_table_is_made_with_the_types_of_the_first_rows(sink: Any, out: Path) -> None:
    sink().write(
        batch(
            {"n": 1, "x": 1.5, "t": "a", "b": b"\x00\xff", "yes": True, "mixed": 1, "none": None, "both": 1},
            {"n": None, "x": None, "t": None, "b": None, "yes": False, "mixed": "a", "none": None, "both": 0.5},
        )
    )
    assert columns(out) == {
        "n": "INTEGER",
        "x": "REAL",
        "t": "TEXT",
        "b": "BLOB",
        "yes": "INTEGER",
        "mixed": "",
        "none": "",
        "both": "NUMERIC",
    }
    assert query(out) == [
        (1, 1.5, "a", b"\x00\xff", 1, 1, None, 1),
        (None, None, None, None, 0, "a", None, 0.5),
    ]


def test_what_sqlite_has_no_type_for_is_stored_as_json_lines_write_it(sink: Any, out: Path) -> None:
    one = uuid.UUID(int=1)
    sink().write(
        batch(
            {
                "at": datetime(2024, 5, 1, 8, 30, tzinfo=UTC),
                "day": date(2024, 5, 1),
                "took": timedelta(seconds=1, milliseconds=500),
                "price": Decimal("12345678901234567890.10"),
                "who": one,
                "list": [1, {"a": None}],
                "map": {"b": "é"},
                "nan": float("nan"),
                "inf": float("inf"),
                "bytes": bytearray(b"x"),
            }
        )
    )
    assert query(out) == [
        (
            "2024-05-01T08:30:00Z",
            "2024-05-01",
            1.5,
            "12345678901234567890.10",
            str(one),
            '[1,{"a":null}]',
            '{"b":"é"}',
            None,
            float("inf"),
            b"x",
        )
    ]


def test_columns_of_arrow_are_stored_as_rows_are(sink: Any, out: Path) -> None:
    import pyarrow as pa

    made = pa.record_batch(
        {
            "n": pa.array([1, None], pa.int32()),
            "at": pa.array([1_700_000_000_123_456_789, None], pa.timestamp("ns", "UTC")),
            "price": pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)),
            "list": pa.array([[1, 2], None]),
        }
    )
    sink().write(Batch.from_arrow(made))
    assert query(out) == [(1, "2023-11-14T22:13:20.123456Z", "1.50", "[1,2]"), (None, None, None, None)]


def test_a_new_column_is_added_when_a_row_brings_one(sink: Any, out: Path) -> None:
    first = sink()
    first.write(batch({"a": 1}))
    first.write(batch({"b": "x"}, {"A": 2}))
    first.close()
    sink().write(batch({'odd "name"; --': 1, "": 2, 3: "three", "é": 4}))
    assert columns(out) == {
        "a": "INTEGER",
        "b": "TEXT",
        'odd "name"; --': "INTEGER",
        "": "INTEGER",
        "3": "TEXT",
        "é": "INTEGER",
    }
    assert query(out) == [
        (1, None, None, None, None, None),
        (None, "x", None, None, None, None),
        (2, None, None, None, None, None),
        (None, None, 1, 2, "three", 4),
    ]


def test_a_table_of_somebody_else_is_written_to_as_it_is(sink: Any, out: Path) -> None:
    make(out, "CREATE TABLE Rows (id INTEGER PRIMARY KEY, made TEXT DEFAULT 'now', n INTEGER NOT NULL CHECK (n > 0))")
    reasons = refused(
        sink(), {"n": 1}, {"n": 0}, {"id": 7, "n": 2}, {"n": None}, {"id": 7, "n": 3}, {"id": "x", "n": 4}
    )
    assert list(reasons) == [1, 3, 4, 5]
    assert "CHECK constraint failed" in reasons[1]
    assert "NOT NULL constraint failed" in reasons[3]
    assert "UNIQUE constraint failed" in reasons[4]
    assert "datatype mismatch" in reasons[5]
    assert query(out, "SELECT id, made, n FROM rows") == [(1, "now", 1), (7, "now", 2)]


def test_a_batch_of_no_rows_makes_no_table(sink: Any, out: Path) -> None:
    opened = sink()
    opened.write(Batch.from_rows([]), {"in/0": 3})
    assert columns(out) == {}
    opened.close()
    assert sink().positions() == {"in/0": 3}


# --- rows that cannot be stored --------------------------------------------------------------------------------------


def test_a_row_that_cannot_be_stored_leaves_its_neighbours_alone(sink: Any, out: Path) -> None:
    reasons = refused(
        sink(),
        {"n": 2**63 - 1},
        {"n": 2**63},
        {"n": -(2**63) - 1},
        {"n": -(2**63)},
        {"t": "\ud800"},
        {"o": object()},
        {},
        {"a": 1, "A": 2},
        {"a": None, "A": 3},
        {"zero\0": 1},
    )
    assert list(reasons) == [1, 2, 4, 5, 7, 9]
    assert reasons[1] == "column `n` holds a whole number of more than 64 bits, which SQLite lacks"
    assert reasons[4] == "column `t` holds a text that has no form in UTF-8 (a lone surrogate)"
    assert "column `o` holds a value that SQLite cannot store" in reasons[5]
    assert reasons[7] == "`a` and `A` are one column to SQLite, which ignores case"
    assert "cannot have a column with the name 'zero\\x00'" in reasons[9]
    assert query(out, "SELECT n, a FROM rows") == [(2**63 - 1, None), (-(2**63), None), (None, None), (None, 3)]


def test_rows_without_columns_make_no_table(sink: Any, out: Path) -> None:
    assert refused(sink(), {}, {}) == dict.fromkeys((0, 1), "a row without columns cannot be stored")
    assert columns(out) == {}


def test_values_that_a_column_would_change_are_refused(sink: Any, out: Path) -> None:
    opened = sink()
    opened.write(batch({"n": 1, "x": 0.5, "t": "a"}))
    reasons = refused(
        opened,
        {"n": "007"},
        {"n": "1e3"},
        {"n": "12"},
        {"n": "word"},
        {"n": "9007199254740993"},
        {"n": "99999999999999999999"},
        {"x": 2**53 + 1},
        {"x": 2**53},
        {"x": "9007199254740993"},
        {"x": "0.5"},
        {"t": 0.1 + 0.2},
        {"t": 2**62},
        {"t": True},
    )
    assert list(reasons) == [0, 1, 5, 6, 8]
    assert reasons[0] == "column `n` is INTEGER in the table, which would change the text"
    assert reasons[6] == "column `x` is REAL in the table, which would change the whole number"
    assert query(out)[1:] == [
        (12, None, None),
        ("word", None, None),
        (9007199254740993, None, None),
        (None, 9007199254740992.0, None),
        (None, 0.5, None),
        (None, None, "0.30000000000000004"),
        (None, None, "4611686018427387904"),
        (None, None, "1"),
    ]


def test_more_columns_than_a_table_has(sink: Any, out: Path) -> None:
    reasons = refused(sink(), {str(n): n for n in range(2000)}, {"0": 1, "2000": 1}, {"0": 2})
    assert reasons == {1: "column `2000` is one too many: a table has 2,000 columns at most"}
    assert query(out, 'SELECT "0" FROM rows') == [(0,), (2,)]


def test_what_is_refused_writes_nothing_at_all(sink: Any, out: Path) -> None:
    opened = sink()
    with pytest.raises(RowsFailed):
        opened.write(batch({"n": 1}, {"n": 2**70}), {"in/0": 5})
    assert columns(out) == {}
    assert opened.positions() == {}


def test_a_table_that_rolls_back_by_itself_is_told_apart(sink: Any, out: Path) -> None:
    make(out, "CREATE TABLE rows (n INTEGER UNIQUE ON CONFLICT ROLLBACK)", "INSERT INTO rows VALUES (1)")
    with pytest.raises(Exception, match="rolls transactions back by itself"):
        sink().write(batch({"n": 2}, {"n": 1}, {"n": 3}), {"in/0": 1})
    assert query(out) == [(1,)]


# --- upsert ----------------------------------------------------------------------------------------------------------


def test_upsert_lets_a_row_take_the_place_of_the_one_with_its_key(sink: Any, out: Path) -> None:
    opened = sink(mode="upsert", key=["id", "Part"])
    opened.write(batch({"id": 1, "part": "a", "n": 1}, {"id": 1, "part": "b", "n": 2}, {"id": 1, "part": "a", "n": 3}))
    opened.write(batch({"id": 1, "part": "b", "more": "x"}, {"id": "two", "part": "b", "n": 4}))
    rows = query(out, "SELECT id, part, n, more FROM rows ORDER BY part, id")
    assert rows == [(1, "a", 3, None), (1, "b", None, "x"), ("two", "b", 4, None)]


def test_upsert_by_one_key_and_nothing_else(sink: Any, out: Path) -> None:
    opened = sink(mode="upsert", key="id")
    opened.write(batch({"id": 1}, {"id": 2}))
    opened.write(batch({"id": 2}, {"id": "x"}, {"id": 3}))
    assert query(out) == [(1,), (2,), ("x",), (3,)]


def test_upsert_refuses_a_row_without_its_key(sink: Any, out: Path) -> None:
    opened = sink(mode="upsert", key="id")
    assert refused(opened, {"id": None, "n": 1}, {"n": 2}, {"id": float("nan")}, {"id": 4}) == dict.fromkeys(
        (0, 1, 2), "`id` is null, and it is a part of the key"
    )
    with pytest.raises(RowsFailed) as raised:
        opened.write(batch({"n": 5}))
    assert list(raised.value.reasons) == [0]
    assert query(out, "SELECT id FROM rows") == [(4,)]


def test_upsert_into_a_table_of_somebody_else(sink: Any, out: Path) -> None:
    make(out, "CREATE TABLE rows (id TEXT, n INTEGER, twice AS (n * 2))", "CREATE UNIQUE INDEX i ON rows (id)")
    opened = sink(mode="upsert", key="ID")
    opened.write(batch({"id": "a", "n": 1}))
    opened.write(batch({"id": "a", "n": 2}))
    assert query(out) == [("a", 2, 4)]


# --- positions -------------------------------------------------------------------------------------------------------


def test_pipelines_share_a_database_and_a_table(use: Any, new_context: Any, out: Path) -> None:
    one = use("sink", "sqlite", context=new_context(pipeline="one"), **TABLE)
    other = use("sink", "sqlite", context=new_context(pipeline="other"), **TABLE)
    one.write(batch({"a": 1}), {"in/0": 1})
    other.write(batch({"b": 2}), {"in/0": [2]})
    one.write(batch({"b": 3}), {"in/1": {"offset": 3}})
    for opened in (one, other):
        opened.close()
    assert query(out) == [(1, None), (None, 2), (None, 3)]
    again = use("sink", "sqlite", context=new_context(pipeline="one"), **TABLE)
    assert again.positions() == {"in/0": 1, "in/1": {"offset": 3}}
    assert use("sink", "sqlite", context=new_context(pipeline="new"), **TABLE).positions() == {}


def test_a_second_run_of_the_same_pipeline_is_found_out_before_it_writes(sink: Any, out: Path) -> None:
    one, other = sink(), sink()
    one.write(batch({"n": 1}), {"in/0": 1})
    with pytest.raises(Exception, match=r"another run of the pipeline trial has written to .*out\.db since"):
        other.write(batch({"n": 1}), {"in/0": 1})
    one.write(batch({"n": 2}), {"in/0": 2})
    assert query(out) == [(1,), (2,)]


def test_pipelines_that_begin_at_the_same_moment_with_a_new_file(new_context: Any, out: Path) -> None:
    from tests.builtin.conftest import opened

    barrier, troubles = threading.Barrier(4), list[BaseException]()

    def begin(number: int) -> None:
        barrier.wait()
        try:
            with opened(new_context(pipeline=f"p{number}"), "sink", "sqlite", **TABLE, busy_seconds=60) as sink:
                sink.write(batch({"n": number}), {"in/0": number})
        except BaseException as error:  # noqa: BLE001 - told by the test
            troubles.append(error)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
    assert sorted(query(out)) == [(0,), (1,), (2,), (3,)]


# --- databases that cannot be used -----------------------------------------------------------------------------------


def test_a_database_that_another_process_writes_to_is_waited_for(sink: Any, out: Path) -> None:
    opened = sink(busy_seconds=0)
    with contextlib.closing(sqlite3.connect(out, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RetryAfter, match=r"the database .*out\.db is locked by another process"):
            opened.write(batch({"n": 1}), {"in/0": 1})
        with pytest.raises(Exception, match="is locked by another process; wait until it has finished"):
            sink(busy_seconds=0)
        other.execute("ROLLBACK")
    opened.write(batch({"n": 1}), {"in/0": 1})
    assert query(out) == [(1,)]


WRONG: list[tuple[str, Callable[[Path], object], dict[str, Any], str]] = [
    (
        "no database",
        lambda out: out.write_bytes(b"not a database" * 100),
        {},
        "is no database of SQLite .*another file",
    ),
    ("a directory", lambda out: out.mkdir(), {}, r"out\.db is a directory: name a file in it"),
    (
        "a file in the way",
        lambda out: out.with_name("file").touch(),
        {"path": "file/out.db"},
        r"the database .* cannot be made: (File exists|Not a directory)",
    ),
    ("a view", lambda out: make(out, "CREATE VIEW rows AS SELECT 1"), {}, "rows is a view: name a table"),
    (
        "no key column",
        lambda out: make(out, "CREATE TABLE rows (a, b)"),
        {"mode": "upsert", "key": "id"},
        "the table rows has no column `id`, which is a part of `key`: its columns are `a`, `b`",
    ),
    (
        "a key that is not unique",
        lambda out: make(out, "CREATE TABLE rows (id, b, UNIQUE (id, b))"),
        {"mode": "upsert", "key": "id"},
        r'several rows with the same `id`.*CREATE UNIQUE INDEX "rows_key" ON "rows" \("id"\)',
    ),
    (
        "a newer schema",
        lambda out: make(out, "CREATE TABLE etlcore_schema (version)", "INSERT INTO etlcore_schema VALUES (2)"),
        {},
        "written by a newer etlcore .*version 2, and this one knows 1.*: upgrade etlcore",
    ),
    (
        "another program's positions",
        lambda out: make(out, "CREATE TABLE etlcore_positions (id)"),
        {},
        "has a table etlcore_positions or etlcore_writers that etlcore has not made",
    ),
]


@pytest.mark.parametrize(("prepare", "options", "said"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_a_database_that_cannot_be_used(
    sink: Any, out: Path, prepare: Callable[[Path], object], options: dict[str, Any], said: str
) -> None:
    prepare(out)
    with pytest.raises(Exception, match=said) as raised:
        sink(**options)
    assert type(raised.value).__name__ == "SqliteError"


def test_a_computed_column_cannot_be_written(sink: Any, out: Path) -> None:
    make(out, "CREATE TABLE rows (n INTEGER, twice AS (n * 2))")
    with pytest.raises(Exception, match="the column twice of the table rows is computed by the database: leave it out"):
        sink().write(batch({"n": 1, "twice": 2}))


def test_a_database_that_is_removed_while_it_is_in_use(sink: Any, out: Path) -> None:
    opened = sink()
    opened.write(batch({"n": 1}), {"in/0": 1})
    for file in out.parent.glob("out.db*"):
        file.unlink()
    with pytest.raises(Exception, match=r"out\.db was removed or replaced while it was in use"):
        opened.write(batch({"n": 2}), {"in/0": 2})


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs root, to mount a small file system")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_told_and_costs_nothing_that_was_written(sink: Any, disk: Path) -> None:
    opened = sink(path="disk/out.db")
    opened.write(batch({"t": "first"}), {"in/0": 1})
    with pytest.raises(Exception, match=r"disk/out\.db (has no room left|cannot be read or written) .*is read again"):
        opened.write(batch({"t": "x" * 2_000_000}), {"in/0": 2})
    opened.write(batch({"t": "second"}), {"in/0": 3})
    assert query(disk / "out.db") == [("first",), ("second",)]


def test_a_disk_that_cannot_be_written_to(sink: Any, disk: Path) -> None:
    sink(path="disk/out.db").close()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(Exception, match=r"the database .*out\.db (is read-only|cannot be opened).*writable"):
        sink(path="disk/out.db")
