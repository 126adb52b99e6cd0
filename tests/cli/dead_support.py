"""What the tests of `etl dead` and `etl state` have in common: any verb as a process, and dead letters to work with."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from etlcore.state import DeadLetter, Selection, StateStore

PATIENCE = 120.0
"""Seconds until something that must come is given up."""


def etl(place: Any, *arguments: str, answer: str | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """`etl ARGUMENTS…` to its end. ``answer`` is what is typed; None: nobody is there to answer."""
    typed = {"stdin": subprocess.DEVNULL} if answer is None else {"input": answer}
    return subprocess.run(
        [str(place.etl), *arguments],
        cwd=place.path,
        env=place.env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        **typed,
        **options,
    )


class Background:
    """`etl ARGUMENTS…` under way; what it prints goes to files."""

    def __init__(self, place: Any, *arguments: str, **options: Any) -> None:
        self.out, self.err = place.path / "background.out", place.path / "background.err"
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            command = [str(place.etl), *arguments]
            self.process = subprocess.Popen(command, cwd=place.path, env=place.env, stdout=out, stderr=err, **options)

    @property
    def pid(self) -> int:
        return self.process.pid

    def until(self, holds: Callable[[], Any], what: str) -> Any:
        """Wait for something while the process is alive."""
        deadline = time.monotonic() + PATIENCE
        while not (found := holds()):
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.err.read_text()}"
            assert time.monotonic() < deadline, f"in {PATIENCE:g} s never: {what}"
            time.sleep(0.01)
        return found

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def end(self) -> int:
        return self.process.wait(PATIENCE)

    def __enter__(self) -> Background:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.kill()


def bury(directory: Path, rows: Sequence[Any], **about: Any) -> None:
    """Dead letters as a run leaves them."""
    with StateStore(directory) as store:
        store.add_dead_letters(
            [
                DeadLetter(**{"pipeline": "p", "stage": "work", "reason": "bad", "run": "r0", "row": row, **about})
                for row in rows
            ]
        )


def letters(place: Any, **about: Any) -> list[DeadLetter]:
    """The dead letters in the place's state directory."""
    with StateStore(place.path / ".etl") as store:
        return list(store.letters(Selection(**about)))


def rows_in(file: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines; a last line that is torn is left out."""
    return list(_rows(file)) if file.exists() else []


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    for line in file.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)
