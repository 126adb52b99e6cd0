"""The transform that gives columns a type."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from etlcore.batch import Batch, Row
from etlcore.builtin.casting import TARGETS, Impossible, TypeName
from etlcore.builtin.columns import column_of, put, without
from etlcore.builtin.options import Options
from etlcore.components import Transform

Name = Annotated[str, Field(min_length=1)]


class Cast(Transform):
    """Gives columns a type: ``int``, ``float``, ``text``, ``bool``, ``timestamp`` (UTC) or ``date``.

    A row with a value that cannot be cast without loss (1.5 as ``int``, "soon" as ``timestamp``) goes to the dead
    letters with the reason; the others go on. Null stays null, a column that is missing becomes null. So whatever
    comes, what leaves has one schema in these columns. Columnar batches stay columnar.
    """

    class Config(Options):
        columns: dict[Name, TypeName] = Field(
            min_length=1,
            description="Column name to type. int is of 64 bits; bool takes true, false, yes, no, 1 and 0; timestamp "
            "takes ISO 8601 (UTC where there is no offset) and seconds since 1970; text is as JSON writes it.",
        )

    config: Config
    example: ClassVar[str] = """
        name: cast_example
        stages:
          made:
            source: generate
            with: {rows: 5, fields: {id: "{id}", status: "{choice:200|404|none}", when: "2024-05-01T08:00:0{int:0:9}Z"}}
          typed:
            transform: cast
            with: {columns: {status: int, when: timestamp}}
          out:
            sink: console
    """

    def process(self, batch: Batch) -> Batch:
        return self._columns(batch) if batch.columnar else self._rows(batch.rows)

    def _columns(self, batch: Batch) -> Batch:
        import pyarrow as pa

        made, refused = batch.arrow, dict[int, list[str]]()
        for name, kind in self.config.columns.items():
            column = column_of(made, name)
            cast, wrong = TARGETS[kind].column(pa.nulls(len(batch)) if column is None else column)
            made = put(made, name, cast)
            for index, reason in wrong.items():
                refused.setdefault(index, []).append(f"{name}: {reason}")
        if refused:
            indices = sorted(refused)
            self.context.reject(batch.take(indices), ["; ".join(refused[index]) for index in indices])
        return without(Batch.from_arrow(made), refused)

    def _rows(self, rows: list[Row]) -> Batch:
        made, refused, reasons = list[Row](), list[Row](), list[str]()
        targets = [(name, TARGETS[kind].value) for name, kind in self.config.columns.items()]
        for row in rows:
            cast: Row = dict(row)
            wrong: list[str] = []
            for name, convert in targets:
                value: Any = row.get(name)
                try:
                    cast[name] = None if value is None else convert(value)
                except Impossible as error:
                    wrong.append(f"{name}: {error}")
            if wrong:
                refused.append(row)
                reasons.append("; ".join(wrong))
            else:
                made.append(cast)
        if refused:
            self.context.reject(refused, reasons)
        return Batch.from_rows(made)
