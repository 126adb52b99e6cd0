"""The transform that keeps the rows that fit a condition."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from pydantic import Field, field_validator

from etlcore.batch import Batch, column_values
from etlcore.builtin import expression
from etlcore.builtin.options import Options
from etlcore.components import Transform


class Filter(Transform):
    """Keeps the rows for which a condition is true, such as ``status >= 500 and user is not null``.

    Null is not true: a row whose comparison meets a null is filtered. A row that the condition cannot judge (it
    compares a text with a number) goes to the dead letters with the reason. Columnar batches stay columnar.
    """

    class Config(Options):
        where: str = Field(
            description="The condition: columns (in `backticks` where need be), constants, = != < <= > >=, in (…), "
            "is null, like, matches, startswith, endswith, contains, number(column), and, or, not."
        )

        @field_validator("where")
        @classmethod
        def _well_formed(cls, where: str) -> str:
            expression.parse(where)
            return where

        @cached_property
        def condition(self) -> expression.Node:
            """The condition as a tree."""
            return expression.parse(self.where)

    config: Config

    def process(self, batch: Batch) -> Batch:
        if batch.columnar:
            try:
                mask = expression.evaluate_columns(self.config.condition, batch.arrow)
            except expression.Inexact:
                pass
            else:
                return Batch.from_arrow(batch.arrow.filter(mask))
        outcomes = expression.evaluate_rows(self.config.condition, _columns_of(batch))
        refused = {i: o.reason for i, o in enumerate(outcomes) if isinstance(o, expression.Mismatch)}
        if refused:
            self.context.reject(batch.take(list(refused)), [f"where: {reason}" for reason in refused.values()])
        if batch.columnar:
            return batch.take([i for i, outcome in enumerate(outcomes) if outcome is True])
        return Batch.from_rows([row for row, o in zip(batch.rows, outcomes, strict=True) if o is True])


def _columns_of(batch: Batch) -> Callable[[str], list[Any]]:
    if not batch.columnar:
        rows = batch.rows
        return lambda name: [row.get(name) for row in rows]
    record_batch = batch.arrow

    def column(name: str) -> list[Any]:
        indices = record_batch.schema.get_all_field_indices(name)
        return column_values(record_batch.column(indices[-1])) if indices else [None] * len(batch)

    return column
