"""`etl run` on a terminal: a real process on a real pseudo-terminal, and what a person sees there in the end."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

PATIENCE = 120.0

# A session of its own whose terminal is the one on standard error, as a login shell would have it.
IN_A_SESSION = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(2, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """An `etl run` on a pseudo-terminal of its own."""

    def __init__(self, place: Any, *arguments: str, width: int = 120, stdout: int | None = None, **env: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
        command = [sys.executable, "-c", IN_A_SESSION, str(place.etl), "run", *arguments]
        # Whoever runs the tests may have said how wide a terminal is; here it says so itself.
        inherited = {name: value for name, value in place.env.items() if name not in ("COLUMNS", "LINES")}
        environ = {**inherited, "TERM": "xterm-256color", **env}
        self.process = subprocess.Popen(
            command, cwd=place.path, env=environ, stdin=slave, stdout=stdout or slave, stderr=slave
        )
        os.close(slave)
        self._data = b""
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while not self._closed.is_set():
            if not select.select([self._master], [], [], 0.05)[0]:
                continue
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the other side has closed
                return
            with self._changed:
                self._data += data
                self._changed.notify_all()

    @property
    def data(self) -> str:
        return self._data.decode()

    def wait_for(self, text: str, after: int = 0) -> int:
        """Wait until ``text`` is printed beyond a place in the output; gives the place behind it."""
        with self._changed:
            seen = self._changed.wait_for(lambda: text.encode() in self._data[after:], PATIENCE)
        assert seen, f"never printed {text!r}:\n{self.data}"
        return self._data.index(text.encode(), after) + len(text.encode())

    def press_ctrl_c(self) -> None:
        os.write(self._master, b"\x03")

    def hang_up(self) -> None:
        """Close the terminal's window."""
        self._closed.set()
        self._reader.join(PATIENCE)
        os.close(self._master)

    def end(self) -> int:
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code


