"""The source that reads from a Python generator."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import Any

from pydantic import Field

from etlcore.batch import Batch, Row
from etlcore.builtin import python_function
from etlcore.builtin.python_batches import as_batch
from etlcore.builtin.python_call import calling
from etlcore.builtin.python_function import FunctionError
from etlcore.builtin.python_options import CallOptions
from etlcore.components import Context, Source

_PATIENCE = 0.5  # seconds that rows are gathered


class PythonSource(Source):
    """Reads rows from a generator function: it yields dicts, lists of dicts, batches, or None for "nothing yet".

    It should yield at least once a second, and it is closed at a ``yield`` when the run stops. Only batches that it
    gives positions are remembered: else every run starts anew. A parameter called ``context`` is given the stage's
    context (``positions``, ``stopping``, ``worker``); without it the stage has one worker.
    """

    example = """
        stages:
          rows:
            source: python
            with: {call: "csv:DictReader", options: {f: ["name,size", "a,1", "b,2"]}}  # or: "mine.py:read"
          out: {sink: console}
    """

    class Config(CallOptions):
        batch: int = Field(1000, ge=1, le=1_000_000, description="The most single rows that are put into one batch.")

    config: Config
    replayable = False
    _function: partial[Any]

    def open(self, context: Context) -> None:
        function = python_function.find(self.config.call, context)
        self._function = python_function.bind(function, 0, self.config.options, context)
        if context.workers > 1 and "context" not in self._function.keywords:
            raise FunctionError(
                f"{self.config.call} would give {context.workers} workers the same rows: set workers: 1, or give it a "
                "parameter `context` and share them out by context.worker"
            )

    def read(self) -> Iterator[Batch | None]:
        with calling(self.config.call, self.context):
            made = self._function()
            if not isinstance(made, Iterable) or isinstance(made, str | bytes | dict):
                raise FunctionError(f"{self.config.call} returned {type(made).__name__}: make it a generator of rows")
            if inspect.isgenerator(made):
                with closing(made):
                    yield from self._gather(made)
            else:
                yield from self._gather(made)

    def _gather(self, items: Iterable[Any]) -> Iterator[Batch | None]:
        rows: list[Row] = []
        handed_over = time.monotonic()
        for item in items:
            if isinstance(item, dict):
                rows.append(item)
                if len(rows) < self.config.batch and time.monotonic() - handed_over < _PATIENCE:
                    continue
            if rows:
                yield Batch.from_rows(rows)
                rows = []
            handed_over = time.monotonic()
            if item is None:
                yield None
            elif not isinstance(item, dict):
                yield from self._batches(item)
        if rows:
            yield Batch.from_rows(rows)

    def _batches(self, item: Any) -> list[Batch]:
        batches = as_batch(item)
        if batches is None:
            raise FunctionError(
                f"{self.config.call} yielded {type(item).__name__}: yield dicts, lists of dicts, batches, or None"
            )
        return batches
