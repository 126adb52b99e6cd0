"""The transform that sends rows to named outputs by conditions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from etlcore.batch import Batch
from etlcore.builtin import expression
from etlcore.builtin.conditions import Condition, Judged, both, but, chosen, judge, mask
from etlcore.builtin.options import Options
from etlcore.components import Transform

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$")]


class Route(Transform):
    """Sends rows to named outputs: with ``routes: {errors: status >= 500}`` a stage reads ``from: STAGE.errors``.

    Rows that fit no condition are the rest: they leave by the main output, ``from: STAGE``; where nobody reads it
    they are filtered. Null is not true. A row that a condition cannot judge (it compares a text with a number) goes to
    the dead letters with the reason, unless an earlier route has it already. Columnar batches stay columnar.
    """

    class Config(Options):
        routes: dict[Name, Condition] = Field(
            min_length=1, description="Name of the output to its condition, in the language of `filter`."
        )
        match: Literal["first", "all"] = Field(
            "first", description="Where a row goes that fits several: to the first of them, or to all."
        )

        @cached_property
        def conditions(self) -> dict[str, expression.Node]:
            """The conditions as trees."""
            return {name: expression.parse(text) for name, text in self.routes.items()}

    config: Config
    example: ClassVar[str] = """
        name: route_example
        stages:
          requests:
            source: generate
            with: {rows: 10, fields: {uri: "/item/{int:1:9}", status: "{choice:200|404|503}"}}
          by_status:
            transform: route
            with:
              routes:
                errors: number(status) >= 500
                missing: number(status) = 404
          fine:
            sink: console
          failed:
            sink: console
            from: [by_status.errors, by_status.missing]
    """

    @classmethod
    def outputs_of(cls, config: Any) -> tuple[str, ...]:
        """One for each route."""
        return tuple(config.routes)

    def process(self, batch: Batch) -> Iterator[Batch | tuple[str, Batch]]:
        judged = self._judge(batch)
        refused: dict[int, str] = {}
        for one in judged.values():
            refused = {**one.refused, **refused}  # of several reasons the first
        if refused:
            self.context.reject(batch.take(list(refused)), list(refused.values()))
        kept = rest = mask(batch, [index not in refused for index in range(len(batch))])
        for name, one in judged.items():
            yield name, chosen(batch, both(kept, one.fits))
            rest = but(rest, one.fits)
        yield chosen(batch, rest)

    def _judge(self, batch: Batch) -> dict[str, Judged]:
        """For each route the rows that go there; with ``match: first`` those that no route before it has."""
        left = mask(batch, [True] * len(batch))
        found: dict[str, Judged] = {}
        for name, condition in self.config.conditions.items():
            judged = judge(condition, batch)
            refused = judged.refused
            if self.config.match == "first":
                refused = {i: reason for i, reason in refused.items() if _holds(left[i])}
                judged.fits, left = both(left, judged.fits), but(left, judged.fits)
            found[name] = Judged(judged.fits, {i: f"routes.{name}: {reason}" for i, reason in refused.items()})
        return found


def _holds(fits: Any) -> bool:
    """One value of a mask, which is a truth value or an Arrow scalar."""
    return bool(fits if isinstance(fits, bool) else fits.as_py())
