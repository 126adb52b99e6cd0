"""The transform that keeps, orders and renames columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from etlcore.batch import Batch
from etlcore.builtin.options import Options
from etlcore.components import Transform

if TYPE_CHECKING:
    import pyarrow as pa


class Select(Transform):
    """Keeps some columns, in the given order, and may rename them.

    A column that a row lacks becomes null. Columnar batches stay columnar: no value is touched.
    """

    example = """
        stages:
          rows: {source: generate, with: {rows: 3}}
          chosen:
            transform: select
            with: {columns: {number: id, text: text}}  # new name: present name
          out: {sink: console}
    """

    class Config(Options):
        columns: dict[str, str] | list[str] = Field(
            min_length=1,
            description="The columns to keep: a list of names, or a mapping of new name to present name.",
        )

        @field_validator("columns")
        @classmethod
        def _each_once(cls, columns: dict[str, str] | list[str]) -> dict[str, str] | list[str]:
            if isinstance(columns, list):
                twice = sorted({name for name in columns if columns.count(name) > 1})
                if twice:
                    raise ValueError(f"column {twice[0]!r} is listed twice: name each column once")
            return columns

    config: Config
    deterministic: ClassVar[bool] = True

    @classmethod
    def columns_needed(cls, config: Config, wanted: frozenset[str] | None) -> frozenset[str]:
        columns = config.columns
        pairs = columns.items() if isinstance(columns, dict) else ((name, name) for name in columns)
        return frozenset(old for new, old in pairs if wanted is None or new in wanted)

    def process(self, batch: Batch) -> Batch:
        columns = self.config.columns
        pairs = list(columns.items()) if isinstance(columns, dict) else [(name, name) for name in columns]
        if batch.columnar:
            return Batch.from_arrow(_select(batch.arrow, pairs))
        return Batch.from_rows([{new: row.get(old) for new, old in pairs} for row in batch.rows])


def _select(record_batch: pa.RecordBatch, pairs: list[tuple[str, str]]) -> pa.RecordBatch:
    import pyarrow as pa

    arrays = []
    fields = []
    for new, old in pairs:
        indices = record_batch.schema.get_all_field_indices(old)
        if indices:  # of several columns with one name the last counts, as it does in a row
            arrays.append(record_batch.column(indices[-1]))
            fields.append(record_batch.schema.field(indices[-1]).with_name(new))
        else:
            arrays.append(pa.nulls(record_batch.num_rows))
            fields.append(pa.field(new, pa.null()))
    schema = pa.schema(fields, metadata=record_batch.schema.metadata)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
