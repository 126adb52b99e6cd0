"""Which files paths and globs name, and what the files are called."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ROTATED = re.compile(r"(\.\d{1,5})?(\.(gz|zst|zstd))?$")

Identity = tuple[int, int]
"""Device and inode."""


class FilesError(Exception):
    """A file that cannot be read as wanted; the text names it."""


class Unreadable(FilesError):
    """A file that is not there any more, or may not be opened."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file that is there."""

    name: str
    file: Path
    identity: Identity
    size: int
    changed: int
    """When it was last written to, in nanoseconds."""


def find(paths: list[str], directory: Path) -> list[Found]:
    """The files that are there, each once, in the order of their names; one with several names has the first."""
    found: dict[Identity, Found] = {}
    for path in paths:
        names = glob.glob(path, root_dir=directory, recursive=True) if glob.has_magic(path) else [path]
        for file in (directory / name for name in names):
            about = look_at(file, directory)
            if about is not None:
                other = found.get(about.identity)
                found[about.identity] = about if other is None or about.name < other.name else other
    return sorted(found.values(), key=lambda one: one.name)


def look_at(file: Path, directory: Path) -> Found | None:
    """What is known about a file; None when there is no regular file."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    identity = (status.st_dev, status.st_ino)
    return Found(name_of(file, directory), file, identity, status.st_size, status.st_mtime_ns)


def name_of(file: Path, directory: Path) -> str:
    """What a file is called in the state: its path below the pipeline's directory, else its absolute path."""
    absolute = Path(os.path.abspath(file))
    base = Path(os.path.abspath(directory))
    name = absolute.relative_to(base) if absolute.is_relative_to(base) else absolute
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def beside(name: str, directory: Path) -> Iterator[Found]:
    """The files in the directory where a file of this name is, or was; in the order of their names."""
    place = (directory / name).parent
    try:
        files = sorted(place.iterdir())
    except OSError:
        return
    for file in files:
        about = look_at(file, directory)
        if about is not None:
            yield about


def may_stem_from(name: str, path: str) -> bool:
    """Whether a file may be a copy of one with another name, going by what rotation does with names.

    It lengthens them (``app.log.1``, ``app.log-20260101.gz``) and counts them up (``app.log.2.gz`` of ``app.log.1``).
    """
    stem = _ROTATED.sub("", name)
    return name.startswith(path) or stem == _ROTATED.sub("", path) != name


def check(path: str, directory: Path, *, must_exist: bool) -> None:
    """Raise FilesError for a plain path that is no readable file; for globs there is nothing to check."""
    file = directory / path
    if glob.has_magic(path):
        return
    if file.is_dir():
        raise FilesError(f"{path} is a directory: write {path.rstrip('/')}/*.jsonl for the files in it")
    if not file.exists():
        if must_exist:
            raise FilesError(f"there is no file {file}: check the path, which is relative to the pipeline file")
        return
    if not file.is_file():
        raise FilesError(f"{path} is not a regular file: only files can be read again after a stop")
