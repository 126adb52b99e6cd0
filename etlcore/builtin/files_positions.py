"""What the source `files` remembers of a file: which one it was, and how far it was read."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from etlcore.builtin.files_content import Content, ContentError
from etlcore.builtin.files_lines import HEAD, TAIL, digest

_PARTITION = re.compile(r"(?s)(.*)@([0-9a-f]+):([0-9a-f]+)(?:\+\d+)?")

ENOUGH = HEAD
"""Bytes that must be the same before two files are taken for one although nothing else says so."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a file. A file is known by its device and inode and by the bytes that were read of it.

    An inode is given to another file once its own is gone, and a device may have another number after a restart of
    the machine: so the bytes decide.

    What is read is a *stream* of bytes, and a partition stands for one. It stays the same when the stream goes on in a
    copy of its file; a file that is truncated begins another. So whatever happens to the files, nothing of a stream is
    committed before what comes earlier in it.
    """

    path: str
    """What the file was called, as in `files_paths.name_of`."""
    device: int
    inode: int
    offset: int
    """How many bytes are in; of a compressed file, of what is in it."""
    head: str = ""
    """Stands for the first bytes of the file: as many as are in, at most `HEAD`."""
    tail: str = ""
    """Stands for the last bytes before the offset, at most `TAIL`. Empty, as `head`, when nobody knows them."""
    finished: tuple[int, int] | None = None
    """The size and the time of the last change that the file had when its end was reached for good: a compressed one,
    or one that was moved away."""
    stream: str = ""
    """The name of the stream's partition, where it is not that of a file's first stream."""

    @property
    def partition(self) -> str:
        """The name of the stream's partition: unique, and readable."""
        return self.stream or f"{self.path}@{self.device:x}:{self.inode:x}"

    def value(self) -> dict[str, Any]:
        """The place as a position's value."""
        about = {name: getattr(self, name) for name in ("path", "device", "inode", "offset", "head", "tail")}
        return about if self.finished is None else {**about, "finished": list(self.finished)}

    @classmethod
    def read(cls, partition: str, value: Any) -> Place | None:
        """The place that a committed position stands for; None for a position of another form.

        A bare number of bytes is taken for what it is, without a look at the bytes before it.
        """
        named = _PARTITION.fullmatch(partition)
        if isinstance(value, int) and named:
            return cls(named[1], int(named[2], 16), int(named[3], 16), value, stream=partition)
        try:
            place = cls(**value, stream=partition)
            if place.finished is None:
                return place
            size, changed = place.finished
            return replace(place, finished=(size, changed))
        except TypeError:
            return None

    def at_begin(self) -> Place:
        """The beginning of the same stream."""
        return replace(self, offset=0, head="", tail="", finished=None)


def holds(content: Content, place: Place) -> tuple[bytes, bytes] | None:
    """Whether a file holds what was read up to a place; ``content`` stands behind it then.

    Gives the bytes at the beginning and those before the place, for `Lines`; None when it holds something else.
    """
    try:
        head = content.read_exactly(min(place.offset, HEAD))
        if len(head) < min(place.offset, HEAD) or (place.head and digest(head) != place.head):
            return None
        if place.offset <= HEAD:
            before = head[-TAIL:]
        else:
            overlap = head[max(0, place.offset - TAIL) :]  # the tail may begin within the head
            content.skip_to(max(HEAD, place.offset - TAIL))
            before = overlap + content.read_exactly(place.offset - max(HEAD, place.offset - TAIL))
        if len(before) < min(place.offset, TAIL) or (place.tail and digest(before) != place.tail):
            return None
    except ContentError:
        return None
    return head, before
