"""What stands around a component under test: a source that gives known rows, and a sink that keeps what comes."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from etlcore.batch import Batch, Position, Row
from etlcore.components import Sink, Source


class Feed(Source):
    """Gives the batches that its class has; its position is how many are in."""

    batches: ClassVar[Sequence[Batch]] = ()
    lockstep: ClassVar[bool] = False
    """In front of a transactional sink: give a batch once the one before it is written, so that each is alone."""

    def read(self) -> Iterator[Batch | None]:
        first = self.context.positions.get("feed", 0)
        for number, batch in enumerate(self.batches[first:], first + 1):
            while self.lockstep and self.context.positions.get("feed", 0) < number - 1:  # they are the sink's
                yield None
                self.context.stopping.wait(0.005)
            position = Position("feed", number)
            if batch.columnar:
                yield Batch.from_arrow(batch.arrow, position)
            else:
                yield Batch.from_rows(batch.rows, position)


def feed(batches: Sequence[Batch], lockstep: bool = False) -> type[Feed]:
    """A source class that gives these batches."""
    return type("Feed", (Feed,), {"batches": tuple(batches), "lockstep": lockstep})


class Keeper(Sink):
    """Hands what it is given to a function of its class, one batch at a time."""

    lock: ClassVar[threading.Lock]
    take: ClassVar[Callable[[list[Row]], None]]

    def write(self, batch: Batch) -> None:
        with self.lock:
            type(self).take(batch.rows)


def keeper(take: Callable[[list[Row]], None]) -> type[Keeper]:
    """A sink class that calls this function with the rows of each batch."""
    return type("Keeper", (Keeper,), {"take": staticmethod(take), "lock": threading.Lock()})


class Appender(Sink):
    """Appends each row to a file as a line of JSON; what JSON lacks, as text. For a process that is killed."""

    file: ClassVar[Path]

    def write(self, batch: Batch) -> None:
        data = b"".join(json.dumps(row, default=str).encode() + b"\n" for row in batch.rows)
        descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)


def appender(file: Path) -> type[Appender]:
    """A sink class that appends to this file."""
    return type("Appender", (Appender,), {"file": file})


def appended(file: Path) -> list[Any]:
    """The rows that an `Appender` has written; a line that was cut off by a kill is left out."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_bytes().split(b"\n")[:-1]]
