"""What the end-to-end tests have in common: a logstore on the emulator, and `etl run` as a process of its own.

Every log carries a number, ``id``, so that a test can say of each row where it went. Nothing here waits for a time to
pass: `until` waits for something to be so, for as long as the slowest machine may need.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from etlcore_sls.emulator import Emulator

T = TypeVar("T")

PATIENCE = 120.0  # seconds that a test waits for what must happen, on however slow a machine
ETL = Path(sys.executable).with_name("etl")
STAGES = Path(__file__).with_name("stages.py")
OFFICIAL = Path(__file__).with_name("official_consumer.py")
PROJECT, LOGSTORE, GROUP = "demo", "logs", "readers"
STOPPING = "reading nothing new"
"""Part of the line that `etl run` says once it has taken a stop signal."""


def until(condition: Callable[[], T], what: str) -> T:
    """What ``condition()`` gives once it is something true; it is asked again and again. Raises AssertionError."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return found


def ids_in(*files: Path) -> list[int]:
    """The ids of the rows in files of JSON lines; a file that is missing has none, a line that is torn is left out."""
    found = []
    for file in files:
        text = file.read_bytes() if file.exists() else b""
        found += [int(json.loads(line)["id"]) for line in text.split(b"\n")[:-1]]
    return found


class EtlRun:
    """A process that runs ``etl run FILE``, in a session of its own, as a terminal or a supervisor would start it."""

    def __init__(
        self,
        file: Path,
        name: str,
        *arguments: str,
        environ: Mapping[str, str] | None = None,
        stderr: int | None = None,
    ) -> None:
        """``name`` tells the files of several runs in one directory apart; ``stderr`` is a descriptor to use."""
        directory = file.parent
        self.file = file
        self.out = directory / f"{name}.out"
        self.err = directory / f"{name}.err"
        self.report_file = directory / f"{name}.report.json"
        command = [str(ETL), "run", str(file), "--report", str(self.report_file), *arguments]
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err if stderr is None else stderr,
                start_new_session=True,
                env={**os.environ, **(environ or {})},
            )

    @property
    def stderr(self) -> str:
        return self.err.read_text()

    @property
    def report(self) -> dict[str, Any]:
        return dict(json.loads(self.report_file.read_text()))

    @property
    def balance(self) -> dict[str, Any]:
        return dict(self.report["balance"])

    def said(self, text: str) -> EtlRun:
        """Wait until it has said this on standard error."""
        self.until(lambda: text in self.stderr, f"{text!r} on standard error")
        return self

    def until(self, condition: Callable[[], T], what: str) -> T:
        """Wait for something while the process runs; it must not end before."""
        try:
            return until(lambda: condition() or self._ended_early(condition), what)
        except AssertionError as error:
            raise AssertionError(f"{error}; standard error:\n{self.stderr}") from None

    def _ended_early(self, condition: Callable[[], T]) -> T:
        """Nothing, as long as the process runs; one more look, and no more, when it has ended."""
        if self.process.poll() is None:
            return None  # type: ignore[return-value]
        found = condition()
        assert found, f"the process ended with {self.process.returncode}"
        return found

    def send(self, number: signal.Signals) -> EtlRun:
        self.process.send_signal(number)
        return self

    def stop(self, number: signal.Signals = signal.SIGINT) -> EtlRun:
        """Send a stop signal, and wait until it is taken."""
        return self.send(number).said(STOPPING)

    def ended(self, code: int) -> EtlRun:
        """Wait for its end, which must have this exit code."""
        try:
            found = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the process does not end; standard error:\n{self.stderr}") from None
        assert found == code, f"exit code {found}, not {code}; standard error:\n{self.stderr}"
        return self

    def kill(self) -> None:
        """End it as a power cut would. A process that has ended already stays as it is."""
        self.process.kill()
        self.process.wait()


