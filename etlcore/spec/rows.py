"""Rows in a pipeline file: a list of mappings, or the name of a file of JSON lines beside it."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Any

from etlcore.batch import Row
from etlcore.spec import fields
from etlcore.spec.fields import Value

_HINT = "write a list of mappings, like [{id: 1, word: violet}], or {file: rows.jsonl}"


def read_rows(value: Value, directory: FilePath) -> list[Row] | None:
    """``[{id: 1}, {id: 2}]`` or ``{file: rows.jsonl}``, relative to ``directory``; None where that was reported.

    The values are those of YAML, as they are written: nothing is filled in, and no text becomes a time.
    """
    if isinstance(value.value, list):
        rows = [read_row(item) for item in value.children()]
        return [row for row in rows if row is not None] if None not in rows else None
    if not isinstance(value.value, dict):
        value.wrong(f"`{value.name}` must be rows, not {value.shown()}", _HINT)
        return None
    if "file" not in value.value:
        value.wrong(f"`{value.name}` must be a list of rows, not a mapping", _HINT)
        return None
    keys = fields.keys(value, ("file",))
    keys.report("rows in a file")
    name = fields.text(keys.found["file"], "write file: rows.jsonl")
    return None if name is None else _from_file(keys.found["file"], directory / name)


def read_row(value: Value) -> Row | None:
    """One row: a mapping of column to value."""
    if isinstance(value.value, dict):
        row: dict[str, Any] = value.value
        return row
    value.wrong(f"a row must be a mapping of column to value, not {value.shown()}", "write it like {id: 1, word: a}")
    return None


def _from_file(value: Value, path: FilePath) -> list[Row] | None:
    """The rows of a file of JSON lines; the first line that holds none is reported. Empty lines are passed over."""
    from etlcore.builtin.jsonlines import BadLine, from_line  # what the source `files` reads with

    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        value.wrong(f"{path} cannot be read: {reason}", "the path is relative to the pipeline file's directory")
        return None
    rows = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            if line.strip():
                rows.append(from_line(line))
        except BadLine as error:
            value.wrong(f"{path}:{number}: {error}", "each line must hold one row, as a JSON object")
            return None
    return rows