def screen(data: str) -> list[str]:
    """The lines that are seen in the end on a terminal that is wide and high enough for all of them."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[?\d;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", data):
        if part == "\r":
            column = 0
        elif part == "\n":
            row += 1
            lines.extend([""] * (row + 1 - len(lines)))
        elif part.startswith("\x1b["):
            number = re.sub(r"\D", "", part)
            if part.endswith("A"):
                row = max(0, row - int(number or 1))
            elif part.endswith("K"):
                lines[row] = ""
            else:
                assert part.endswith(("m", "h", "l")), part
        else:
            lines[row] = lines[row].ljust(column)[:column] + part + lines[row][column + len(part) :]
            column += len(part)
    return lines


def without_styles(data: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", data)


@pytest.fixture
def terminal(place: Any) -> Iterator[Callable[..., Terminal]]:
    started: list[Terminal] = []

    def start(*arguments: str, **options: Any) -> Terminal:
        started.append(Terminal(place, *arguments, **options))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.fixture
def gated_blackhole(gated: Any) -> Any:
    file = gated.path / "p.yaml"
    file.write_text(file.read_text().replace("console", "blackhole"))
    return gated


def test_a_live_table_from_the_first_row_to_the_report(gated_blackhole: Any, terminal: Callable[..., Terminal]) -> None:
    run = terminal("p.yaml")
    gated_blackhole.wait_file("reached")
    at = run.wait_for("press Ctrl-C to stop and drain")
    at = run.wait_for(" 3 delivered", at)
    run.press_ctrl_c()
    at = run.wait_for("SIGINT: reading nothing new; draining, at most 30 s. Press Ctrl-C again to abandon", at)
    at = run.wait_for("draining (SIGINT)", at)
    run.wait_for("waiting for gate: ", at)
    (gated_blackhole.path / "open").touch()
    assert run.end() == 0
    shown = without_styles(run.data)
    header = re.search(r"^\W*stage +workers +in +out +rows/s +queue +lag +state", shown, re.MULTILINE)
    assert header, shown
    assert re.search(r"^numbers +[01]/1 +- +\d+ +[\d.]+ +- +- +(running|draining|drained)", shown, re.MULTILINE)
    assert re.search(r"^gate +1/1 +\d+ +3 +[\d.]+ +█+░* [1-4]/4 +- +running", shown, re.MULTILINE)
    lines = screen(run.data)
    assert lines[0].startswith("SIGINT: reading nothing new")
    assert lines[1].startswith("gated: stopped by SIGINT, ")
    assert lines[-2].startswith("committed: numbers: worker 0/1, all that was read")
    assert not any("rows/s" in line for line in lines)  # the table has been taken away
    assert run.data.rindex("\x1b[?25h") > run.data.rfind("\x1b[?25l")  # the cursor is back


def test_rows_on_the_same_terminal_stand_above_the_table(gated: Any, terminal: Callable[..., Terminal]) -> None:
    run = terminal("p.yaml")
    gated.wait_file("reached")
    run.wait_for('{"n":2}')
    run.wait_for(" 3 delivered")
    (gated.path / "open").touch()
    assert run.end() == 0
    lines = screen(run.data)
    assert lines[:20] == [f'{{"n":{number}}}' for number in range(20)]
    assert lines[20].startswith("gated: end of input, ")
    assert "rows/s" in run.data


def test_what_threads_print_at_once_is_not_torn(place: Any, terminal: Callable[..., Terminal]) -> None:
    place.write(
        "talk.py",
        """
        import sys, threading

        TOGETHER = threading.Barrier(4)

        def work(row):
            sys.stdout.write("process---- ")
            TOGETHER.wait(60)
            print(row["n"], "begin", "end")
            sys.stdout.buffer.write(b"bytes\\n")
            sys.stderr.write("to standard error\\n")
            return row
        """,
    )
    place.write(
        "p.yaml",
        """
        stages:
          numbers: {source: generate, with: {rows: 40, fields: {n: "{id}"}}}
          work: {transform: python, with: {call: "talk.py:work"}, workers: 4, batch: {rows: 1}}
          out: {sink: console}
        """,
    )
    run = terminal("p.yaml", width=200)
    assert run.end() == 0
    lines = screen(run.data)
    printed = [f"process---- {number} begin end" for number in range(40)]
    rows = [f'{{"n":{number}}}' for number in range(40)]
    end = next(number for number, line in enumerate(lines) if line.startswith("p: end of input"))
    assert sorted(lines[:end]) == sorted([*printed, *rows, *["bytes"] * 40, *["to standard error"] * 40])


def test_rows_in_a_pipe_beside_a_table_on_the_terminal(gated: Any, terminal: Callable[..., Terminal]) -> None:
    reading, writing = os.pipe()
    (gated.path / "open").touch()
    run = terminal("p.yaml", stdout=writing)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "".join(f'{{"n":{number}}}\n' for number in range(20))
    assert run.end() == 0
    assert "rows/s" in run.data
    assert '{"n"' not in run.data


def test_messages_stand_above_the_table(place: Any, terminal: Callable[..., Terminal]) -> None:
    place.write(
        "say.py", "def work(row, context):\n    context.log.warning('[bold]%d :smile:', row['n'])\n    return row\n"
    )
    place.write(
        "p.yaml",
        """
        stages:
          numbers: {source: generate, with: {rows: 3, fields: {n: "{id}"}}}
          work: {transform: python, with: {call: "say.py:work"}}
          out: {sink: blackhole}
        """,
    )
    run = terminal("p.yaml")
    assert run.end() == 0
    lines = screen(run.data)
    for number in range(3):
        assert re.fullmatch(rf"\d\d:\d\d:\d\d WARNING work: \[bold\]{number} :smile:", lines[number])


def test_a_second_ctrl_c_leaves_a_tidy_terminal(gated_blackhole: Any, terminal: Callable[..., Terminal]) -> None:
    run = terminal("p.yaml")
    gated_blackhole.wait_file("reached")
    run.wait_for("press Ctrl-C to stop and drain")
    run.press_ctrl_c()
    run.wait_for("reading nothing new")
    run.press_ctrl_c()
    assert run.end() == 3
    lines = [line for line in screen(run.data) if line]
    assert any(
        line.startswith("a second signal (SIGINT): stopping now. Rows in flight are abandoned; ") for line in lines
    )
    assert "abandoned at a second signal (SIGINT)" in run.data
    assert lines[-1].startswith("exit 3: ")
    assert not any("rows/s" in line for line in lines)


def test_a_process_that_is_gone_leaves_the_cursor(gated_blackhole: Any, terminal: Callable[..., Terminal]) -> None:
    run = terminal("p.yaml")
    gated_blackhole.wait_file("reached")
    run.wait_for("press Ctrl-C to stop and drain")
    run.process.kill()
    assert run.end() == -signal.SIGKILL
    assert run.data.rindex("\x1b[?25h") > run.data.rfind("\x1b[?25l")


def test_closing_the_terminal_drains_and_commits(gated_blackhole: Any, terminal: Callable[..., Terminal]) -> None:
    run = terminal("p.yaml", "--report", "report.json")
    gated_blackhole.wait_file("reached")
    run.wait_for("press Ctrl-C to stop and drain")
    run.hang_up()
    (gated_blackhole.path / "open").touch()
    assert run.process.wait(PATIENCE) == 0
    report = gated_blackhole.json("report.json")
    assert report["balance"]["balanced"]
    assert report["balance"]["abandoned"] == 0
    delivered = report["balance"]["delivered"]
    code, _, err = gated_blackhole.run("p.yaml")
    assert code == 0
    assert f"balanced: {20 - delivered} read" in err


def test_colours_and_none(gated_blackhole: Any, terminal: Callable[..., Terminal]) -> None:
    (gated_blackhole.path / "open").touch()
    colour = r"\x1b\[(\d+;)*(3|4|9|10)\d(;\d+)*m"
    for number, (env, coloured) in enumerate([({}, True), ({"NO_COLOR": "1"}, False)]):
        run = terminal("p.yaml", "--state", f"state{number}", **env)
        assert run.end() == 0
        assert "rows/s" in run.data
        assert bool(re.search(colour, run.data)) is coloured


@pytest.mark.parametrize(("option", "env"), [((), {"TERM": "dumb"}), (("--log-format", "json"), {}), (("-q",), {})])
def test_no_table_where_it_is_not_wanted(
    gated: Any, terminal: Callable[..., Terminal], option: tuple[str, ...], env: dict[str, str]
) -> None:
    (gated.path / "open").touch()
    run = terminal("p.yaml", *option, **env)
    assert run.end() == 0
    assert "\x1b" not in run.data
    assert run.data.count('{"n":') == 20


def test_a_narrow_terminal(gated_blackhole: Any, terminal: Callable[..., Terminal]) -> None:
    run = terminal("p.yaml", width=40)
    gated_blackhole.wait_file("reached")
    run.wait_for("running")
    run.wait_for(" 3 delivered")
    run.press_ctrl_c()
    at = run.wait_for("reading nothing new")
    run.wait_for("waiting for gate", at)
    (gated_blackhole.path / "open").touch()
    assert run.end() == 0
    lines = screen(run.data)
    assert not any("rows/s" in line for line in lines)
    assert re.search(r"stage +out +rows/s +state", without_styles(run.data))
