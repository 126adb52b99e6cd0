"""The sink that takes rows and forgets them."""

from __future__ import annotations

from etlcore.batch import Batch
from etlcore.builtin.options import Options
from etlcore.components import Sink


class Blackhole(Sink):
    """Takes every row and forgets it.

    For measuring what stands before it, and for ends of a graph that nobody needs. The drain report counts its rows
    as delivered.
    """

    example = """
        stages:
          rows: {source: generate, with: {rows: 100_000, columnar: true}}
          out: {sink: blackhole}
    """

    class Config(Options):
        """No options."""

    idempotent = True

    @classmethod
    def columns_needed(cls, config: Config, wanted: frozenset[str] | None) -> frozenset[str]:
        return frozenset()

    def write(self, batch: Batch) -> None:
        """Nothing is kept, so nothing is left to do."""
