"""What a Python function may hand back as rows, made into batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from etlcore.batch import Batch
from etlcore.builtin.python_function import FunctionError


def to_batches(made: Any, call: str) -> Iterator[Batch]:
    """Batches of what a function returned for a whole batch. Raises FunctionError when it is nothing of the kind."""
    if made is None:
        return
    single = as_batch(made)
    if single is not None:
        yield from single
    elif isinstance(made, Iterable) and not isinstance(made, str | bytes | dict):
        for item in made:
            several = as_batch(item)
            if several is None:
                raise _wrong(item, call)
            yield from several
    else:
        raise _wrong(made, call)


def as_batch(made: Any) -> list[Batch] | None:
    """A batch, a list of dicts, a RecordBatch or a Table as batches; None for anything else."""
    if isinstance(made, Batch):
        return [made]
    if isinstance(made, list) and all(isinstance(row, dict) for row in made):
        return [Batch.from_rows(made)]
    if type(made).__module__.partition(".")[0] == "pyarrow":
        import pyarrow as pa

        if isinstance(made, pa.RecordBatch):
            return [Batch.from_arrow(made)]
        if isinstance(made, pa.Table):
            return [Batch.from_arrow(part) for part in made.to_batches()]
    return None


def _wrong(made: Any, call: str) -> FunctionError:
    return FunctionError(
        f"{call} returned {type(made).__name__}: return a Batch, a list of dicts, a pyarrow RecordBatch, several of "
        "them, or None"
    )
