"""What a user's function raises, told with the place in the user's own code."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from etlcore.builtin.python_function import FunctionError
from etlcore.components import Context, Reject

_LONGEST = 300  # characters of an exception's text in a message


@contextmanager
def calling(call: str, context: Context) -> Iterator[None]:
    """Around calls of a user's function: what it raises becomes one FunctionError that says where, caused by it.

    `Reject` passes, as it is an answer and no fault.
    """
    try:
        yield
    except (Reject, FunctionError):
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        said = f"{type(error).__name__}: {text[:_LONGEST]}" if text else type(error).__name__
        raise FunctionError(f"{call} raised {said} ({_place(error, context.directory)})") from error


def _place(error: Exception, directory: Path) -> str:
    """The line that raised: the innermost one below the pipeline's directory, else the innermost one."""
    frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    base = directory.resolve()
    own = [(file.relative_to(base), line) for file, line in frames if file.is_relative_to(base)]
    file, line = (own or frames)[-1]
    return f"{file}:{line}"
