"""An emulator in a process of its own, which dies with the one that started it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from etlcore_sls.emulator.control import RemoteControl
from etlcore_sls.emulator.settings import DEMO_KEY, AccessKey, Samples

_STOP_SECONDS = 10.0


class EmulatorError(RuntimeError):
    """The emulator did not start; the message says why."""


class EmulatorProcess:
    """Start an emulator and wait until it answers; also a context manager.

    It runs in a session of its own, so that Ctrl-C in the terminal does not reach it: it has to outlive the drain of
    whoever started it. It ends with ``close``, or when this process is gone, however it went.

    ``data`` is the file to keep everything in (None: in memory), ``samples`` the sample logs to hold (None: none),
    ``keys`` the key pairs that may sign requests. ``options`` are more arguments for the command line.

    Raises EmulatorError when it does not start within ``timeout`` seconds.
    """

    def __init__(
        self,
        *,
        data: str | None = None,
        samples: Samples | None = None,
        keys: Sequence[AccessKey] = (DEMO_KEY,),
        port: int = 0,
        options: Sequence[str] = (),
        timeout: float = 60.0,
    ) -> None:
        command = [sys.executable, "-m", "etlcore_sls.emulator", *_arguments(data, samples, port), *options]
        # Keys travel on standard input, not in the arguments that every user of the machine can list.
        self.key = keys[0] if keys else DEMO_KEY
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, text=True
        )
        try:
            self._send_keys(keys)
            self.port = int(self._announcement(timeout)["port"])
        except BaseException:
            self.close()
            raise
        self.control = RemoteControl(self.endpoint)

    @property
    def endpoint(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        """Stop it and wait for its end; killed if it does not end. Doing it twice is harmless."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send_keys(self, keys: Sequence[AccessKey]) -> None:
        assert self._process.stdin is not None
        lines = [[key.access_key_id, key.secret, key.security_token, key.expires] for key in keys]
        with contextlib.suppress(BrokenPipeError):  # it is gone already; what it announced says why
            self._process.stdin.write(json.dumps(lines) + "\n")
            self._process.stdin.flush()

    def _announcement(self, timeout: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        late = threading.Timer(timeout, self._process.kill)
        late.start()
        try:
            line = self._process.stdout.readline()
        finally:
            late.cancel()
        try:
            announcement = json.loads(line)
        except ValueError:
            status = self._process.wait()
            raise EmulatorError(f"the SLS emulator did not start: exit status {status}, output {line!r}") from None
        if "error" in announcement:
            raise EmulatorError(f"the SLS emulator did not start: {announcement['error']}")
        return dict(announcement)


def _arguments(data: str | None, samples: Samples | None, port: int) -> list[str]:
    arguments = ["--port", str(port), "--announce", "--quiet", "--parent-pipe"]
    if data is not None:
        arguments += ["--data", data]
    if samples is None:
        return [*arguments, "--no-samples"]
    arguments += ["--samples", "--project", samples.project, "--logstore", samples.logstore]
    return [*arguments, "--logs", str(samples.logs), "--shards", str(samples.shards), "--seed", str(samples.seed)]