class Store:
    """An emulator with one logstore, the ids of everything that was put into it, and a directory for pipelines."""

    def __init__(self, emulator: Emulator, directory: Path) -> None:
        self.emulator = emulator
        self.control = emulator.control
        self.directory = directory
        self.groups: dict[int, list[list[int]]] = {}
        """For each shard, the ids in each of its log groups."""
        self._next = 0
        self._lock = threading.Lock()
        self._runs: list[EtlRun] = []

    # --- logs --------------------------------------------------------------------------------------------------------

    def create(self, shards: int) -> Store:
        self.control.create(PROJECT, LOGSTORE, shards=shards)
        self.groups = {shard: [] for shard in range(shards)}
        return self

    def put(self, rows: int, *, per_group: int = 1, shard: int | None = None) -> None:
        """Put so many logs, with the next ids; into one shard, or dealt out over all, a log group at a time."""
        with self._lock:
            shards = [shard] if shard is not None else sorted(self.groups)
            numbers = range(self._next, self._next + rows)
            self._next += rows
            groups = [list(numbers[start : start + per_group]) for start in range(0, rows, per_group)]
            for place, target in enumerate(shards):
                mine = groups[place :: len(shards)]
                if mine:
                    self._put(target, mine, per_group)

    def _put(self, shard: int, groups: list[list[int]], per_group: int) -> None:
        rows = [{"id": str(number)} for group in groups for number in group]
        placed = self.control.put(PROJECT, LOGSTORE, rows, shard=shard, rows_per_group=per_group)
        assert [number for _, number in placed] == list(
            range(len(self.groups[shard]), len(self.groups[shard]) + len(groups))
        )
        self.groups[shard].extend(groups)

    @contextmanager
    def arriving(self, rows: int, every: float) -> Iterator[None]:
        """While the block runs, another ``rows`` logs are put ``every`` so many seconds."""
        over = threading.Event()

        def put() -> None:
            while not over.wait(every):
                self.put(rows)

        thread = threading.Thread(target=put, name="arriving")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def ids(self) -> list[int]:
        """The ids of all that was put."""
        with self._lock:
            return list(range(self._next))

    # --- the consumer group ------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return self.control.group_state(PROJECT, LOGSTORE, GROUP)

    def checkpoints(self) -> dict[int, int]:
        """How many log groups of each shard are committed; empty as long as nobody has made the consumer group."""
        group = self.control.state()[PROJECT][LOGSTORE]["groups"].get(GROUP)
        return {shard["shard"]: shard["checkpoint"] or 0 for shard in group["shards"]} if group is not None else {}

    def committed(self) -> list[int]:
        """The ids of the rows that are committed: nobody will read them again."""
        return sorted(
            number
            for shard, count in self.checkpoints().items()
            for group in self.groups[shard][:count]
            for number in group
        )

    def wait_for_state(self, condition: Callable[[Mapping[str, Any]], bool]) -> dict[str, Any]:
        """Wait until something holds for the consumer group."""
        self.control.wait_for("group_created", group=GROUP, timeout=PATIENCE)
        return self.control.wait_for_state(PROJECT, LOGSTORE, GROUP, condition, timeout=PATIENCE)

    # --- pipelines and their runs ------------------------------------------------------------------------------------

    def source(self, **options: Any) -> str:
        """The source of this store, to be written behind ``logs:`` in a pipeline file."""
        given = {
            "endpoint": self.emulator.endpoint,
            "project": PROJECT,
            "logstore": LOGSTORE,
            "consumer_group": GROUP,
            "access_key_id": self.emulator.key.access_key_id,
            "access_key_secret": self.emulator.key.secret,
            "poll_seconds": 0.05,
            "heartbeat_seconds": 0.5,
            **options,
        }
        return json.dumps({"source": "sls", "with": given})

    def pipeline(self, text: str, name: str = "pipeline") -> Path:
        """A pipeline file in this store's directory, beside `stages.py`."""
        file = self.directory / f"{name}.yaml"
        file.write_text(textwrap.dedent(text))
        stages = self.directory / STAGES.name
        if not stages.exists():
            stages.write_bytes(STAGES.read_bytes())
        return file

    def run(self, file: Path, name: str = "run", *arguments: str, **more: Any) -> EtlRun:
        """Start ``etl run``; it is killed after the test if it still runs then."""
        run = EtlRun(file, name, *arguments, **more)
        self._runs.append(run)
        return run

    @contextmanager
    def official(self, name: str, *times: float) -> Iterator[subprocess.Popen[bytes]]:
        """The official ConsumerWorker as a member of the group; it is killed after the block if it still runs then.

        Its rows go into the file ``NAME.jsonl``; ``times`` are the seconds between two heartbeats, and two fetches.
        """
        key = self.emulator.key
        environ = {
            **{word: value for word, value in os.environ.items() if word.lower() != "no_proxy"},
            "http_proxy": self.emulator.endpoint,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": key.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": key.secret,
        }
        command = [sys.executable, str(OFFICIAL), PROJECT, LOGSTORE, GROUP, name, str(self.directory / f"{name}.jsonl")]
        with open(self.directory / f"{name}.err", "wb") as err:
            process = subprocess.Popen(
                [*command, *map(str, times)], stdin=subprocess.DEVNULL, stderr=err, start_new_session=True, env=environ
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def close(self) -> None:
        for run in self._runs:
            run.kill()


def counted(ids: Sequence[int]) -> dict[int, int]:
    """How often each id that is there more than once is there."""
    seen: dict[int, int] = {}
    for number in ids:
        seen[number] = seen.get(number, 0) + 1
    return {number: count for number, count in seen.items() if count > 1}
