"""The source that reads lines out of files.

A file is known by its device and inode and by the bytes that were read of it, not by its name; a position is how many
of its bytes are in. So a file that is renamed is read on, and one that takes its name is read from its beginning. A
renamed file is read to its end before its successor, also when no path names it any more; also when the source did not
run meanwhile, as long as the file is in the same directory. A truncated file (``copytruncate``) is read on in the copy
whose name begins with its own, and then from its beginning.

Each file is read by one worker of the stage. A line is read once it is whole: the last one, if no newline follows it,
at the end of the run, or with ``follow`` when the file is gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import Field, field_validator

from etlcore.batch import Batch, Position
from etlcore.builtin.files_content import ContentError, CutOff
from etlcore.builtin.files_paths import FilesError, Found, check, find
from etlcore.builtin.files_rows import RowReader
from etlcore.builtin.files_starts import Memory
from etlcore.builtin.files_tail import Tail
from etlcore.builtin.files_watch import Watch, go
from etlcore.builtin.options import Options
from etlcore.components import Source

_PATIENCE = 0.5  # seconds between two signs of life while there is nothing to read


class FilesSource(Source):
    """Reads lines of files: a JSON object each, or plain text. UTF-8; gzip and zstd files are known by their content.

    Without ``follow`` it ends with the last file; a later run reads what was appended. With it, it goes on as
    ``tail -F`` does: it waits for more, for files that come up, and for files that take the place of others. A file
    is known by its identity and its content: one that is renamed is read on. Each is read by one worker of the stage.
    """

    example = """
        stages:
          lines:
            source: files
            with: {path: "*.yaml", format: lines}  # this file is one of them
          out: {sink: console}
    """

    class Config(Options):
        path: str | list[str] = Field(
            description="A file, a glob such as 'logs/**/*.jsonl', or a list of them; relative to the pipeline file."
        )
        follow: bool = Field(
            False, description="Go on for ever: read what is appended, files that come up, and files that are rotated."
        )
        format: Literal["json", "lines"] = Field(
            "json", description="One JSON object a line, or any text: then a row has one column, line."
        )
        on_bad_line: Literal["reject", "skip", "stop"] = Field(
            "reject",
            description="What becomes of a line that is no row (no JSON object, no UTF-8, too long): it goes to the "
            "dead letters, with its place; it is skipped and counted; or the run is stopped.",
        )
        batch: int = Field(1000, ge=1, le=1_000_000, description="The most rows in one batch.")
        max_line: int = Field(
            1024 * 1024, ge=1, description="A line of more bytes than this counts as bad, so memory stays bounded."
        )
        poll_seconds: float = Field(
            0.5, gt=0, le=3600, allow_inf_nan=False, description="With follow, seconds between two looks at the files."
        )
        rotated_seconds: float = Field(
            5.0,
            ge=0,
            allow_inf_nan=False,
            description="With follow, how long a file that no path names any more (renamed, deleted) is still read on "
            "after the last thing that was written to it.",
        )
        max_open: int = Field(
            256, ge=1, description="With follow, the most files that are kept open; the quietest are closed."
        )

        @field_validator("path")
        @classmethod
        def _not_empty(cls, path: str | list[str]) -> str | list[str]:
            if not path or (isinstance(path, list) and not all(path)):
                raise ValueError("a path is empty: name a file or a glob")
            return path

    config: Config

    def read(self) -> Iterator[Batch | None]:
        try:
            found = self._found()
            self._say_what_is_missing()
            memory = Memory(self.context.positions, self.context.directory)
            if self.config.follow:
                found.sort(key=lambda one: (one.changed, one.name))
                yield from self._follow(found, memory)
            else:
                yield from self._read_once(found, memory)
        except OSError as error:
            raise FilesError(f"cannot read {error.filename or 'a file'}: {error.strerror or error}") from error

    def position_at(self, where: str | datetime) -> Mapping[str, Any]:
        """The end is behind the last line that is whole: what has no newline yet may still be written to."""
        if isinstance(where, datetime):
            raise NotImplementedError("files do not say when a line was written, so there is no position at a time")
        memory = Memory(self.context.positions, self.context.directory)
        positions: dict[str, Any] = {}
        for found in self._found():
            tail = self._tail(found)
            tail.begin(memory.own(found).place.at_begin())
            if where == "end":
                tail.skip_to_end()
            position = tail.position()
            positions[position.partition] = position.value
            tail.close()
        return positions

    # Once

    def _read_once(self, found: list[Found], memory: Memory) -> Iterator[Batch | None]:
        starts = memory.starts(found)
        yield from self._told([start.position for start in starts if self._is_mine(start.found) and start.adopted])
        for start in starts:
            if self._is_mine(start.found):
                tail = self._tail(start.found)
                try:
                    go(tail, start, memory, self.context)
                    yield from self._read_file(tail)
                finally:
                    tail.close()

    def _read_file(self, tail: Tail) -> Iterator[Batch]:
        try:
            if tail.unchanged():
                return
            yield from tail.read_on()
            yield from tail.read_last_line()
        except CutOff as error:
            if self.config.on_bad_line == "stop":
                raise FilesError(
                    f"{tail.found.name}: {error}: wait until it is whole, or set on_bad_line: reject"
                ) from None
            self.context.log.warning("%s: %s: what is missing is read once it is there", tail.found.name, error)
        except ContentError as error:
            yield from tail.give_up(str(error))

    # For ever

    def _follow(self, found: list[Found], memory: Memory) -> Iterator[Batch | None]:
        starts = [start for start in memory.starts(found) if self._is_mine(start.found)]
        yield from self._told([start.position for start in starts if start.adopted or start.place.offset == 0])
        watch = Watch(
            self.context,
            memory,
            lambda: [one for one in self._found() if self._is_mine(one)],
            self._tail,
            wait=self.config.rotated_seconds,
            max_open=self.config.max_open,
        )
        try:
            watch.begin(starts, {one.identity for one in found})
            while True:
                yield from watch.turn()
                left = self.config.poll_seconds
                while left > 0:
                    yield None
                    self.context.stopping.wait(min(left, _PATIENCE))
                    left -= _PATIENCE
        finally:
            watch.close()

    # What there is

    def _paths(self) -> list[str]:
        return self.config.path if isinstance(self.config.path, list) else [self.config.path]

    def _found(self) -> list[Found]:
        return find(self._paths(), self.context.directory)

    def _say_what_is_missing(self) -> None:
        for path in self._paths():
            check(path, self.context.directory, must_exist=not self.config.follow)
            if self.context.worker == 0 and not find([path], self.context.directory):
                self.context.log.warning("no file matches %r in %s", path, self.context.directory)

    def _is_mine(self, found: Found) -> bool:
        """Workers share files by inode, which stays with a file whatever it is called and whatever comes and goes."""
        return found.identity[1] % self.context.workers == self.context.worker

    def _tail(self, found: Found) -> Tail:
        config = self.config
        return Tail(found, RowReader(self.context, config.format, config.on_bad_line, config.max_line), config.batch)

    def _told(self, positions: list[Position]) -> Iterator[Batch]:
        """All at once, so that no crash comes between them: one may be right only as long as another is known."""
        if positions:
            yield Batch.from_rows([], marks=[(0, position) for position in positions])
