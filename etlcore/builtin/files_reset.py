"""Where the source `files` would stand in each of its files, for `etl state reset`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

_CHUNK = 64 * 1024


def position_at(files: Mapping[str, Path], where: str | datetime) -> dict[str, int]:
    """``{partition: bytes that are in}`` for ``{partition: file}``.

    The end is behind the last line that is whole: what has no newline yet may still be written to.
    Raises NotImplementedError for a time, and OSError.
    """
    if isinstance(where, datetime):
        raise NotImplementedError("files do not say when a line was written, so there is no position at a time")
    return {partition: 0 if where == "begin" else _behind_last_line(file) for partition, file in files.items()}


def _behind_last_line(file: Path) -> int:
    with open(file, "rb") as stream:
        end = stream.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - _CHUNK)
            stream.seek(start)
            newline = stream.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0
