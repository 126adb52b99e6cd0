"""A file on its way into a directory: written where nobody looks, and published whole, under its name, at once.

    PATH/.writing/PIPELINE.STAGE.WORKER/day=1/NAME.jsonl    rows are appended, and on the disk before they count
    PATH/day=1/NAME.jsonl                                   the same file, renamed; or NAME.jsonl.gz, made of it

Whatever ends a run, the rows that counted are in one of the two. What a crash has left in the first place is published
by the next run.
"""

from __future__ import annotations

import fcntl
import gzip
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Literal

from etlcore.builtin.appender import AppendError, make_directories, sync, sync_directory
from etlcore.builtin.jsonlines import BadLine, from_line

Compression = Literal["none", "gzip", "zstd"]

STAGING = ".writing"
SUFFIX = ".jsonl"
_ENDINGS: dict[Compression, str] = {"none": "", "gzip": ".gz", "zstd": ".zst"}


def publish(staged: Path, target: Path, compression: Compression) -> Path:
    """Give a file that is written to its end its place in the directory ``target``; where it is then.

    Readers see all of it or nothing, also after a loss of power: the bytes are on the disk before the name is, and the
    name when this returns. Raises AppendError; then the staged file is still there.
    """
    final = target / (staged.name + _ENDINGS[compression])
    ready = staged
    try:
        for made in make_directories(target):
            sync_directory(made.parent)
        if compression != "none":
            ready = staged.with_name(final.name)
            _compress(staged, ready, compression)
        _sync_file(ready)
        os.rename(ready, final)
        sync_directory(target)
        if ready != staged:
            staged.unlink()
        sync_directory(staged.parent)
    except OSError as error:
        if ready != staged:
            with suppress(OSError):
                ready.unlink()
        raise AppendError(f"cannot publish {final}: {error.strerror or error}") from error
    return final


def recover(staging: Path, target: Path, compression: Compression) -> list[Path]:
    """Publish what a run that was killed has left below ``staging``; the files that it became.

    A file that another process writes is left alone. Raises AppendError.
    """
    published = []
    try:
        for directory, _, names in os.walk(staging, topdown=False):
            here = Path(directory)
            for name in sorted(names, key=lambda name: (name.endswith(SUFFIX), name)):
                final = _recovered(here / name, target / here.relative_to(staging), compression)
                published.extend([] if final is None else [final])
            with suppress(OSError):  # files of others may be in it
                here.rmdir()
    except AppendError:
        raise
    except OSError as error:
        raise AppendError(f"cannot publish what is left in {staging}: {error.strerror or error}") from error
    return published


def _recovered(staged: Path, target: Path, compression: Compression) -> Path | None:
    if staged.suffix != SUFFIX:  # half a compressed file: what it was made of is beside it
        staged.unlink()
        return None
    with open(staged, "r+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        is_out = any((target / (staged.name + ending)).exists() for ending in _ENDINGS.values())
        length = 0 if is_out else _whole_lines(stream.fileno())
        if length:
            return publish(staged, target, compression)
        staged.unlink()
        return None


def _whole_lines(descriptor: int) -> int:
    """Cut a file off before the first line that is none, and say how long it is then.

    Lines that counted are whole. Behind them a loss of power may leave anything, also whole lines behind torn ones.
    """
    length = 0
    with open(os.dup(descriptor), "rb") as stream:
        for line in stream:
            if not line.endswith(b"\n") or not _is_row(line):
                break
            length += len(line)
    os.ftruncate(descriptor, length)
    sync(descriptor)
    return length


def _is_row(line: bytes) -> bool:
    try:
        from_line(line)
    except BadLine:
        return False
    return True


def _compress(source: Path, into: Path, compression: Compression) -> None:
    with open(source, "rb") as plain:
        if compression == "gzip":
            with gzip.open(into, "wb") as packed:
                shutil.copyfileobj(plain, packed)
        else:
            import pyarrow as pa

            with pa.CompressedOutputStream(str(into), "zstd") as frames:
                shutil.copyfileobj(plain, frames)


def _sync_file(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)
