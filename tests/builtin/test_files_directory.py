"""The sink `files` on a directory: files that roll, that appear whole, and what a crash leaves of them."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as dataset
import pytest
from pydantic import ValidationError

from etlcore import Batch, RowsFailed
from etlcore.builtin.appender import AppendError

PATIENCE = 120  # seconds: far beyond what any of these takes


def rows(*ns: int) -> Batch:
    return Batch.from_rows([{"n": n} for n in ns])


def published(directory: Path) -> list[Path]:
    """The files that a reader sees."""
    return sorted(file for file in directory.rglob("*.jsonl*") if ".writing" not in file.parts)


def unfinished(directory: Path) -> list[Path]:
    return sorted(file for file in (directory / ".writing").rglob("*") if file.is_file())


def content(file: Path) -> bytes:
    data = file.read_bytes()
    if file.suffix == ".gz":
        return gzip.decompress(data)
    return pa.input_stream(str(file), compression="zstd").read() if file.suffix == ".zst" else data


def numbers(files: list[Path]) -> list[int]:
    return [json.loads(line)["n"] for file in files for line in content(file).splitlines()]


def test_rows_are_on_the_disk_at_once_and_seen_when_the_file_is_done(use: Any, tmp_path: Path) -> None:
    sink = use("sink", "files", path="out/")
    sink.write(rows(1, 2))
    sink.write(rows(3))
    assert published(tmp_path / "out") == []
    assert numbers(unfinished(tmp_path / "out")) == [1, 2, 3]
    sink.close()
    assert numbers(published(tmp_path / "out")) == [1, 2, 3]
    assert unfinished(tmp_path / "out") == []


def test_a_run_without_rows_publishes_nothing(use: Any, tmp_path: Path) -> None:
    sink = use("sink", "files", path="out/")
    sink.write(rows())
    sink.close()
    assert published(tmp_path / "out") == []


def test_a_file_is_done_when_it_is_large_enough(use: Any, tmp_path: Path) -> None:
    sink = use("sink", "files", path="out/", roll_bytes=20)
    for n in range(1, 8):
        sink.write(rows(n))
    assert [numbers([file]) for file in published(tmp_path / "out")] == [[1, 2, 3], [4, 5, 6]]
    assert numbers(unfinished(tmp_path / "out")) == [7]


def test_a_file_is_done_after_a_while_even_when_no_more_rows_come(use: Any, tmp_path: Path) -> None:
    sink = use("sink", "files", path="out/", roll_seconds=0.05)
    sink.write(rows(1))
    wait_for(lambda: published(tmp_path / "out"))
    sink.write(rows(2))
    wait_for(lambda: len(published(tmp_path / "out")) == 2)
    assert numbers(published(tmp_path / "out")) == [1, 2]


def wait_for(condition: Callable[[], Any]) -> None:
    for _ in range(PATIENCE * 100):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came true")


@pytest.mark.parametrize(("compression", "ending"), [("gzip", ".jsonl.gz"), ("zstd", ".jsonl.zst")])
def test_compressed_files_are_whole_and_the_source_reads_them(
    use: Any, tmp_path: Path, compression: str, ending: str
) -> None:
    sink = use("sink", "files", path="out/", compression=compression, roll_bytes=2000)
    for n in range(500):
        sink.write(rows(n))
    sink.close()
    files = published(tmp_path / "out")
    assert len(files) > 1
    assert all(file.name.endswith(ending) for file in files)
    assert numbers(files) == list(range(500))
    read = [row["n"] for batch in use("source", "files", path=f"out/*{ending}").read() for row in batch.rows]
    assert read == list(range(500))


# Partitions


def test_partitions_are_directories_that_other_tools_read(use: Any, tmp_path: Path) -> None:
    values: list[Any] = ["de", "a/b=c%", "日本", None, "two words", ".."]
    sink = use("sink", "files", path="out/", partition_by=["day", "of"])
    sink.write(Batch.from_rows([{"day": date(2026, 1, 31), "of": value, "n": n} for n, value in enumerate(values)]))
    sink.close()
    assert sorted(file.parent.relative_to(tmp_path / "out").as_posix() for file in published(tmp_path / "out")) == [
        "day=2026-01-31/of=..",
        "day=2026-01-31/of=__HIVE_DEFAULT_PARTITION__",
        "day=2026-01-31/of=a%2Fb%3Dc%25",
        "day=2026-01-31/of=de",
        "day=2026-01-31/of=two words",
        "day=2026-01-31/of=日本",
    ]
    scheme = dataset.partitioning(pa.schema([("day", pa.string()), ("of", pa.string())]), flavor="hive")
    parsed: dict[int, Any] = {}
    for file in published(tmp_path / "out"):
        keys = dataset.get_partition_keys(scheme.parse(f"{file.parent.relative_to(tmp_path / 'out')}/"))
        parsed |= dict.fromkeys(numbers([file]), keys["of"])
        assert keys["day"] == "2026-01-31"
    assert [parsed[n] for n in range(len(values))] == values


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (True, "true"),
        (7, "7"),
        (1.5, "1.5"),
        ("", ""),
        ("~", "~"),
        ("a\nb\x00", "a%0Ab%00"),
        ("C:\\x*?", "C%3A%5Cx%2A%3F"),
        (datetime(2026, 1, 31, 12, 30), "2026-01-31T12%3A30%3A00"),
    ],
)
def test_values_become_safe_names(use: Any, tmp_path: Path, value: Any, name: str) -> None:
    sink = use("sink", "files", path="out/", partition_by=["v"])
    sink.write(Batch.from_rows([{"v": value, "n": 1}]))
    sink.close()
    (file,) = published(tmp_path / "out")
    assert file.parent == tmp_path / "out" / f"v={name}"


def test_rows_without_a_directory_fail_alone(use: Any, tmp_path: Path) -> None:
    sink = use("sink", "files", path="out/", partition_by=["v"])
    bad = [{"a": 1}, b"x", "x" * 300, "\ud800", "__HIVE_DEFAULT_PARTITION__"]
    with pytest.raises(RowsFailed) as caught:
        sink.write(Batch.from_rows([{"v": value, "n": n} for n, value in enumerate([1, *bad, 2])]))
    assert caught.value.reasons == {
        1: "column 'v' holds dict: a directory is named by a text or a number",
        2: "column 'v' holds bytes: a directory is named by a text or a number",
        3: "column 'v' holds a value too long for a directory's name (302 bytes)",
        4: "column 'v' holds a text that is no Unicode: no directory can have its name",
        5: "column 'v' holds __HIVE_DEFAULT_PARTITION__, which would be read as null",
    }
    sink.close()
    assert sorted(numbers(published(tmp_path / "out"))) == [0, 6]


def test_a_partition_that_cannot_be_written_fails_alone(use: Any, tmp_path: Path) -> None:
    sink = use("sink", "files", path="out/", partition_by=["v"])
    sink.write(Batch.from_rows([{"v": 1, "n": 1}]))
    (unfinished(tmp_path / "out")[0].parent.parent / "v=2").write_text("in the way")
    with pytest.raises(RowsFailed) as caught:
        sink.write(Batch.from_rows([{"v": v, "n": v} for v in (1, 2, 3)]))
    assert list(caught.value.reasons) == [1]
    assert re.match(r"cannot open .*v=2/.*\.jsonl: ", caught.value.reasons[1])
    sink.close()
    assert sorted(numbers(published(tmp_path / "out"))) == [1, 1, 3]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc/self/fd")
def test_open_files_are_bounded_whatever_the_number_of_partitions(use: Any, tmp_path: Path) -> None:
    sink = use("sink", "files", path="out/", partition_by=["v"], max_open=3)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        sink.write(Batch.from_rows([{"v": v, "n": v} for v in range(50)]))
        assert len(os.listdir("/proc/self/fd")) <= before + 3
    assert len(unfinished(tmp_path / "out")) == 3
    sink.write(Batch.from_rows([{"v": v, "n": v} for v in (47, 0)]))
    assert sorted(numbers(unfinished(tmp_path / "out"))) == [0, 47, 47, 49], "48 was written to longest ago"
    sink.close()
    assert sorted(numbers(published(tmp_path / "out"))) == sorted([*range(50), *range(50), 47, 0])


# What a crash leaves

KILLED = """
import os, sys, signal
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.builtin.conftest import LoneContext, opened
from etlcore import Batch
with opened(LoneContext(Path(sys.argv[1])), "sink", "files", path="out/", roll_bytes=3000,
            compression=sys.argv[3], partition_by=["p"]) as sink:
    n = 0
    while True:
        sink.write(Batch.from_rows([{"n": i, "p": i % 2} for i in range(n, n + 10)]))
        n += 10
        print(n, flush=True)
