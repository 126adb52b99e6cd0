"""The transform that keeps a share of the rows."""

from __future__ import annotations

import hashlib
import random
from typing import Any, ClassVar

from pydantic import Field, model_validator

from etlcore.batch import Batch
from etlcore.builtin.casting import Impossible, spelled
from etlcore.builtin.columns import find
from etlcore.builtin.conditions import chosen, mask
from etlcore.builtin.distinct import encoded
from etlcore.builtin.options import Options
from etlcore.components import Context, Transform

_SCALE = 2**64


class Sample(Transform):
    """Keeps a share of the rows: a fraction by chance or by the hash of a column, or every so many-th.

    By a column, all rows of one value are kept or none, in every run and every pipeline with the same seed; rows
    without a value count as one value. By chance and by count each worker goes its own way, and a restart begins
    anew, so a row that is read again may fare otherwise. Columnar batches stay columnar.
    """

    class Config(Options):
        fraction: float | None = Field(
            None, gt=0, le=1, description="How much to keep, such as 0.01: of the rows, or of the values of `by`."
        )
        every: int | None = Field(None, ge=1, description="Keep each row whose number is a multiple of this.")
        by: str | None = Field(
            None, min_length=1, description="With fraction: the column that decides, such as a user or a request."
        )
        seed: int = Field(0, description="Another seed keeps others.")

        @model_validator(mode="after")
        def _one_way(self) -> Sample.Config:
            if (self.fraction is None) == (self.every is None):
                raise ValueError("say how much to keep in one way: fraction or every")
            if self.by is not None and self.fraction is None:
                raise ValueError("`by` goes with fraction: every counts rows")
            return self

    config: Config
    deterministic: ClassVar[bool] = False
    example: ClassVar[str] = """
        name: sample_example
        stages:
          requests:
            source: generate
            with: {rows: 100, fields: {id: "{id}", user: "{int:1:20}"}}
          some_users:
            transform: sample
            with: {fraction: 0.3, by: user}
          out:
            sink: console
    """

    def open(self, context: Context) -> None:
        self._random = random.Random(f"{self.config.seed}/{context.worker}")
        self._seen = 0

    def process(self, batch: Batch) -> Batch:
        if self.config.by is not None:
            return self._by_column(batch, self.config.by)
        if self.config.every is not None:
            every, before = self.config.every, self._seen
            self._seen = (before + len(batch)) % every
            return batch.take(range(every - 1 - before, len(batch), every))
        assert self.config.fraction is not None
        fraction, draw = self.config.fraction, self._random.random
        return batch.take([index for index in range(len(batch)) if draw() < fraction])

    def _by_column(self, batch: Batch, name: str) -> Batch:
        if not batch.columnar:
            return chosen(batch, mask(batch, [self._kept(row.get(name)) for row in batch.rows]))
        index = find(batch.arrow, name)
        if index is None:
            return chosen(batch, mask(batch, [self._kept(None)] * len(batch)))
        import pyarrow as pa

        codes, values = encoded(batch.arrow.column(index))
        kept = pa.array([self._kept(value) for value in values], pa.bool_())
        return chosen(batch, kept.take(codes).fill_null(self._kept(None)))

    def _kept(self, value: Any) -> bool:
        """Whether rows with this value are kept; known by how the value is spelled, and so is a null by nothing."""
        try:
            text = b"" if value is None else b"=" + spelled(value).encode(errors="surrogatepass")
        except Impossible:  # bytes that are no text
            text = b"=" + bytes(value) if isinstance(value, bytes) else b"?"
        digest = hashlib.blake2b(text, digest_size=8, key=str(self.config.seed).encode()).digest()
        assert self.config.fraction is not None
        return int.from_bytes(digest, "big") < self.config.fraction * _SCALE
