"""A log file that is written to, and rotated in every way."""

from __future__ import annotations

import gzip
import random
import shutil
from pathlib import Path
from typing import Any


class Writer:
    """Writes numbered lines into ``app.log``, and rotates it."""

    def __init__(self, directory: Path, dice: random.Random) -> None:
        self.file = directory / "app.log"
        self.written: list[int] = []
        self._directory = directory
        self._dice = dice
        self._old: list[Any] = []
        self._rest = b""
        self._stream = open(self.file, "ab", buffering=0)  # noqa: SIM115 - closed by close()

    def _line(self) -> bytes:
        number = len(self.written)
        self.written.append(number)
        return b'{"n":%d,"x":"%s"}\n' % (number, b"x" * self._dice.choice([0, 0, 0, 40, 400]))

    def append(self) -> None:
        """Some lines, and perhaps the beginning of one."""
        data = self._rest + b"".join(self._line() for _ in range(self._dice.randint(1, 6)))
        self._rest = b""
        if self._dice.random() < 0.3:
            whole = self._line()
            cut = self._dice.randint(1, len(whole) - 1)
            data, self._rest = data + whole[:cut], whole[cut:]
        self._stream.write(data)

    def end_line(self) -> None:
        """Write the rest of the line that was begun."""
        rest, self._rest = self._rest, b""
        self._stream.write(rest)

    def _shift(self) -> None:
        """Older files move on by one: app.log.1 becomes app.log.2."""
        numbers = sorted(int(file.name.split(".")[2]) for file in self._directory.glob("app.log.*"))
        for number in reversed(numbers):
            for suffix in ("", ".gz"):
                file = self._directory / f"app.log.{number}{suffix}"
                if file.exists():
                    file.rename(self._directory / f"app.log.{number + 1}{suffix}")

    def rename(self) -> None:
        """Rename the file and begin a new one; some lines may still come into the old one."""
        self.end_line()
        self._shift()
        self.file.rename(self._directory / "app.log.1")
        old, self._stream = self._stream, open(self.file, "ab", buffering=0)  # noqa: SIM115
        self._old.append(old)

    def late(self) -> None:
        """A line into the file that was renamed last."""
        if self._old:
            self._old[-1].write(self._line())

    def copytruncate(self) -> None:
        self.end_line()
        self._shift()
        shutil.copyfile(self.file, self._directory / "app.log.1")
        self._stream.truncate(0)

    def truncate(self) -> None:
        """Throw away what is in the file: for when all of it was delivered."""
        self.end_line()
        self._stream.truncate(0)

    def replace(self) -> None:
        """Put another file in its place, with some lines in it: for when all of it was delivered."""
        self.end_line()
        new = self.file.with_name("new")
        new.write_bytes(b"".join(self._line() for _ in range(3)))
        new.rename(self.file)
        self._stream.close()
        self._stream = open(self.file, "ab", buffering=0)  # noqa: SIM115

    def compress(self) -> None:
        """Compress the youngest of the old files."""
        file = self._directory / "app.log.1"
        if file.exists():
            if self._old:
                self._old.pop().close()
            (self._directory / "app.log.1.gz").write_bytes(gzip.compress(file.read_bytes()))
            file.unlink()

    def close(self) -> None:
        self.end_line()
        for stream in [*self._old, self._stream]:
            stream.close()
