"""Whether a file could be made or written, found out without touching anything."""

from __future__ import annotations

import os
from pathlib import Path


def check_writable(file: Path) -> None:
    """Raises OSError, whose text is for the operator, when the file could not be opened for writing.

    Missing directories above it count as made.
    """
    if file.exists():
        if not file.is_file():
            raise OSError(f"{file} is not a regular file: name another")
        if not os.access(file, os.W_OK):
            raise OSError(f"{file} cannot be written to: change its permissions, or name another file")
        return
    check_directory(file.parent)


def check_directory(directory: Path) -> None:
    """The same for a directory that files are to be made in."""
    nearest = next(place for place in (directory, *directory.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise OSError(f"{directory} cannot be made: {nearest} is no directory")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise OSError(f"nothing can be written in {nearest}: change its permissions, or name another directory")
