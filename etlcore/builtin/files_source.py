"""The source that reads JSON lines out of files."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import Field, field_validator

from etlcore.batch import Batch, Position, Row
from etlcore.builtin.files_reset import position_at
from etlcore.builtin.jsonlines import BadLine, from_line
from etlcore.builtin.options import Options
from etlcore.components import Source

_CHUNK = 1024 * 1024  # bytes read at once
_MARK_EVERY = 100  # lines between two positions within a batch
_BOM = b"\xef\xbb\xbf"


class FilesError(Exception):
    """A file that cannot be read as wanted; the text names it."""


class FilesSource(Source):
    """Reads files of JSON lines: one object a line, UTF-8; blank lines are skipped.

    Files are shared out among the workers of the stage. The partition of a file is its path (relative to the pipeline
    file where it is below it), its position the number of bytes that are in; so a later run reads what was appended.
    """

    class Config(Options):
        path: str | list[str] = Field(
            description="A file, a glob such as 'logs/**/*.jsonl', or a list of them; relative to the pipeline file."
        )
        on_bad_line: Literal["stop", "skip"] = Field(
            "stop", description="A line that is no JSON object: stop the run with its place, or skip and count it."
        )
        batch: int = Field(1000, ge=1, le=1_000_000, description="The most rows in one batch.")
        max_line: int = Field(
            16 * 1024 * 1024, ge=1, description="A line of more bytes than this counts as bad, so memory stays bounded."
        )

        @field_validator("path")
        @classmethod
        def _not_empty(cls, path: str | list[str]) -> str | list[str]:
            if not path or (isinstance(path, list) and not all(path)):
                raise ValueError("a path is empty: name a file or a glob")
            return path

    config: Config

    def read(self) -> Iterator[Batch | None]:
        paths = self.config.path if isinstance(self.config.path, list) else [self.config.path]
        found = find(paths, self.context.directory)
        for pattern in paths if self.context.worker == 0 else []:
            if not _matches(pattern, self.context.directory):
                self.context.log.warning("no file matches %r in %s", pattern, self.context.directory)
        for partition, file in list(found.items())[self.context.worker :: self.context.workers]:
            yield from self._read_file(partition, file)

    def position_at(self, where: str | datetime) -> dict[str, int]:
        paths = self.config.path if isinstance(self.config.path, list) else [self.config.path]
        return position_at(find(paths, self.context.directory), where)

    def _read_file(self, partition: str, file: Path) -> Iterator[Batch | None]:
        start = int(self.context.positions.get(partition, 0))
        try:
            with open(file, "rb") as stream:
                if os.fstat(stream.fileno()).st_size < start:
                    self.context.log.warning("%s is shorter than it was: it is read from its beginning", partition)
                    start = 0
                yield from self._read_lines(partition, file, stream, start)
        except OSError as error:
            raise FilesError(f"cannot read {partition}: {error.strerror or error}") from error

    def _read_lines(self, partition: str, file: Path, stream: BinaryIO, start: int) -> Iterator[Batch | None]:
        gathered = _Gathered(partition, start)
        for line, end in lines(stream, start, self.config.max_line):
            try:
                row = _parse(line, self.config.max_line)
            except BadLine as error:
                if self.config.on_bad_line == "stop":
                    if gathered.rows:
                        yield gathered.batch()
                    place = f"{partition}:{_line_number(file, gathered.end)}"
                    raise FilesError(f"{place}: {error}: mend the line, or set on_bad_line: skip") from None
                self.context.metrics.count("bad_lines")
                self.context.log.warning("%s: skipped a line at byte %d: %s", partition, gathered.end, error)
                row = None
            gathered.add(row, end)
            if len(gathered.rows) >= self.config.batch or gathered.lines >= 10 * self.config.batch:
                yield gathered.batch()
                gathered = _Gathered(partition, end)
        if gathered.lines:
            yield gathered.batch()


class _Gathered:
    """Rows on their way into a batch, with the marks that say how far each stretch of them reaches."""

    def __init__(self, partition: str, start: int) -> None:
        self.rows: list[Row] = []
        self.lines = 0
        self.end = start
        self._partition = partition
        self._marks: list[tuple[int, Position]] = []

    def add(self, row: Row | None, end: int) -> None:
        if row is not None:
            self.rows.append(row)
        self.lines += 1
        self.end = end
        if self.lines % _MARK_EVERY == 0:
            self._marks.append((len(self.rows), Position(self._partition, end)))

    def batch(self) -> Batch:
        last = (len(self.rows), Position(self._partition, self.end))
        marks = self._marks if self._marks and self._marks[-1] == last else [*self._marks, last]
        return Batch.from_rows(self.rows, marks=marks)


def find(paths: list[str], directory: Path) -> dict[str, Path]:
    """The files that paths and globs name, each once: ``{partition: file}``, sorted by partition.

    Raises FilesError for a plain path that is no readable file.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if not glob.has_magic(path):
            _check_plain(path, directory / path)
        for file in _matches(path, directory):
            found[partition_name(file, directory)] = file
    return dict(sorted(found.items()))


def partition_name(file: Path, directory: Path) -> str:
    """What a file is called in the state: its path below the pipeline's directory, else its absolute path."""
    absolute = Path(os.path.abspath(file))
    base = Path(os.path.abspath(directory))
    name = absolute.relative_to(base) if absolute.is_relative_to(base) else absolute
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _matches(path: str, directory: Path) -> list[Path]:
    names = glob.glob(path, root_dir=directory, recursive=True) if glob.has_magic(path) else [path]
    return [directory / name for name in names if (directory / name).is_file()]


def _check_plain(path: str, file: Path) -> None:
    if file.is_dir():
        raise FilesError(f"{path} is a directory: write {path.rstrip('/')}/*.jsonl for the files in it")
    if not file.exists():
        raise FilesError(f"there is no file {file}: check the path, which is relative to the pipeline file")
    if not file.is_file():
        raise FilesError(f"{path} is not a regular file: only files can be read again after a stop")


def lines(stream: BinaryIO, start: int, limit: int) -> Iterator[tuple[bytes, int]]:
    """Each line from byte ``start`` on, without its newline, and the byte behind it.

    Of a line longer than ``limit`` only its beginning is kept, one byte more than the limit.
    """
    stream.seek(start)
    end = start
    rest = b""
    skipped = 0  # bytes of the present line that were dropped
    while chunk := stream.read(_CHUNK):
        *whole, rest = (rest + chunk).split(b"\n") if b"\n" in chunk else (rest + chunk,)
        for line in whole:
            end += len(line) + skipped + 1
            skipped = 0
            yield line, end
        if len(rest) > limit + 1:
            skipped += len(rest) - limit - 1
            rest = rest[: limit + 1]
    if rest:
        yield rest, end + len(rest) + skipped


def _parse(line: bytes, limit: int) -> Row | None:
    if len(line) > limit:
        raise BadLine(f"longer than max_line ({limit:,} bytes)")
    if line[:3] == _BOM:
        line = line[3:]
    if not line or line.isspace():
        return None
    return from_line(line)


def _line_number(file: Path, offset: int) -> int:
    """The number of the line that begins at a byte, counted from 1."""
    number = 1
    with open(file, "rb") as stream:
        while offset > 0 and (chunk := stream.read(min(_CHUNK, offset))):
            number += chunk.count(b"\n")
            offset -= len(chunk)
    return number
