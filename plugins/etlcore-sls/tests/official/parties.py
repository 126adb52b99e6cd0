"""The two parties of a comparison, each a process of its own, and the test's side of what they do with their rows."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).parent
ETL = Path(sys.executable).with_name("etl")
PATIENCE = 120.0  # seconds that a test waits for what must happen, on however slow a machine
STOPPING = "reading nothing new"  # what `etl run` says once it has taken a signal

Handle = Callable[[list[str]], Any]
"""What is done with the rows of one batch, by the test: it may wait, or raise."""


class Desk(socketserver.ThreadingTCPServer):
    """Where a process hands over its rows (`desk.py`). ``handle`` is called first; if it raises, they have failed."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, handle: Handle) -> None:
        super().__init__(("127.0.0.1", 0), _Call)
        self._handle = handle
        self._changed = threading.Condition()
        self.rows: list[str] = []
        """Those that were handled, in order."""
        self.said: list[str] = []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def answer(self, message: Mapping[str, Any]) -> dict[str, Any]:
        rows = message.get("rows", [])
        try:
            result = self._handle(rows) if rows else None
        except Exception as error:  # noqa: BLE001 - it is the process that is to raise
            return {"failed": str(error)}
        with self._changed:
            self.rows += rows
            self.said += [message["said"]] if "said" in message else []
            self._changed.notify_all()
        return {"result": result}

    def wait(self, condition: Callable[[], bool]) -> bool:
        with self._changed:
            return self._changed.wait_for(condition, PATIENCE)


class _Call(socketserver.StreamRequestHandler):
    server: Desk

    def handle(self) -> None:
        answer = self.server.answer(json.loads(self.rfile.readline()))
        with contextlib.suppress(OSError):  # it was killed meanwhile
            self.wfile.write(json.dumps(answer).encode() + b"\n")


class Party:
    """A process that hands over its rows. It is killed at the end of the test, if it has not ended before."""

    def __init__(self, handle: Handle, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        self.desk = Desk(handle)
        self._stderr = directory / "stderr"
        self._process: subprocess.Popen[str] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def environ(self) -> dict[str, str]:
        return dict(os.environ)

    def start(self) -> Self:
        with open(self._stderr, "w") as stderr:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.PIPE,
                stdout=stderr,
                stderr=stderr,
                text=True,
                start_new_session=True,
                env=self.environ(),
            )
        return self

    @property
    def process(self) -> subprocess.Popen[str]:
        assert self._process is not None
        return self._process

    @property
    def rows(self) -> list[str]:
        """The rows that were handled, in order."""
        return list(self.desk.rows)

    @property
    def stderr(self) -> str:
        return self._stderr.read_text()

    def until(self, rows: Iterable[str]) -> None:
        """Wait until each of these has been handled."""
        wanted = set(rows)
        assert self.desk.wait(lambda: wanted <= set(self.desk.rows)), f"only {self.rows}; it says:\n{self.stderr}"

    def ended(self, code: int = 0) -> Self:
        """Wait for the end of the process, by itself and with this status."""
        try:
            found = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end; it says:\n{self.stderr}") from None
        assert found == code, f"status {found}, not {code}; it says:\n{self.stderr}"
        return self

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdin is not None
            self._process.stdin.close()

    def clean_up(self) -> None:
        self.kill()
        sys.stdout.write(f"--- {self.directory.name}\n{self.stderr}")  # shown for a test that failed
        self.desk.shutdown()
        self.desk.server_close()


class Official(Party):
    """`consumer.py`, with ``settings`` for it; ``proxy`` is the emulator."""

    def __init__(self, handle: Handle, directory: Path, proxy: str, settings: Mapping[str, Any]) -> None:
        super().__init__(handle, directory)
        self._proxy = proxy
        self._settings = settings

    def command(self) -> list[str]:
        return [sys.executable, str(HERE / "consumer.py"), json.dumps({**self._settings, "port": self.desk.port})]

    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name.lower() not in ("no_proxy", "http_proxy")}
        return {**kept, "http_proxy": self._proxy}

    def until_said(self, what: str, count: int = 1) -> None:
        """Wait until the program has said something so often; see `consumer.py`."""
        assert self.desk.wait(lambda: self.said(what) >= count), f"it says {self.desk.said}, and:\n{self.stderr}"

    def said(self, what: str) -> int:
        """How often it has said something."""
        return self.desk.said.count(what)

    def order(self, line: str) -> Self:
        """Give it an order; see `consumer.py`."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self

    def tell_to_stop(self) -> Self:
        return self.order("shutdown")


class Ours(Party):
    """``etl run`` of a pipeline; ``site`` is a directory with plugins for it."""

    def __init__(
        self, handle: Handle, directory: Path, pipeline: Callable[[int], Mapping[str, Any]], site: Path | None
    ) -> None:
        """``pipeline(port)`` gives what stands in the pipeline file; ``port`` is where its sink hands over."""
        super().__init__(handle, directory)
        self._site = site
        self._file = directory / "ours.yaml"
        self._file.write_text(json.dumps(pipeline(self.desk.port)))  # JSON is YAML

    def command(self) -> list[str]:
        report = str(self.directory / "report.json")
        return [str(ETL), "run", str(self._file), "--state", str(self.directory / "state"), "--report", report]

    def environ(self) -> dict[str, str]:
        return {**os.environ, **({"PYTHONPATH": str(self._site)} if self._site else {})}

    def tell_to_stop(self) -> Self:
        """Send SIGTERM, and wait until it is taken."""
        self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        while STOPPING not in self.stderr:
            assert time.monotonic() < deadline, self.stderr
            time.sleep(0.02)
        return self

    def ended(self, code: int = 0) -> Self:
        super().ended(code)
        assert self.balance["balanced"], self.balance
        return self

    @property
    def balance(self) -> dict[str, Any]:
        """The balance in its report."""
        return dict(json.loads((self.directory / "report.json").read_text())["balance"])
