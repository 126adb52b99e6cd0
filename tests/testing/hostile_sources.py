"""Sources that each break one rule of the contract; the honest ones break none."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from etlcore import Batch, Position, Source

SIZE = 4  # rows of a batch


class Options(BaseModel):
    path: str = Field(description="A file of JSON lines.")
    follow: bool = Field(False, description="Wait for more.")


class Honest(Source):
    """Reads a file of JSON lines; its position is how many are in."""

    Config = Options
    config: Options

    def open(self, context: Any) -> None:
        if context.workers > 1:
            raise ValueError("one worker only")

    def begin(self) -> int:
        return int(self.context.positions.get("file", 0))

    def lines(self) -> list[str]:
        return Path(self.config.path).read_text().splitlines()

    def position(self, line: int) -> Any:
        return line

    def read(self) -> Iterator[Batch | None]:
        at = self.begin()
        while True:
            rows = [json.loads(line) for line in self.lines()[at : at + SIZE]]
            at += len(rows)
            if rows:
                yield Batch.from_rows(rows, position=Position("file", self.position(at)))
            elif not self.config.follow:
                return
            else:
                yield from self.idle()

    def idle(self) -> Iterator[Batch | None]:
        yield None
        self.context.stopping.wait(0.05)


class NeverNone(Honest):
    """It waits for more without a sign of life."""

    def idle(self) -> Iterator[Batch | None]:
        self.context.stopping.wait()
        yield None


class StartsAnew(Honest):
    """It does not look where the last run was committed."""

    def begin(self) -> int:
        return 0


class ClaimsTooMuch(Honest):
    """Its positions say that a row is in which comes with the next batch."""

    def position(self, line: int) -> Any:
        return min(line + 1, len(self.lines()))


class PositionsAreTuples(Honest):
    """Its positions do not come back from JSON as they were."""

    def position(self, line: int) -> Any:
        return ("line", line)

    def begin(self) -> int:
        return int(self.context.positions.get("file", ("line", 0))[1])


class RunsBackwards(Honest):
    """After each batch comes a position of an earlier one."""

    def read(self) -> Iterator[Batch | None]:
        for batch in super().read():
            yield batch
            if batch is not None and batch.marks[-1][1].value > SIZE:
                yield Batch.from_rows([], position=Position("file", SIZE))
                yield Batch.from_rows([], position=batch.marks[-1][1])


class DoesNotLetGo(Honest):
    """It goes on when its generator is closed."""

    def read(self) -> Iterator[Batch | None]:
        for batch in super().read():
            try:
                yield batch
            except GeneratorExit:
                yield None


class EachReadsAll(Honest):
    """Its workers do not share the rows."""

    def open(self, context: Any) -> None:
        """More workers are welcome."""


class EndsForGood(Honest):
    """Once at the end, it takes nothing up any more."""

    def read(self) -> Iterator[Batch | None]:
        yield from super().read()
        yield Batch.from_rows([], position=Position("file", 10**9))


class HonestStore(Honest):
    """Keeps its positions itself."""

    def open(self, context: Any) -> None:
        super().open(context)
        self.kept: dict[str, Any] = {}
        if self.store.exists():
            self.kept = json.loads(self.store.read_text())

    @property
    def store(self) -> Path:
        return Path(self.config.path + ".position")

    def begin(self) -> int:
        return int(self.kept.get("file", 0))

    def commit(self, positions: Mapping[str, Any]) -> None:
        self.kept.update(positions)
        self.save()

    def save(self) -> None:
        new = self.store.with_suffix(".new")
        new.write_text(json.dumps(self.kept))
        os.replace(new, self.store)


class CommitsAtClose(HonestStore):
    """`commit` returns while the positions are in memory."""

    def commit(self, positions: Mapping[str, Any]) -> None:
        self.kept.update(positions)

    def close(self) -> None:
        if getattr(self, "kept", None):
            self.save()


class CommitsWhatItRead(HonestStore):
    """It keeps what it has read, whether it was delivered or not."""

    def commit(self, positions: Mapping[str, Any]) -> None:
        if positions["file"] > self.kept.get("file", 0):
            super().commit(positions)

    def read(self) -> Iterator[Batch | None]:
        for batch in super().read():
            yield batch
            if batch is not None:
                self.kept[batch.marks[-1][1].partition] = batch.marks[-1][1].value
                self.save()


class HasPlainSecret(Honest):
    """Its password is a text like any other."""

    class Config(Options):
        password: str = Field("", description="The password.")


class CommitsOnce(HonestStore):
    """Positions that come a second time are an error to it."""

    def commit(self, positions: Mapping[str, Any]) -> None:
        if positions.items() <= self.kept.items():
            raise ValueError("these are committed already")
        super().commit(positions)