"""


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_kill_9_loses_nothing_that_was_written_and_shows_only_whole_files(
    use: Any, tmp_path: Path, compression: str
) -> None:
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), root, compression], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told = [int(process.stdout.readline()) for _ in range(60)]
    process.send_signal(signal.SIGKILL)
    told += [int(line) for line in process.stdout.read().splitlines()]
    process.stdout.close()
    process.wait(timeout=PATIENCE)
    seen = published(tmp_path / "out")
    assert seen
    numbers(seen)  # whole, each of them
    use("sink", "files", path="out/", compression=compression, partition_by=["p"]).close()
    assert unfinished(tmp_path / "out") == []
    got = sorted(numbers(published(tmp_path / "out")))
    assert len(got) == len(set(got)), "none is there twice"
    assert set(got) >= set(range(told[-1])), "none is missing"


@pytest.mark.parametrize(
    "behind",
    [b"", b'{"n":', b"\0" * 5000, b'\0\0\0":9}\n{"n":9}\n', b"{]\n"],
    ids=["none", "torn", "zeros", "hole", "bad"],
)
def test_what_did_not_count_is_cut_off_whatever_it_is(use: Any, tmp_path: Path, behind: bytes) -> None:
    place = tmp_path / "out/.writing/trial.stage.0"
    place.mkdir(parents=True)
    (place / "x.jsonl").write_bytes(b'{"n":1}\n{"n":2}\n' + behind)
    use("sink", "files", path="out/")
    assert (tmp_path / "out/x.jsonl").read_bytes() == b'{"n":1}\n{"n":2}\n'
    assert unfinished(tmp_path / "out") == []


def test_a_crash_while_a_file_is_compressed_or_just_was(use: Any, tmp_path: Path) -> None:
    place = tmp_path / "out/.writing/trial.stage.0/p=1"
    place.mkdir(parents=True)
    (place / "x.jsonl").write_bytes(b'{"n":1}\n')
    (place / "x.jsonl.gz").write_bytes(gzip.compress(b'{"n":1}\n')[:9])
    (place / "y.jsonl").write_bytes(b'{"n":2}\n')
    (tmp_path / "out/p=1").mkdir()
    (tmp_path / "out/p=1/y.jsonl.gz").write_bytes(gzip.compress(b'{"n":2}\n'))
    use("sink", "files", path="out/", compression="gzip")
    assert numbers(published(tmp_path / "out")) == [1, 2]
    assert [file.name for file in published(tmp_path / "out")] == ["x.jsonl.gz", "y.jsonl.gz"]
    assert unfinished(tmp_path / "out") == []


def test_what_workers_have_left_that_there_are_no_more_is_published_and_what_others_write_is_not(
    use: Any, tmp_path: Path, new_context: Callable[..., Any]
) -> None:
    for owner in ("trial.stage.0", "trial.stage.5", "trial.other.0", "trial2.stage.0"):
        (tmp_path / f"out/.writing/{owner}").mkdir(parents=True)
        (tmp_path / f"out/.writing/{owner}/{owner}.jsonl").write_bytes(b'{"n":1}\n')
    live = use("sink", "files", context=new_context(worker=1, workers=2), path="out/")
    assert [file.name for file in published(tmp_path / "out")] == ["trial.stage.5.jsonl"]
    live.write(rows(7))
    use("sink", "files", context=new_context(worker=0, workers=1), path="out/")
    assert [file.name for file in published(tmp_path / "out")] == ["trial.stage.0.jsonl", "trial.stage.5.jsonl"]
    live.write(rows(8))
    live.close()
    assert numbers(published(tmp_path / "out")) == [1, 7, 8, 1] or numbers(published(tmp_path / "out")) == [1, 1, 7, 8]
    assert len(unfinished(tmp_path / "out")) == 2


def test_a_publication_that_fails_takes_nothing_back(
    use: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = use("sink", "files", path="out/", partition_by=["p"], roll_bytes=10)
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out/p=1").write_text("in the way")
    sink.write(Batch.from_rows([{"p": 1, "n": 1}]))
    assert "its rows are safe in" in caplog.text
    with pytest.raises(AppendError, match=r"cannot publish .*p=1/"):
        sink.close()
    (tmp_path / "out/p=1").unlink()
    sink.close()
    assert numbers(published(tmp_path / "out")) == [1]


# The order of things, as the system sees it

TRACED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.builtin.conftest import LoneContext, opened
from etlcore import Batch
with opened(LoneContext(Path(sys.argv[1])), "sink", "files", path="out/", compression=sys.argv[3]) as sink:
    for n in range(3):
        sink.write(Batch.from_rows([{"n": n}]))
        print("counts", n, flush=True)
print("closed", flush=True)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_rows_and_names_are_synced_before_they_count(tmp_path: Path, compression: str) -> None:
    """The system's calls in their order: write, sync, only then the row counts; sync, rename, sync the directory."""
    trace = tmp_path / "trace"
    root = str(Path(__file__).parents[2])
    calls = "trace=write,fsync,rename"
    command = ["strace", "-f", "-y", "-s", "64", "-o", str(trace), "-e", calls]
    done = subprocess.run(
        [*command, sys.executable, "-c", TRACED, str(tmp_path), root, compression], capture_output=True, text=True
    )
    if done.returncode and "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.stdout.split("\n")[-2:] == ["closed", ""], done.stderr
    events = "".join(_event(line, tmp_path) for line in trace.read_text().splitlines())
    finished = "s" if compression == "none" else "z"  # a compressed file is another one, synced by itself
    assert re.fullmatch(rf"[dD]+(wsc){{3}}{finished}RDd*", events), events


