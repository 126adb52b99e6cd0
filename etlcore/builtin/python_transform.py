"""The transform that calls a Python function."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

from pydantic import Field

from etlcore.batch import Batch, Row
from etlcore.builtin import python_function
from etlcore.builtin.python_batches import to_batches
from etlcore.builtin.python_call import calling
from etlcore.builtin.python_function import FunctionError
from etlcore.builtin.python_options import CallOptions
from etlcore.components import Context, Reject, RowTransform


class PythonTransform(RowTransform):
    """Calls a Python function for each row, or for each batch.

    For a row (a dict of its own) it returns a dict, several, or None to filter the row. For a batch it returns a
    batch, a list of dicts, a pyarrow RecordBatch or Table, several of them, or None. It may raise `etlcore.Reject` to
    send the row, or the whole batch, to the dead letters. A parameter called ``context`` is given the stage's context.
    """

    example = """
        stages:
          rows: {source: generate, with: {rows: 3}}
          seen:
            transform: python
            with: {call: "builtins:dict", options: {seen: true}}  # or, beside this file: "mine.py:change"
          out: {sink: console}
    """

    class Config(CallOptions):
        per: Literal["row", "batch"] = Field("row", description="What the function is called with.")

    config: Config
    deterministic = False  # who knows what the function does
    _function: Callable[..., Any]

    def open(self, context: Context) -> None:
        function = python_function.find(self.config.call, context)
        self._function = python_function.bind(function, 1, self.config.options, context)

    def map(self, row: Row) -> Row | Iterable[Row] | None:
        made = self._function(dict(row))  # a row of a batch is shared; this one the function may change
        if made is None or isinstance(made, dict):
            return made
        if not isinstance(made, Iterable) or isinstance(made, str | bytes):
            raise FunctionError(f"{self.config.call} returned {_kind(made)}: return a dict, several, or None")
        return self._checked(made)

    def _checked(self, rows: Iterable[Any]) -> list[Row]:
        out = []
        for row in rows:
            if not isinstance(row, dict):
                raise FunctionError(f"{self.config.call} returned {_kind(row)} among its rows: return dicts")
            out.append(row)
        return out

    def process(self, batch: Batch) -> Batch | Iterable[Batch | tuple[str, Batch]] | None:
        with calling(self.config.call, self.context):
            if self.config.per == "row":
                return super().process(batch)
            try:
                return list(to_batches(self._function(batch), self.config.call))
            except Reject as reject:
                self.context.reject(batch, reject.reason)
                return None


def _kind(value: Any) -> str:
    return f"{type(value).__name__} ({str(value)[:40]!r})"
