"""The sink that calls a Python function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field

from etlcore.batch import Batch
from etlcore.builtin import python_function
from etlcore.builtin.python_call import calling
from etlcore.builtin.python_function import FunctionError
from etlcore.builtin.python_options import CallOptions
from etlcore.components import Context, Reject, Sink


class PythonSink(Sink):
    """Calls a Python function with each row, or with each batch.

    The rows count as delivered once it has returned, so it returns when they are durable. What it returns is ignored.
    A parameter called ``context`` is given the stage's context.
    """

    example = """
        stages:
          rows: {source: generate, with: {rows: 3}}
          out:
            sink: python
            with: {call: "builtins:print"}  # or, beside this file: "mine.py:store"
    """

    class Config(CallOptions):
        per: Literal["row", "batch"] = Field("row", description="What the function is called with.")

    config: Config
    _function: Callable[..., Any]

    def open(self, context: Context) -> None:
        function = python_function.find(self.config.call, context)
        self._function = python_function.bind(function, 1, self.config.options, context)

    def write(self, batch: Batch) -> None:
        try:
            with calling(self.config.call, self.context):
                if self.config.per == "batch":
                    self._function(batch)
                else:
                    for row in batch.rows:
                        self._function(dict(row))
        except Reject as reject:
            raise FunctionError(
                f"{self.config.call} rejected a row ({reject.reason}), but a sink cannot: reject it in a "
                "transform before"
            ) from reject