def _event(line: str, directory: Path) -> str:
    """A letter for a call that matters, none for the others.

    w: a line is written; s: its file is synced; z: a compressed file is; c: the row counts; R: renamed; D: the
    directory is synced; d: another one is.
    """
    call = line.split(None, 1)[1]
    out = str(directory / "out")
    if call.startswith("write(1<") and "counts" in call:
        return "c"
    if call.startswith("write(") and f"<{out}/.writing" in call and ".jsonl>" in call:
        return "w"
    if call.startswith("fsync("):
        file = call[call.index("<") + 1 : call.index(">")]
        if file.endswith(".jsonl"):
            return "s"
        if file.endswith((".gz", ".zst")):
            return "z"
        return "D" if file == out else "d"
    if call.startswith("rename("):
        return "R"
    return ""


# Options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "out/", "mode": "overwrite"}, "out/ is a directory, which is never emptied: remove mode"),
        ({"path": "out", "roll_bytes": 5}, "roll_bytes is for directories: write path: out/, or remove roll_bytes"),
        ({"path": "o.gz", "compression": "gzip"}, "compression is for directories: write path: o.gz/"),
        ({"path": "out/", "partition_by": ["a", "a"]}, "a column is empty or listed twice: name each column once"),
        ({"path": "out/", "max_open": 0}, "greater than or equal to 1"),
    ],
)
def test_options_that_do_not_fit_are_refused(use: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        use("sink", "files", **options)


def test_a_file_in_the_place_of_the_directory(use: Any, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(AppendError, match="out is a file: remove the / at the end of path, or name a directory"):
        use("sink", "files", path="out/")
