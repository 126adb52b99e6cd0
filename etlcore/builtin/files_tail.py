"""One file that is being read: from where it was left, to where it ends at present."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from etlcore.batch import Batch, Position, Row
from etlcore.builtin.files_content import CHUNK, Content, ContentError
from etlcore.builtin.files_lines import Lines
from etlcore.builtin.files_paths import FilesError, Found, Identity, Unreadable
from etlcore.builtin.files_positions import Place, holds
from etlcore.builtin.files_rows import RowReader
from etlcore.builtin.jsonlines import BadLine

_MARK_EVERY = 100  # lines between two positions within a batch
_MOST_BYTES = 8 * 1024 * 1024  # of the lines of one batch
_SETTLED = 2_000_000_000  # nanoseconds: two changes that are closer may bear the same time


class Tail:
    """A file with the place up to which it was read.

    Between two calls of `read_on` and the like the file may be closed, to be opened again by the next one. All of
    them raise Unreadable when that fails, FilesError for a bad line that is to stop the run, and OSError.
    """

    def __init__(self, found: Found, rows: RowReader, batch: int) -> None:
        self.found = found
        """The file as it was seen last; it keeps its identity when it is renamed."""
        self._rows = rows
        self._batch = batch
        self._content: Content | None = None
        self._lines = Lines(rows.max_line)
        self._place = Place(found.name, *found.identity, 0)  # what the positions say besides how far it was read
        self._checked = -1  # when the file was last written to, when its content was looked at
        self.finished: tuple[int, int] | None = None
        """The size and the last change of a file that was read to its end for good."""
        self.begun = False
        """Whether it is known where to begin."""
        self._asleep: Place | None = None  # where a compressed file is to be read on, should it ever grow again

    @property
    def identity(self) -> Identity:
        return self.found.identity

    @property
    def partition(self) -> str:
        return self._place.partition

    @property
    def is_open(self) -> bool:
        return self._content is not None

    @property
    def pending(self) -> int:
        """Bytes behind the place that were looked at: the beginning of a line that is not whole yet."""
        return self._lines.pending

    @property
    def seen(self) -> int:
        """How far it was looked at, with the beginning of a line that is not whole yet."""
        return self._lines.seen

    @property
    def place(self) -> Place:
        """How far it was read: behind the last whole line."""
        return self._asleep or self._place_at(self._lines.end)

    def position(self, at: int | None = None) -> Position:
        """The same for the state; or, while a batch is made, the end ``at`` of one of its lines."""
        return Position(self.partition, self._place_at(self._lines.end if at is None else at).value())

    def _place_at(self, at: int) -> Place:
        head, tail = self._lines.prints(at)
        return replace(self._place, offset=at, head=head, tail=tail, finished=self.finished)

    def unchanged(self) -> bool:
        """The file is as it was when it was read to its end for good."""
        return self.finished == (self.found.size, self.found.changed)

    def begin(self, place: Place) -> bool:
        """Go on from a place of this file; False when the file does not hold what the place says.

        A compressed file that has not changed since it was read to its end is not read for that.
        """
        self.close()
        content = self._opened()
        self.begun = True
        self._place = replace(place, finished=None)
        self.finished = place.finished
        if content.compression != "none" and self.unchanged():
            self._asleep = place
            self.close()
            return True
        found = holds(content, place)
        if found is None:
            return False
        self._lines = Lines(self._rows.max_line, place.offset, *found)
        return True

    def begin_anew(self, place: Place) -> None:
        """Go to the beginning of another stream."""
        self.begun = True
        self._place = place
        self.finished = None
        self._asleep = None
        self._lines = Lines(self._rows.max_line)
        self.close()

    def finish(self) -> Iterator[Batch]:
        """Nothing more will be written to the file: read its last line, and say in the position that it is done."""
        if self._asleep is None and not self.unchanged():
            yield from self.read_last_line()
            yield self._done()

    def give_up(self, reason: str) -> Iterator[Batch]:
        """The rest of the file cannot be read: deal with it as with a bad line, and do not come back to it."""
        try:
            self._rows.bad(reason, self.found.name, self._lines.end)
        except BadLine as error:
            raise FilesError(f"{self.found.name}: {error}: mend the file, or set on_bad_line: reject") from None
        yield self._done()

    def _done(self) -> Batch:
        status = None if self._content is None else self._content.status()
        size, changed = (
            (self.found.size, self.found.changed) if status is None else (status.st_size, status.st_mtime_ns)
        )
        self.finished = (size, changed)
        return Batch.from_rows([], position=self.position())

    def was_rewritten(self) -> bool:
        """Whether what was read is no longer there: the file was truncated, or written anew in its place."""
        content = self._opened()
        if content.compression != "none":
            return False
        status = content.status()
        if status.st_size < self._lines.seen:
            return True
        if status.st_mtime_ns == self._checked:
            return False
        head, before = self._lines.head, self._lines.before
        behind = self._lines.seen - len(before)
        if content.bytes_at(0, len(head)) != head or content.bytes_at(behind, len(before)) != before:
            return True
        if time.time_ns() - status.st_mtime_ns > _SETTLED:
            self._checked = status.st_mtime_ns
        return False

    def read_on(self) -> Iterator[Batch]:
        """What there is behind the place, up to where the file ended when this began."""
        if self._asleep is not None:
            place, self._asleep = self._asleep, None
            self.begin(replace(place, finished=None))
        content = self._opened()
        size = content.status().st_size
        if content.compression != "none":
            yield from self._read_compressed(content)
            return
        self.finished = None
        content.skip_to(self._lines.seen)
        while content.offset < size and (chunk := content.read(min(CHUNK, size - content.offset))):
            yield from self._batches(self._lines.feed(chunk))

    def skip_to_end(self) -> None:
        """Go behind the last whole line. Raises ContentError."""
        content = self._opened()
        while chunk := content.read():
            for _ in self._lines.feed(chunk):
                pass

    def read_last_line(self) -> Iterator[Batch]:
        """The last line, which no newline will follow any more."""
        yield from self._batches(self._lines.finish())

    def behind(self) -> int:
        """How many bytes there are that were not read; of a compressed file, all or none."""
        content = self._content
        size = self.found.size if content is None else content.status().st_size
        if self.finished is not None or (content is not None and content.compression != "none"):
            return 0 if self.unchanged() else size
        return max(0, size - self._lines.end)

    def close(self) -> None:
        """Let go of the file."""
        if self._content is not None:
            content, self._content = self._content, None
            content.close()

    def _opened(self) -> Content:
        """The open file."""
        if self._content is not None and not self._content.sees_growth():
            self.close()
        if self._content is None:
            try:
                content = Content(self.found.file)
            except OSError as error:
                raise Unreadable(f"cannot read {self.found.name}: {error.strerror or error}") from error
            status = content.status()
            if (status.st_dev, status.st_ino) != self.identity:
                content.close()
                raise Unreadable(f"cannot read {self.found.name}: another file is in its place")
            self._content = content
        return self._content

    def _read_compressed(self, content: Content) -> Iterator[Batch]:
        try:
            status = content.status()
            if not content.skip_to(self._lines.seen):
                raise ContentError("it holds less than it did")
            while chunk := content.read():
                yield from self._batches(self._lines.feed(chunk))
            yield from self.read_last_line()
            self.finished = (status.st_size, status.st_mtime_ns)
            yield Batch.from_rows([], position=self.position())
        finally:
            self.close()

    def _batches(self, lines: Iterator[bytes]) -> Iterator[Batch]:
        gathered = _Gathered(self)
        begin = self._lines.end
        for line in lines:
            try:
                row = self._rows.row(line, self.found.name, begin)
            except BadLine as error:
                if gathered.lines:
                    yield gathered.batch()
                place = self._where(begin)
                raise FilesError(f"{place}: {error}: mend the line, or set on_bad_line: reject") from None
            begin = self._lines.end
            gathered.add(row, begin)
            if gathered.is_full(self._batch):
                yield gathered.batch()
                gathered = _Gathered(self)
        if gathered.lines:
            yield gathered.batch()

    def _where(self, offset: int) -> str:
        """The line that begins at a byte, as editors name it."""
        number = 1
        try:
            content = Content(self.found.file)
        except OSError:
            return f"{self.found.name} at byte {offset}"
        try:
            while content.offset < offset and (chunk := content.read(min(CHUNK, offset - content.offset))):
                number += chunk.count(b"\n")
        finally:
            content.close()
        return f"{self.found.name}:{number}"


class _Gathered:
    """Rows on their way into a batch, with the marks that say how far each stretch of them reaches."""

    def __init__(self, tail: Tail) -> None:
        self.rows: list[Row] = []
        self.lines = 0
        self._tail = tail
        self._begin = self._end = tail.place.offset
        self._marks: list[tuple[int, Position]] = []

    def add(self, row: Row | None, end: int) -> None:
        if row is not None:
            self.rows.append(row)
        self.lines += 1
        self._end = end
        if self.lines % _MARK_EVERY == 0:
            self._marks.append((len(self.rows), self._tail.position(end)))

    def is_full(self, rows: int) -> bool:
        """Enough for a batch: so many rows, or so much that memory would not stay bounded."""
        return len(self.rows) >= rows or self.lines >= 10 * rows or self._end - self._begin >= _MOST_BYTES

    def batch(self) -> Batch:
        marks = self._marks
        if self.lines % _MARK_EVERY:
            marks = [*marks, (len(self.rows), self._tail.position(self._end))]
        return Batch.from_rows(self.rows, marks=marks)
