"""The transform that keeps the rows that fit a condition."""

from __future__ import annotations

from functools import cached_property

from pydantic import Field

from etlcore.batch import Batch
from etlcore.builtin import expression
from etlcore.builtin.conditions import Condition, chosen, judge
from etlcore.builtin.options import Options
from etlcore.components import Transform


class Filter(Transform):
    """Keeps the rows for which a condition is true, such as ``status >= 500 and user is not null``.

    Null is not true: a row whose comparison meets a null is filtered. A row that the condition cannot judge (it
    compares a text with a number) goes to the dead letters with the reason. Columnar batches stay columnar.
    """

    example = """
        stages:
          rows: {source: generate, with: {rows: 20, fields: {id: "{id}", status: "{choice:200|404|503}"}}}
          failed:
            transform: filter
            with: {where: number(status) >= 500 and id > 3}
          out: {sink: console}
    """

    class Config(Options):
        where: Condition = Field(
            description="The condition: columns (in `backticks` where need be), constants, = != < <= > >=, in (…), "
            "is null, like, matches, startswith, endswith, contains, number(column), and, or, not."
        )

        @cached_property
        def condition(self) -> expression.Node:
            """The condition as a tree."""
            return expression.parse(self.where)

    config: Config

    def process(self, batch: Batch) -> Batch:
        judged = judge(self.config.condition, batch)
        if judged.refused:
            reasons = [f"where: {reason}" for reason in judged.refused.values()]
            self.context.reject(batch.take(list(judged.refused)), reasons)
        return chosen(batch, judged.fits)
