"""The commands of a page, run in order in one shell, as a reader would type them; and what they print.

The shell starts in an empty directory that holds the repository's `pipelines/` and the files that the page shows. What
differs from run to run (times, durations, cursors, names of hosts, the port) is the same after `settled`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from time import monotonic
from types import TracebackType
from typing import Self

from tests.docs.pages import ROOT, Block

PATIENCE = 300.0
"""Seconds that one command may take; far more than it needs."""

LANGUAGES = ("console", "sh")
"""Of blocks that hold commands: with ``$`` before each and its output below it, or commands alone."""

_PORT = "8090"  # what the pages call the emulator's port


@dataclass(frozen=True, slots=True)
class Step:
    """A command and what the page says that it prints; None where the page does not say."""

    command: str
    output: str | None


def steps(block: Block) -> list[Step]:
    """The commands of a block."""
    if block.language == "sh":
        return [Step(block.text, None)]
    found: list[Step] = []
    command, output = "", list[str]()
    for line in [*block.text.splitlines(), "$ "]:
        if command.endswith("\\\n"):
            command += line + "\n"
        elif line.startswith("$ "):
            if command:
                found.append(Step(command.rstrip("\n"), "".join(output)))
            command, output = line.removeprefix("$ ") + "\n", []
        else:
            output.append(line + "\n")
    return found


def settled(text: str) -> list[str]:
    """The lines of an output with everything replaced that is different every time."""
    text = "\n".join(line.rstrip() for line in text.splitlines() if not _PASSING.match(line))
    for pattern, instead in _CHANGING:
        text = re.sub(pattern, instead, text)
    return text.splitlines()


_CHANGING = (
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?", "TIME"),
    (r"(?<!\.)\b1[5-9]\d{8}(\d{6})?\b", "TIME"),
    (r"\b\d+(\.\d+)? ?s\b", "N s"),
    (r'"(seconds|elapsed|at|left|age)": \d+(\.\d+)?', r'"\1": N'),
    (r"(?<!\.)\b[0-9a-f]{12}\b", "RUN"),
    (r'"consumer": "[^"]+"', '"consumer": "NAME"'),
    (r"\b[A-Za-z0-9+/]{22,}==", "CURSOR"),
    (r'File "[^"]*?([\w.-]+)", line \d+', r'File "\1", line N'),
)

_PASSING = re.compile(r"(\d+h |\d+m )?[\d.]+[sm] .* \| queued |draining: ")
"""Lines that a run prints when it takes long."""


class Terminal:
    """One page's shell. Close it, and what was started in it or beside it is gone."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        ignore = shutil.ignore_patterns(".etl", "__pycache__")
        shutil.copytree(ROOT / "pipelines", directory / "pipelines", ignore=ignore)
        self._closing = ExitStack()
        self._ports: dict[str, str] = {}
        self._shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=directory,
            env=_environment(directory),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._closing.callback(_end, self._shell)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._closing.close()

    def play(self, block: Block) -> Iterator[tuple[Step, str | None]]:
        """What a block stands for is done; gives each command that was run, with its output.

        A server's output is what it printed when it was ready.
        """
        if "file" in block.marks:
            target = self.directory / block.marks["file"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text, encoding="utf-8")
            if target.name == "pyproject.toml":
                self._install(target)
        elif block.language in LANGUAGES and self._can_run(block):
            for step in steps(block):
                if "in another terminal" in block.marks:
                    yield step, self._serve(step.command)
                else:
                    yield step, self.run(step.command)

    @staticmethod
    def _can_run(block: Block) -> bool:
        program = block.marks.get("needs")
        return "not run" not in block.marks and (
            program is None or shutil.which(program, path=_environment(Path())["PATH"]) is not None
        )

    def run(self, command: str) -> str:
        """What a command prints, to both of its outputs. Raises TimeoutError."""
        mark = f"-- {uuid.uuid4().hex}"
        for shown, real in self._ports.items():
            command = command.replace(shown, real)
        assert self._shell.stdin is not None
        script = f"{{ {command}\n}} </dev/null\ncode=$?; echo '{mark}'; (exit $code)\n"  # the next one may ask for $?
        self._shell.stdin.write(script.encode())
        self._shell.stdin.flush()
        return self._shown(_read_until(self._shell, mark, command))

    def _install(self, pyproject: Path) -> None:
        """Leave behind what ``pip install -e`` would: metadata, and the project's directory on the path."""
        project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
        info = pyproject.parent / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir()
        about = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        (info / "METADATA").write_text(about, encoding="utf-8")
        points = "".join(
            f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
            for group, entries in project.get("entry-points", {}).items()
        )
        (info / "entry_points.txt").write_text(points, encoding="utf-8")
        self.run(f"export PYTHONPATH='{pyproject.parent}'")

    def _serve(self, command: str) -> str:
        """Start a server on a port of its own and wait for what it says about it."""
        server = subprocess.Popen(
            ["bash", "-c", f"exec {command.replace(f'--port {_PORT}', '--port 0')}"],
            cwd=self.directory,
            env=_environment(self.directory),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._closing.callback(_end, server)
        output = _read_until(server, "log.aliyuncs.com", command, inclusive=True)
        port = re.search(r"http://127\.0\.0\.1:(\d+)", output)
        assert port, output
        self._ports[_PORT] = port[1]
        return self._shown(output)

    def _shown(self, output: str) -> str:
        for shown, real in self._ports.items():
            output = re.sub(rf"(?<=:){real}\b", shown, output)
        return output.replace(f"{self.directory}/", "").replace(f"{ROOT}/", "\N{HORIZONTAL ELLIPSIS}/")


def _environment(home: Path) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in ("TMPDIR",) if name in os.environ}
    path = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    if "ALIYUNLOG" in os.environ:  # where the official command line client is; it has an environment of its own
        path.append(str(Path(os.environ["ALIYUNLOG"]).parent))
    return {
        **inherited,
        "PATH": os.pathsep.join(path),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _read_until(process: subprocess.Popen[bytes], mark: str, command: str, *, inclusive: bool = False) -> str:
    """What a process prints up to the line that holds ``mark``."""
    assert process.stdout is not None
    found = b""
    give_up = monotonic() + PATIENCE
    with DefaultSelector() as selector:
        selector.register(process.stdout, EVENT_READ)
        while True:
            before, there, rest = found.partition(mark.encode())
            if there and not inclusive:
                return before.decode("utf-8", "replace")
            if there and b"\n" in rest:
                return found.decode("utf-8", "replace")
            if not selector.select(max(0.0, give_up - monotonic())):
                raise TimeoutError(f"{command}\nhas not ended; it printed\n{found.decode('utf-8', 'replace')}")
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                raise EOFError(f"{command}\nended the shell; it printed\n{found.decode('utf-8', 'replace')}")
            found += data


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stdout is not None
    process.stdout.close()
