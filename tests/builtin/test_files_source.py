"""The source `files`: every line once, positions at lines, and bad lines named by their place."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from etlcore import Batch
from etlcore.builtin import files_tail
from etlcore.builtin.files_paths import FilesError


def write(directory: Path, name: str, content: str | bytes) -> Path:
    file = directory / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def read(use: Any, **options: Any) -> list[dict[str, Any]]:
    return [row for batch in use("source", "files", **options).read() if batch is not None for row in batch.rows]


def positions(*batches: Batch | None) -> dict[str, Any]:
    """What is committed once these batches are delivered."""
    marks = [mark for batch in batches if batch is not None for mark in batch.marks]
    return {position.partition: position.value for _, position in marks}


def numbers(*ns: int) -> str:
    return "".join(f'{{"n":{n}}}\n' for n in ns)


def test_each_line_is_a_row(use: Any, tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", '{"n":1,"t":"é"}\n{"n":2}\n')
    (batch,) = use("source", "files", path="a.jsonl").read()
    assert batch.rows == [{"n": 1, "t": "é"}, {"n": 2}]
    ((end, position),) = batch.marks
    status = (tmp_path / "a.jsonl").stat()
    assert (end, position.partition) == (2, f"a.jsonl@{status.st_dev:x}:{status.st_ino:x}")
    assert position.value["offset"] == status.st_size


@pytest.mark.parametrize(
    ("content", "ns"),
    [
        ("", []),
        ("\n\n", []),
        ('{"n":1}', [1]),
        ('{"n":1}\n\n  \n{"n":2}', [1, 2]),
        ('{"n":1}\r\n{"n":2}\r\n', [1, 2]),
        (b'\xef\xbb\xbf{"n":1}\n{"n":2}\n', [1, 2]),
        ('{"n":1}\u2028\n', None),
    ],
    ids=["empty", "blank", "no newline at the end", "blank lines", "CRLF", "byte order mark", "odd separators"],
)
def test_forms_of_files(use: Any, tmp_path: Path, content: str | bytes, ns: list[int] | None) -> None:
    write(tmp_path, "a.jsonl", content)
    if ns is None:
        with pytest.raises(FilesError):
            read(use, path="a.jsonl", on_bad_line="stop")
    else:
        assert [row["n"] for row in read(use, path="a.jsonl")] == ns


def test_globs_and_lists_name_each_file_once_in_order(use: Any, tmp_path: Path) -> None:
    for name, n in (("b.jsonl", 2), ("a.jsonl", 1), ("deep/er/c.jsonl", 3), ("d.txt", 4)):
        write(tmp_path, name, numbers(n))
    assert [row["n"] for row in read(use, path="*.jsonl")] == [1, 2]
    assert [row["n"] for row in read(use, path="**/*.jsonl")] == [1, 2, 3]
    assert [row["n"] for row in read(use, path=["d.txt", "*.jsonl", "a.jsonl", "./a.jsonl"])] == [1, 2, 4]
    assert [row["n"] for row in read(use, path=str(tmp_path / "a.jsonl"))] == [1]


def test_a_partition_is_the_path_below_the_pipeline_else_absolute(
    use: Any, tmp_path: Path, new_context: Callable[..., Any]
) -> None:
    write(tmp_path, "below/a.jsonl", numbers(1))
    outside = write(tmp_path, "b.jsonl", numbers(2))
    context = new_context()
    context.directory = tmp_path / "below"
    source = use("source", "files", context=context, path=["a.jsonl", "../b.jsonl"])
    partitions = [batch.marks[-1][1].partition.partition("@")[0] for batch in source.read()]
    assert sorted(partitions) == sorted(["a.jsonl", str(outside)])


def test_a_name_without_a_utf8_form_is_read(use: Any, tmp_path: Path) -> None:
    name = os.fsdecode(b"a\xff.jsonl")
    write(tmp_path, name, numbers(1))
    (batch,) = use("source", "files", path="*.jsonl").read()
    assert batch.marks[-1][1].partition.startswith("a\\xff.jsonl@")


def test_a_later_run_reads_what_was_appended(use: Any, context: Any, tmp_path: Path) -> None:
    file = write(tmp_path, "a.jsonl", numbers(1, 2))
    (batch,) = use("source", "files", path="a.jsonl").read()
    context.positions = positions(batch)
    assert read(use, path="a.jsonl") == []
    with file.open("a") as stream:
        stream.write(numbers(3))
    assert read(use, path="a.jsonl") == [{"n": 3}]


def test_a_last_line_that_gets_its_newline_later_is_not_read_again(use: Any, context: Any, tmp_path: Path) -> None:
    file = write(tmp_path, "a.jsonl", '{"n":1}')
    (batch,) = use("source", "files", path="a.jsonl").read()
    context.positions = positions(batch)
    with file.open("a") as stream:
        stream.write("\n" + numbers(2))
    assert read(use, path="a.jsonl") == [{"n": 2}]


def test_a_file_that_shrank_is_read_from_its_beginning_with_a_warning(
    use: Any, context: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "a.jsonl", numbers(5))
    context.positions = {"a.jsonl": 1000}
    assert read(use, path="a.jsonl") == [{"n": 5}]
    assert "a.jsonl does not hold what was read of it: it is read from its beginning" in caplog.text


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_files_are_shared_out_among_workers(
    use: Any, tmp_path: Path, new_context: Callable[..., Any], workers: int
) -> None:
    for n in range(5):
        write(tmp_path, f"{n}.jsonl", numbers(n))
    shares = [
        [row["n"] for row in read(use, context=new_context(worker=worker, workers=workers), path="*.jsonl")]
        for worker in range(workers)
    ]
    assert sorted(n for share in shares for n in share) == [0, 1, 2, 3, 4]


def test_batches_hold_so_many_rows_with_a_mark_every_hundred_lines(use: Any, tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", numbers(*range(1150)))
    first, second = use("source", "files", path="a.jsonl").read()
    assert [end for end, _ in first.marks] == list(range(100, 1001, 100))
    assert [end for end, _ in second.marks] == [100, 150]


def test_blank_lines_alone_still_move_the_position(use: Any, tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", "\n" * 25)
    batches = list(use("source", "files", path="a.jsonl", batch=1).read())
    assert [len(batch) for batch in batches] == [0, 0, 0]
    assert batches[-1].marks[-1][1].value["offset"] == 25


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    lines=st.lists(st.sampled_from(['{"n":1}', '{"t":"é中"}', "", "  ", '{"t":"a\\nb"}', "\ufeff{}"]), max_size=30),
    newline=st.sampled_from(["\n", "\r\n"]),
    ended=st.booleans(),
    batch=st.integers(1, 7),
    chunk=st.integers(1, 40),
    mark_every=st.integers(1, 5),
)
def test_reading_on_from_any_mark_gives_exactly_the_rest(
    use: Any,
    context: Any,
    tmp_path: Path,
    lines: list[str],
    newline: str,
    ended: bool,
    batch: int,
    chunk: int,
    mark_every: int,
) -> None:
    write(tmp_path, "a.jsonl", newline.join(lines) + (newline if ended else ""))
    wanted = [json.loads(line.lstrip("\ufeff")) for line in lines if line.strip()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files_tail, "CHUNK", chunk)
        patch.setattr(files_tail, "_MARK_EVERY", mark_every)
        context.positions = {}
        batches = list(use("source", "files", path="a.jsonl", batch=batch).read())
        assert [row for one in batches for row in one.rows] == wanted
        assert all(len(one) <= batch for one in batches)
        before = 0
        for one in batches:
            for end, position in one.marks:
                context.positions = {position.partition: position.value}
                assert read(use, path="a.jsonl", batch=batch) == wanted[before + end :]
            before += len(one)


# What cannot be read


def test_a_bad_line_stops_with_its_place_after_the_rows_before_it(use: Any, tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", numbers(1, 2) + '\n{"n":\n' + numbers(3))
    reading = use("source", "files", path="a.jsonl", on_bad_line="stop").read()
    batch = next(reading)
    assert batch.rows == [{"n": 1}, {"n": 2}]
    with pytest.raises(FilesError) as caught:
        next(reading)
    assert str(caught.value) == (
        "a.jsonl:4: not JSON: expecting value (column 6): mend the line, or set on_bad_line: reject"
    )


def test_the_line_is_counted_from_the_beginning_of_the_file_after_a_resumption_too(
    use: Any, context: Any, tmp_path: Path
) -> None:
    write(tmp_path, "a.jsonl", numbers(1, 2, 3) + "bad\n")
    context.positions = {"a.jsonl": len(numbers(1, 2))}
    with pytest.raises(FilesError, match=r"^a\.jsonl:4: not JSON"):
        read(use, path="a.jsonl", on_bad_line="stop")


def test_bad_lines_are_skipped_and_counted_when_wanted(
    use: Any, context: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "a.jsonl", numbers(1) + "bad\n[]\n" + numbers(2))
    (batch,) = use("source", "files", path="a.jsonl", on_bad_line="skip").read()
    assert batch.rows == [{"n": 1}, {"n": 2}]
    assert context.metrics.counts == {"bad_lines": 2}
    assert "a.jsonl: skipped a line at byte 8: not JSON" in caplog.text


@pytest.mark.parametrize("chunk", [7, 64, 1024 * 1024])
def test_a_line_beyond_the_limit_is_bad_and_is_never_held_whole(
    use: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(files_tail, "CHUNK", chunk)
    long = '{"t":"' + "x" * 500 + '"}\n'
    write(tmp_path, "a.jsonl", numbers(1) + long + numbers(2) + long.rstrip())
    options = {"path": "a.jsonl", "max_line": 100, "on_bad_line": "skip"}
    batches = list(use("source", "files", **options).read())
    assert [row for batch in batches for row in batch.rows] == [{"n": 1}, {"n": 2}]
    assert batches[-1].marks[-1][1].value["offset"] == (tmp_path / "a.jsonl").stat().st_size
    with pytest.raises(FilesError, match=r"a\.jsonl:2: longer than max_line \(100 bytes\)"):
        read(use, path="a.jsonl", max_line=100, on_bad_line="stop")


def test_a_line_as_long_as_the_limit_is_good(use: Any, tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", numbers(1))
    assert read(use, path="a.jsonl", max_line=7) == [{"n": 1}]
    with pytest.raises(FilesError, match="longer than max_line"):
        read(use, path="a.jsonl", max_line=6, on_bad_line="stop")


def test_a_file_that_is_not_there_is_an_error(use: Any, tmp_path: Path) -> None:
    with pytest.raises(
        FilesError, match=rf"there is no file {tmp_path}/no\.jsonl: check the path, which is relative to"
    ):
        read(use, path="no.jsonl")


def test_a_directory_is_an_error_with_the_way_out(use: Any, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    with pytest.raises(FilesError, match=r"logs is a directory: write logs/\*\.jsonl for the files in it"):
        read(use, path="logs")


def test_a_pipe_is_an_error(use: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FilesError, match="pipe is not a regular file: only files can be read again after a stop"):
        read(use, path="pipe")


def test_a_glob_without_a_match_is_a_warning(use: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "a.jsonl", numbers(1))
    assert read(use, path=["*.log", "a.jsonl"]) == [{"n": 1}]
    assert f"no file matches '*.log' in {tmp_path}" in caplog.text


def test_a_file_that_cannot_be_opened_is_an_error(use: Any, tmp_path: Path) -> None:
    source = use("source", "files", path="*.jsonl")
    write(tmp_path, "a.jsonl", numbers(1))
    write(tmp_path, "b.jsonl", numbers(2))
    reading = source.read()
    next(reading)
    (tmp_path / "b.jsonl").unlink()
    with pytest.raises(FilesError, match=r"cannot read b\.jsonl: No such file or directory"):
        next(reading)


@pytest.mark.parametrize("path", ["", [], [""], ["a", ""]])
def test_an_empty_path_is_refused(use: Any, path: Any) -> None:
    with pytest.raises(ValidationError, match="a path is empty: name a file or a glob"):
        use("source", "files", path=path)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc/self/fd")
def test_closing_the_reader_closes_the_file(use: Any, tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", numbers(*range(10)))
    reading = use("source", "files", path="a.jsonl", batch=1).read()
    next(reading)
    opened = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)]
    assert str(tmp_path / "a.jsonl") in opened
    reading.close()
    opened = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)]
    assert str(tmp_path / "a.jsonl") not in opened


def _is_open(descriptor: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{descriptor}")
