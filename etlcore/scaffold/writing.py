"""Writing new files: all of them, or none; nothing that is there is ever touched."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path


class Exists(Exception):
    """Something is there already; the text names it."""


def write_new(directory: Path, files: Mapping[str, str]) -> list[Path]:
    """Write texts under ``directory`` by their relative paths; gives the files.

    Raises Exists before anything is written when one of them is there, and OSError; what had been made is removed then.
    """
    paths = {directory / name: text for name, text in files.items()}
    for path in paths:
        if path.exists():
            raise Exists(str(path))
    made: list[Path] = []
    try:
        for path, text in paths.items():
            missing = [parent for parent in (path.parent, *path.parent.parents) if not parent.exists()]
            if missing:
                path.parent.mkdir(parents=True)
                made.append(missing[-1])
            with open(path, "x", encoding="utf-8") as file:
                made.append(path)
                file.write(text)
    except BaseException:  # also one that interrupts it
        for path in reversed(made):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        raise
    return list(paths)
