"""The sink `console`: whole lines, UTF-8, and a clear word when the reader has gone."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from etlcore import Batch
from etlcore.builtin.console import ConsoleError

BEFORE = """
import sys, threading
from etlcore import Batch
from etlcore.builtin.console import Console
"""


def start(code: str, **options: Any) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONUNBUFFERED": "", **options.pop("environment", {})}
    return subprocess.Popen(
        [sys.executable, "-c", BEFORE + code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        **options,
    )


def test_rows_are_written_as_lines(use: Any, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    use("sink", "console").write(Batch.from_rows([{"a": 1, "b": "é"}, {"n": None}]))
    assert capfdbinary.readouterr().out == '{"a":1,"b":"é"}\n{"n":null}\n'.encode()


def test_a_stream_in_memory_serves_too(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    monkeypatch.setattr(sys, "stdout", text)
    use("sink", "console").write(Batch.from_rows([{"a": "é"}]))
    assert text.getvalue() == '{"a":"é"}\n'


def test_no_standard_output_is_an_error(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(ConsoleError, match="there is no standard output: start etl with one"):
        use("sink", "console").write(Batch.from_rows([{}]))


def test_the_encoding_of_the_terminal_does_not_matter() -> None:
    process = start(
        "Console().write(Batch.from_rows([{'a': '\\u00e9\\u4e2d'}]))",
        environment={"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"},
    )
    out, err = process.communicate(timeout=60)
    assert (out, err, process.returncode) == ('{"a":"é中"}\n'.encode(), b"", 0)


def test_what_was_printed_before_comes_before() -> None:
    process = start("print('first'); Console().write(Batch.from_rows([{'a': 1}])); print('last')")
    assert process.communicate(timeout=60)[0] == b'first\n{"a":1}\nlast\n'


def test_workers_never_mix_within_a_line() -> None:
    """Batches far larger than a pipe holds, from eight workers let go at once."""
    process = start(
        "gate = threading.Barrier(8)\n"
        "def work(worker):\n"
        "    sink = Console(); gate.wait()\n"
        "    for n in range(5): sink.write(Batch.from_rows([{'w': worker, 'x': 'x' * 20_000}] * 10))\n"
        "threads = [threading.Thread(target=work, args=(w,)) for w in range(8)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
    )
    out, err = process.communicate(timeout=120)
    assert err == b""
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == 8 * 5 * 10
    assert {len(row["x"]) for row in rows} == {20_000}
    batches = [[row["w"] for row in rows[i : i + 10]] for i in range(0, len(rows), 10)]
    assert all(len(set(workers)) == 1 for workers in batches), "a batch is written in one piece"


def test_a_closed_reader_is_a_clear_error_and_leaves_no_noise() -> None:
    """`etl run … | head -1`: also with text of somebody else in the buffer, and also for the other workers."""
    process = start(
        "sys.stdin.readline()\n"
        "for _ in range(2):\n"
        "    print('some text that nobody will read')\n"
        "    try: Console().write(Batch.from_rows([{'a': 1}]))\n"
        "    except OSError as error: print(error, file=sys.stderr)\n",
        stdin=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stdin.write(b"go\n")
    process.stdin.close()
    err = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(timeout=60) == 0
    assert err.splitlines() == ["standard output was closed by its reader"] * 2


def test_a_full_disk_behind_the_output_is_a_clear_error(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(ConsoleError, match="standard output cannot be written to: No space left on device"):
            use("sink", "console").write(Batch.from_rows([{"a": 1}]))


def test_an_output_that_does_not_block_is_waited_for(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    received: list[bytes] = []

    def read() -> None:
        with os.fdopen(reader, "rb") as stream:
            received.append(stream.read())

    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        sink = use("sink", "console")
        reading = threading.Thread(target=read)
        reading.start()
        sink.write(Batch.from_rows([{"x": "x" * 1000}] * 1000))  # a megabyte into a pipe of 64 KiB
        monkeypatch.undo()
    reading.join(timeout=60)
    assert len(received[0].splitlines()) == 1000


def test_a_value_that_json_cannot_hold_writes_nothing(use: Any, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with pytest.raises(TypeError, match="column 'bad'"):
        use("sink", "console").write(Batch.from_rows([{"a": 1}, {"bad": object()}]))
    assert capfdbinary.readouterr().out == b""


def test_columns_are_written_as_rows(use: Any, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    use("sink", "console").write(Batch.from_arrow(Batch.from_rows([{"a": 1}, {"a": 2}]).arrow))
    assert capfdbinary.readouterr().out == b'{"a":1}\n{"a":2}\n'


def test_an_empty_batch_writes_nothing(use: Any, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    use("sink", "console").write(Batch.from_rows([]))
    assert capfdbinary.readouterr().out == b""


def test_blackhole_takes_everything(use: Any) -> None:
    sink = use("sink", "blackhole")
    sink.write(Batch.from_rows([{"a": object()}]))
    assert sink.idempotent
