"""The sink `files`: whole lines, on the disk, whatever happens in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etlcore import Batch
from etlcore.builtin.appender import AppendError

needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc/self/fd")


def rows(*ns: int) -> Batch:
    return Batch.from_rows([{"n": n} for n in ns])


def lines(*ns: int) -> bytes:
    return b"".join(b'{"n":%d}\n' % n for n in ns)


def test_rows_become_lines(use: Any, tmp_path: Path) -> None:
    sink = use("sink", "files", path="out.jsonl")
    sink.write(rows(1, 2))
    sink.write(rows())
    sink.write(Batch.from_arrow(rows(3).arrow))
    assert (tmp_path / "out.jsonl").read_bytes() == lines(1, 2, 3)


def test_missing_directories_are_made(use: Any, tmp_path: Path) -> None:
    use("sink", "files", path="a/b/out.jsonl").write(rows(1))
    assert (tmp_path / "a/b/out.jsonl").read_bytes() == lines(1)


def test_append_goes_on_and_overwrite_begins_anew(use: Any, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    for mode, wanted in (("append", lines(1)), ("append", lines(1, 1)), ("overwrite", lines(1))):
        sink = use("sink", "files", path="out.jsonl", mode=mode)
        sink.write(rows(1))
        sink.close()
        assert file.read_bytes() == wanted


def test_overwrite_empties_the_file_even_when_no_row_comes(use: Any, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_bytes(lines(1))
    use("sink", "files", path="out.jsonl", mode="overwrite")
    assert (tmp_path / "out.jsonl").read_bytes() == b""


def test_each_worker_has_its_file(use: Any, tmp_path: Path, new_context: Callable[..., Any]) -> None:
    for worker in range(3):
        context = new_context(worker=worker, workers=3)
        use("sink", "files", context=context, path="out/{worker}.jsonl").write(rows(worker))
    assert [(tmp_path / f"out/{n}.jsonl").read_bytes() for n in range(3)] == [lines(n) for n in range(3)]


def test_several_workers_without_a_file_each_are_refused(use: Any, new_context: Callable[..., Any]) -> None:
    with pytest.raises(
        ValueError, match=r"3 workers cannot share the file out.jsonl: put \{worker\} into the path, or"
    ):
        use("sink", "files", context=new_context(workers=3), path="out.jsonl")


def test_two_writers_of_one_file_are_refused(use: Any, new_context: Callable[..., Any]) -> None:
    first = use("sink", "files", path="out.jsonl")
    with pytest.raises(AppendError, match=r"out\.jsonl is being written by another stage or run"):
        use("sink", "files", path="out.jsonl", mode="overwrite")
    first.write(rows(1))
    first.close()
    use("sink", "files", path="out.jsonl").write(rows(2))


@needs_proc
def test_a_write_is_on_the_disk_when_it_returns(use: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real calls, watched: the file's size when it was synced is the size that was written."""
    synced: list[tuple[str, int]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        synced.append((os.readlink(f"/proc/self/fd/{descriptor}"), os.fstat(descriptor).st_size))

    monkeypatch.setattr(os, "fsync", fsync)
    sink = use("sink", "files", path="new/out.jsonl")
    directories = [name for name, _ in synced]
    assert str(tmp_path) in directories, "the entry of the new directory"
    assert str(tmp_path / "new") in directories, "the entry of the new file"
    for n in range(3):
        sink.write(rows(n))
        assert synced[-1] == (str(tmp_path / "new/out.jsonl"), len(lines(*range(n + 1))))


# Torn lines


@pytest.mark.parametrize(
    ("tail", "left"),
    [
        (b"", b""),
        (b'{"n":2}\n', b'{"n":2}\n'),
        (b'{"n":2}', b'{"n":2}\n'),
        (b'{"n":2', b""),
        (b"{", b""),
        (b'{"t":"' + b"x" * 200_000, b""),
        (b'{"t":"' + b"x" * 200_000 + b'"}', b'{"t":"' + b"x" * 200_000 + b'"}\n'),
        (b"\0" * 5000, b""),
    ],
    ids=["none", "whole", "whole but for its newline", "torn", "brace", "long torn", "long whole", "zeros"],
)
@pytest.mark.parametrize("before", [b"", lines(1)], ids=["first line", "later line"])
def test_a_torn_last_line_is_mended_at_the_start(
    use: Any, tmp_path: Path, before: bytes, tail: bytes, left: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "out.jsonl").write_bytes(before + tail)
    use("sink", "files", path="out.jsonl").write(rows(9))
    assert (tmp_path / "out.jsonl").read_bytes() == before + left + lines(9)
    assert ("ended in a torn line" in caplog.text) == (len(left) < len(tail))


@pytest.mark.parametrize("content", [b"notes without an end", b"a,b\n1,2"])
def test_a_file_of_another_kind_is_left_alone(use: Any, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "out.jsonl").write_bytes(content)
    with pytest.raises(AppendError, match="does not end like a file of JSON lines: move it away, or name another path"):
        use("sink", "files", path="out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == content


def test_a_value_that_json_cannot_hold_leaves_the_file_as_it_was(use: Any, tmp_path: Path) -> None:
    sink = use("sink", "files", path="out.jsonl")
    with pytest.raises(TypeError, match="column 'bad'"):
        sink.write(Batch.from_rows([{"n": 1}, {"bad": object()}]))
    sink.write(rows(2))
    assert (tmp_path / "out.jsonl").read_bytes() == lines(2)


FULL_DISK = """
import resource, sys
from pathlib import Path
import logging
from etlcore.builtin.appender import Appender, AppendError

file = Path(sys.argv[1])
sink = Appender(file, log=logging.getLogger())
sink.open()
sink.append(b'{"n":1}\\n')
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))  # the disk is full after 1000 bytes
for _ in range(2):
    try:
        sink.append(b'{"n":2}\\n' * 500)
    except AppendError as error:
        print(error, file.stat().st_size)
sink.append(b'{"n":3}\\n')
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
sink.append(b'{"n":2}\\n' * 500)
"""


def test_what_was_begun_when_the_disk_is_full_is_cut_off_and_a_retry_goes_well(tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(file)], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"cannot write to {file}: File too large 8"] * 2
    assert file.read_bytes() == lines(1, 3) + lines(2) * 500


def test_a_failed_sync_counts_as_not_written(use: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = use("sink", "files", path="out.jsonl")
    sink.write(rows(1))
    with monkeypatch.context() as patch:

        def failing(descriptor: int) -> None:
            raise OSError(5, "Input/output error")

        patch.setattr(os, "fsync", failing)
        with pytest.raises(AppendError, match=r"cannot write to .*out\.jsonl: Input/output error"):
            sink.write(rows(2))
    assert (tmp_path / "out.jsonl").read_bytes() == lines(1)
    sink.write(rows(3))
    assert (tmp_path / "out.jsonl").read_bytes() == lines(1, 3)


def test_a_cut_that_fails_is_made_good_by_the_next_write(
    use: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = use("sink", "files", path="out.jsonl")
    sink.write(rows(1))

    def failing(*arguments: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        patch.setattr(os, "ftruncate", failing)
        with pytest.raises(AppendError):
            sink.write(rows(2))
    assert (tmp_path / "out.jsonl").read_bytes() == lines(1, 2)
    sink.write(rows(3))
    assert (tmp_path / "out.jsonl").read_bytes() == lines(1, 3)


def test_what_somebody_else_appends_meanwhile_is_kept(
    use: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = use("sink", "files", path="out.jsonl")
    sink.write(rows(1))
    with open(tmp_path / "out.jsonl", "ab") as stream:
        stream.write(b'{"else":1}')
    sink.write(rows(2))
    assert (tmp_path / "out.jsonl").read_bytes() == lines(1) + b'{"else":1}\n' + lines(2)
    assert "was changed by someone else" in caplog.text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(cut=st.integers(0, 40), data=st.data())
def test_a_crash_anywhere_leaves_whole_lines_for_the_next_run(
    use: Any, tmp_path: Path, cut: int, data: st.DataObject
) -> None:
    """A file cut at any byte: the next run keeps the whole lines before it and adds its own."""
    whole = [
        f'{{"t":"{text}"}}\n'.encode() for text in data.draw(st.lists(st.sampled_from(["", "é", "a}"]), max_size=4))
    ]
    content = b"".join(whole)[:cut]
    (tmp_path / "out.jsonl").write_bytes(content)
    sink = use("sink", "files", path="out.jsonl")
    sink.write(rows(9))
    sink.close()
    after = (tmp_path / "out.jsonl").read_bytes()
    kept = after.removesuffix(lines(9))
    assert kept.endswith(b"\n") or not kept
    assert b"".join(whole).startswith(kept)
    assert len(kept) >= content.rfind(b"\n") + 1


KILLED = """
import logging, os, sys
from pathlib import Path
from etlcore.builtin.appender import Appender
sink = Appender(Path(sys.argv[1]), log=logging.getLogger())
sink.open()
n = 0
while True:
    sink.append(b''.join(b'{"n":%d,"x":"%s"}\\n' % (i, b'x' * 5000) for i in range(n, n + 20)))
    n += 20
    print(n, flush=True)
"""


def test_kill_9_loses_nothing_that_was_written_and_leaves_a_readable_file(use: Any, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "out.jsonl")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(5):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    told = process.stdout.read().splitlines()
    process.stdout.close()
    process.wait(timeout=60)
    durable = int(told[-1]) if told else 100
    sink = use("sink", "files", path="out.jsonl")
    sink.close()
    read = [row for batch in use("source", "files", path="out.jsonl").read() for row in batch.rows]
    assert [row["n"] for row in read] == list(range(len(read)))
    assert len(read) >= durable


# Places that cannot be written


def test_a_directory_in_the_place_of_the_file(use: Any, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(AppendError, match="out is not a regular file: name a file, or use the sink console"):
        use("sink", "files", path="out")


def test_a_file_in_the_place_of_a_directory(use: Any, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(AppendError, match=r"cannot open .*a/out\.jsonl: "):
        use("sink", "files", path="a/out.jsonl")


def test_a_device_is_refused(use: Any) -> None:
    with pytest.raises(AppendError, match="/dev/null is not a regular file"):
        use("sink", "files", path="/dev/null")


def test_opening_that_fails_leaves_nothing_open(use: Any, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_bytes(b"notes")
    with pytest.raises(AppendError):
        use("sink", "files", path="out.jsonl")
    (tmp_path / "out.jsonl").unlink()
    use("sink", "files", path="out.jsonl").write(rows(1))
