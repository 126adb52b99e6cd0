"""A plugin whose sink has a constructor of its own and does not call that of its base class."""

from __future__ import annotations

from collections.abc import Iterator

from desk import hand_over
from pydantic import BaseModel

from etlcore import Batch, Component, Sink, hookimpl


@hookimpl
def etl_components() -> Iterator[Component]:
    yield Component("bare", "sink", "bare_sink:BareSink", "Hands its rows over")


class BareSink(Sink):
    """Hands its rows over."""

    class Config(BaseModel):
        port: int

    config: Config

    def __init__(self) -> None:
        self.count = 0

    def write(self, batch: Batch) -> None:
        self.count += len(batch.rows)
        hand_over(self.config.port, [row["n"] for row in batch.rows])
