"""The transform that renames columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, field_validator

from etlcore.batch import Batch, Row
from etlcore.builtin.columns import each_once
from etlcore.builtin.options import Options
from etlcore.components import Transform

if TYPE_CHECKING:
    import pyarrow as pa

Name = Annotated[str, Field(min_length=1)]


class Rename(Transform):
    """Gives columns other names; those that are not named stay as they are, and all keep their places.

    A column that a batch lacks is no matter. Where the new name is there already, the renamed column takes its
    place, except in rows where it is null: so a column that its makers renamed in the middle of the data stays one.
    Columnar batches stay columnar: values are touched only where two columns become one.
    """

    class Config(Options):
        columns: dict[Name, Name] = Field(min_length=1, description="A mapping of present name to new name.")

        @field_validator("columns")
        @classmethod
        def _one_each(cls, columns: dict[str, str]) -> dict[str, str]:
            names = list(columns.values())
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"two columns would be called {twice[0]!r}: rename one to something else")
            return columns

    config: Config
    example: ClassVar[str] = """
        name: rename_example
        stages:
          made:
            source: generate
            with: {rows: 5, fields: {id: "{id}", request_uri: "/item/{int:1:9}"}}
          renamed:
            transform: rename
            with: {columns: {request_uri: uri}}
          out:
            sink: console
    """

    def process(self, batch: Batch) -> Batch | list[Batch]:
        columns = self.config.columns
        if batch.columnar:
            return [Batch.from_arrow(part) for part in _renamed(each_once(batch.arrow), columns)]
        return Batch.from_rows([_renamed_row(row, columns) for row in batch.rows])


def _renamed_row(row: Row, columns: dict[str, str]) -> Row:
    replaced = {new for old, new in columns.items() if new in row and old in row and new not in columns}
    if not replaced:
        return {columns.get(name, name): value for name, value in row.items()}
    made: Row = {}
    for name, value in row.items():
        new = columns.get(name, name)
        if new == name and name in replaced:
            continue
        made[new] = row[new] if value is None and new in replaced else value
    return made


def _stays(name: str, names: Row | list[str], columns: dict[str, str]) -> bool:
    """Whether a column is there and keeps its name."""
    return name in names and name not in columns


def _renamed(record_batch: pa.RecordBatch, columns: dict[str, str]) -> list[pa.RecordBatch]:
    """The batch with the new names; in two parts where two columns of types that do not go together become one."""
    names = record_batch.schema.names
    replaced = {new: old for old, new in columns.items() if old in names and _stays(new, names, columns)}
    for new, old in replaced.items():
        renamed, present = _plain(record_batch.column(old)), _plain(record_batch.column(new))
        if not renamed.null_count or present.null_count == len(present):
            continue
        if renamed.type != present.type and renamed.null_count < len(renamed):
            valid = renamed.is_valid()
            parts = (record_batch.filter(valid), record_batch.filter(renamed.is_null()))
            return [made for part in parts for made in _renamed(part, columns)]
        record_batch = record_batch.set_column(names.index(old), old, _filled(renamed, present))
    kept = [index for index, name in enumerate(names) if name not in replaced]
    made = record_batch.select(kept)
    return [made.rename_columns([columns.get(name, name) for name in made.schema.names])]


def _plain(column: pa.Array) -> pa.Array:
    import pyarrow as pa

    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _filled(column: pa.Array, other: pa.Array) -> pa.Array:
    """The column with the other one's values where it is null."""
    import pyarrow.compute as pc

    if column.null_count == len(column):
        return other
    return pc.if_else(column.is_valid(), column, other)
