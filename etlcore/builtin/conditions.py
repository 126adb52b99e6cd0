"""Options that are conditions, and how a batch is judged by one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator

from etlcore.batch import Batch
from etlcore.builtin import expression
from etlcore.builtin.columns import values_of


def _well_formed(text: str) -> str:
    expression.parse(text)
    return text


Condition = Annotated[str, AfterValidator(_well_formed)]
"""The text of a condition; an option of this type is refused at the place where it goes wrong."""


Mask = Any
"""Yes or no for each row: a `pyarrow.BooleanArray` without nulls for a batch of columns, a list for one of rows."""


@dataclass(slots=True)
class Judged:
    """How each row of a batch fared."""

    fits: Mask
    """The rows for which the condition is true."""
    refused: dict[int, str] = field(default_factory=dict)
    """The rows that the condition cannot judge, with the reasons."""


def judge(condition: expression.Node, batch: Batch) -> Judged:
    """Judge the rows of a batch; columns are judged as columns, value by value only where that needs a look at each."""
    if batch.columnar:
        try:
            fits = expression.evaluate_columns(condition, batch.arrow)
        except expression.Inexact:
            pass
        else:
            return Judged(fits.fill_null(False) if fits.null_count else fits)
    outcomes = expression.evaluate_rows(condition, lambda name: values_of(batch, name))
    refused = {i: outcome.reason for i, outcome in enumerate(outcomes) if isinstance(outcome, expression.Mismatch)}
    return Judged(mask(batch, [outcome is True for outcome in outcomes]), refused)


def mask(batch: Batch, fits: list[bool]) -> Mask:
    """A list of yes and no as the mask of a batch."""
    if not batch.columnar:
        return fits
    import pyarrow as pa

    return pa.array(fits, pa.bool_())


def both(one: Mask, other: Mask) -> Mask:
    """The rows that are in both masks."""
    if isinstance(one, list):
        return [a and b for a, b in zip(one, other, strict=True)]
    import pyarrow.compute as pc

    return pc.and_(one, other)


def but(one: Mask, other: Mask) -> Mask:
    """The rows of the first mask that are not in the second."""
    if isinstance(one, list):
        return [a and not b for a, b in zip(one, other, strict=True)]
    import pyarrow.compute as pc

    return pc.and_not(one, other)


def chosen(batch: Batch, fits: Mask) -> Batch:
    """The rows that fit, in the form of the batch; the batch's own columns where all fit."""
    if not batch.columnar:
        return Batch.from_rows([row for row, fit in zip(batch.rows, fits, strict=True) if fit])
    return Batch.from_arrow(batch.arrow if fits.true_count == len(batch) else batch.arrow.filter(fits))
