"""The transform that keeps the first row of each key."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from etlcore.batch import Batch
from etlcore.builtin.casting import Impossible, spelled
from etlcore.builtin.columns import column_of
from etlcore.builtin.conditions import chosen
from etlcore.builtin.distinct import combined, first_rows
from etlcore.builtin.options import Options
from etlcore.components import Context, Transform

if TYPE_CHECKING:
    import pyarrow as pa

_LONG = 64  # characters or bytes: a longer part of a key is kept as its digest, so that memory is bounded

_NARROW = 1_000  # keys: with a smaller window the rows of a batch are looked at one by one

Key = Hashable


class Dedupe(Transform):
    """Keeps the first row of each key and filters the others, as long as the key is among the last ``window`` ones.

    A row that lacks a part of its key (null) is kept. Keys are remembered by each worker, in memory: give a stage of
    several workers the stage key ``key: COLUMN``. A restart begins anew, so a repeated row may pass once more after
    it, and never is the only one lost. Columnar batches stay columnar.
    """

    class Config(Options):
        by: list[Annotated[str, Field(min_length=1)]] = Field(
            min_length=1, description="The columns that make up the key. Numbers and texts are never the same."
        )
        window: int = Field(
            100_000,
            ge=1,
            le=100_000_000,
            description="How many keys a worker remembers: those seen last. A key takes about 200 bytes.",
        )

    config: Config
    deterministic: ClassVar[bool] = False
    example: ClassVar[str] = """
        name: dedupe_example
        stages:
          requests:
            source: generate
            with: {rows: 100, fields: {id: "{id}", user: "{int:1:9}"}}
          first_of_each_user:
            transform: dedupe
            with: {by: [user]}
          out:
            sink: console
    """

    def open(self, context: Context) -> None:
        self._window: OrderedDict[Key, None] = OrderedDict()

    def process(self, batch: Batch) -> Batch:
        # All keys are made before the first is remembered: what is tried again after an error is not a repetition.
        if not batch.columnar:
            keys = [_key([row.get(name) for name in self.config.by]) for row in batch.rows]
            return chosen(batch, [key is None or self._remember(key) for key in keys])
        import pyarrow as pa

        size = len(batch) if self.config.window < _NARROW else self.config.window
        parts = [self._coded(batch.arrow.slice(start, size)) for start in range(0, len(batch), max(1, size))]
        masks = [self._new(codes, keys) for codes, keys in parts]
        return chosen(batch, pa.concat_arrays([pa.array([], pa.bool_()), *masks]))

    def _remember(self, key: Key) -> bool:
        """Put a key at the end of the window; False when it was there."""
        window = self._window
        if key in window:
            window.move_to_end(key)
            return False
        window[key] = None
        if len(window) > self.config.window:
            window.popitem(last=False)
        return True

    def _coded(self, record_batch: pa.RecordBatch) -> tuple[pa.Array, list[Key]]:
        """For each row the place of its key among the distinct ones, which follow in the order in which they come."""
        import pyarrow as pa

        found = [column_of(record_batch, name) for name in self.config.by]
        columns = [pa.nulls(record_batch.num_rows) if column is None else column for column in found]
        codes, values = combined(columns)
        return codes, [_key(value) for value in values]

    def _new(self, codes: pa.Array, keys: list[Key]) -> pa.BooleanArray:
        """Which rows are kept. An object is made of each distinct key, not of each row."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.config.window < _NARROW:  # a key may leave the window and come again within one batch
            return pa.array([code is None or self._remember(keys[code]) for code in codes.to_pylist()], pa.bool_())
        # The rows are no more than the window: a key that has come stays in it up to the last of them.
        new = pa.array([self._remember(key) for key in keys], pa.bool_())
        for code in _by_last_row(codes) if len(keys) < len(codes) else ():
            self._window.move_to_end(keys[code])
        return pc.if_else(codes.is_valid(), pc.and_(first_rows(codes), new.take(codes)), True)


def _by_last_row(codes: pa.Array) -> list[int]:
    """The codes in the order of their last rows."""
    import pyarrow as pa

    codes = codes.drop_null()
    backwards = codes.take(pa.array(range(len(codes) - 1, -1, -1), pa.int64())).dictionary_encode().dictionary
    last: list[int] = backwards.to_pylist()[::-1]
    return last


def _key(parts: Sequence[Any]) -> Key | None:
    """What is remembered of a key; None where a part is null."""
    if any(part is None for part in parts):
        return None
    return _part(parts[0]) if len(parts) == 1 else tuple(_part(part) for part in parts)


def _part(value: Any) -> Key:
    if isinstance(value, str):
        return value if len(value) <= _LONG else _digest(value.encode(errors="surrogatepass"))
    if isinstance(value, bytes):
        return value if len(value) <= _LONG else (bytes, *_digest(value))
    if value != value:  # NaN, which is like no other to Python
        return ("NaN",)
    try:
        hash(value)
    except TypeError:
        try:
            return ("JSON", *_digest(spelled(value).encode(errors="surrogatepass")))
        except Impossible:
            return ("other", *_digest(repr(value).encode(errors="surrogatepass")))
    return value  # type: ignore[no-any-return]


def _digest(value: bytes) -> tuple[bytes]:
    return (hashlib.blake2b(value, digest_size=16).digest(),)
