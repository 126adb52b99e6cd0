"""Cutting a stream of bytes into lines, in bounded memory, and knowing by its bytes where one was."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

HEAD = 1024  # bytes at the beginning of a file that tell it from others
TAIL = 256  # bytes before a position that tell it from the same place in another file


def digest(data: bytes) -> str:
    """A short text that stands for some bytes."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


class Lines:
    """The lines of one stream, from any place on.

    Of a line longer than ``limit`` bytes only its beginning is kept, one byte more than the limit.
    """

    def __init__(self, limit: int, offset: int = 0, head: bytes = b"", before: bytes = b"") -> None:
        """``head`` and ``before`` are what stands at the beginning of the stream and before ``offset``."""
        self._limit = limit
        self.end = offset
        """The byte behind the last whole line."""
        self.seen = offset
        """The byte behind everything that was fed."""
        self.head = head[:HEAD]
        self.before = before[-TAIL:]
        """The last bytes before ``seen``."""
        self._mark = (self.head, self.before)  # as they were at ``end``, unless that is within the chunk at hand
        self._chunk = b""
        self._base = offset  # where the chunk at hand begins
        self._rest = b""  # the beginning of the line that is not whole yet, no more than can be a row

    @property
    def pending(self) -> int:
        """Bytes of a line that is not whole yet."""
        return self.seen - self.end

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that became whole, without their newlines; `end` is behind the one just given."""
        self._base, self._chunk = self.seen, chunk
        if len(self.head) < HEAD:
            self.head += chunk[: HEAD - len(self.head)]
        cut = chunk.rfind(b"\n") + 1
        if cut:
            whole = chunk[:cut].split(b"\n")
            whole.pop()
            whole[0] = self._with_rest(whole[0])
            at = self._base
            first = chunk.find(b"\n") + 1
            for number, line in enumerate(whole):
                at += len(line) + 1 if number else first
                self.end = at
                yield line
            self._mark = self._bytes_before(self.end)
        self._keep(chunk[cut:])
        self.seen = self._base + len(chunk)
        self.before = (self.before + chunk)[-TAIL:] if len(chunk) < TAIL else chunk[-TAIL:]
        self._chunk = b""

    def finish(self) -> Iterator[bytes]:
        """The last line, which no newline will follow; nothing when there is none."""
        if self.pending:
            line = self._with_rest(b"")
            self.end = self.seen
            self._mark = (self.head, self.before)
            yield line

    def prints(self, at: int) -> tuple[str, str]:
        """What stands for the first bytes of the stream, and for the last ones before ``at``: the `end`, or the one
        before the line just given."""
        head, before = self._bytes_before(at)
        return digest(head), digest(before)

    def _bytes_before(self, at: int) -> tuple[bytes, bytes]:
        within = at - self._base
        if within <= 0 or not self._chunk:
            return self._mark
        if within < TAIL:
            return self.head[:at], (self.before + self._chunk[:within])[-TAIL:]
        return self.head[:at], self._chunk[within - TAIL : within]

    def _keep(self, part: bytes) -> None:
        self._rest += part[: max(0, self._limit + 1 - len(self._rest))]

    def _with_rest(self, line: bytes) -> bytes:
        if not self._rest:
            return line
        joined = (self._rest + line)[: self._limit + 1]
        self._rest = b""
        return joined
