"""Shards: hash-key ranges that hold LogGroups in the order of their arrival."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from etlcore_sls.emulator.errors import invalid_cursor, malformed_cursor, parameter_invalid
from etlcore_sls.wire.cursor import decode_cursor, encode_cursor

KEY_SPACE = 1 << 128
LAST_KEY = KEY_SPACE - 1  # written as the exclusive end of the last shard, which nevertheless takes it
_KEY_DIGITS = frozenset("0123456789abcdef")


def key_text(key: int) -> str:
    """A hash key as 32 hexadecimal digits."""
    return f"{min(key, LAST_KEY):032x}"


def parse_key(text: str) -> int:
    """A hash key from 32 hexadecimal digits of either case. Raises ParameterInvalid."""
    lowered = text.lower()
    if len(lowered) != 32 or not _KEY_DIGITS.issuperset(lowered):
        raise parameter_invalid(f"hash key {text!r} must be 32 hexadecimal digits")
    return int(lowered, 16)


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """One LogGroup as it is kept: receive time in seconds, number of logs, and its bytes framed for a LogGroupList."""

    received: int
    logs: int
    framed: bytes


@dataclass(slots=True)
class Shard:
    """One shard: its key range, its place in the history of splits, and an index of its groups (not their bytes).

    Group number ``n`` (from 0) has the cursor ``base + n``. ``ends`` and ``rows`` are running totals, so that the
    size and the number of logs of any run of groups is one subtraction.
    """

    number: int
    uid: int
    begin_key: int
    end_key: int
    created: int
    base: int
    readonly: bool = False
    parents: tuple[int, ...] = ()
    first: int = 0
    received: array[int] = field(default_factory=lambda: array("q"))
    ends: array[int] = field(default_factory=lambda: array("q"))
    rows: array[int] = field(default_factory=lambda: array("q"))

    @property
    def count(self) -> int:
        """How many groups were ever written, expired ones included."""
        return len(self.received)

    @property
    def begin_cursor(self) -> int:
        return self.base + self.first

    @property
    def end_cursor(self) -> int:
        return self.base + self.count

    def append(self, groups: Iterable[StoredGroup]) -> None:
        """Add groups to the index."""
        for group in groups:
            self.append_counts(group.received, group.logs, len(group.framed))

    def append_counts(self, received: int, logs: int, size: int) -> None:
        """Add one group to the index by what is known of it; receive times never go back within a shard."""
        count = len(self.received)
        if count:
            received = max(received, self.received[-1])
            size += self.ends[-1]
            logs += self.rows[-1]
        self.received.append(received)
        self.ends.append(size)
        self.rows.append(logs)

    def bytes_before(self, number: int) -> int:
        return self.ends[number - 1] if number else 0

    def rows_before(self, number: int) -> int:
        return self.rows[number - 1] if number else 0

    def page_end(self, start: int, count: int, max_bytes: int, stop: int) -> int:
        """Where a pull from group ``start`` ends: at most ``count`` groups and ``max_bytes``, but at least one."""
        limit = min(start + count, stop, self.count)
        if limit <= start:
            return start
        return max(start + 1, min(limit, bisect_right(self.ends, self.bytes_before(start) + max_bytes)))

    def number_at(self, seconds: float) -> int:
        """The first retained group that was received at a time or later."""
        return max(self.first, bisect_left(self.received, seconds))

    def number_of(self, cursor: str, *, clamp: bool = False) -> int:
        """The group that a cursor names, which may be one behind the last.

        Raises ParameterInvalid for a malformed cursor and InvalidCursor for one outside the shard (expired, or not
        of this shard) unless it is to be clamped.
        """
        try:
            value = decode_cursor(cursor)
        except ValueError:
            raise malformed_cursor(cursor) from None
        if clamp:
            value = max(self.begin_cursor, min(value, self.end_cursor))
        if not self.begin_cursor <= value <= self.end_cursor:
            raise invalid_cursor(cursor, encode_cursor(self.begin_cursor), encode_cursor(self.end_cursor))
        return value - self.base

    def cursor(self, number: int) -> str:
        return encode_cursor(self.base + number)

    def takes(self, key: int) -> bool:
        if self.readonly:
            return False
        return self.begin_key <= key < self.end_key or key == self.end_key == LAST_KEY

    def describe(self) -> dict[str, object]:
        """As the API lists it."""
        return {
            "shardID": self.number,
            "status": "readonly" if self.readonly else "readwrite",
            "inclusiveBeginKey": key_text(self.begin_key),
            "exclusiveEndKey": key_text(self.end_key),
            "createTime": self.created,
        }


def even_ranges(begin: int, end: int, parts: int) -> list[tuple[int, int]]:
    """A key range cut into parts of the same size, as nearly as it goes. The last key of all ends the last part."""
    whole = KEY_SPACE if end == LAST_KEY else end
    edges = [begin + (whole - begin) * part // parts for part in range(parts)] + [end]
    return list(pairwise(edges))


def split_ranges(shard: Shard, key: str | None, parts: int) -> list[tuple[int, int]]:
    """The key ranges that a split leaves: at a key, or into a number of even parts. Raises ParameterInvalid."""
    if shard.readonly:
        raise parameter_invalid(f"shard {shard.number} is readonly and cannot be split")
    if key is None:
        if parts < 2 or parts > shard.end_key - shard.begin_key:
            raise parameter_invalid(f"shard {shard.number} cannot be split into {parts} parts")
        return even_ranges(shard.begin_key, shard.end_key, parts)
    middle = parse_key(key)
    if not shard.begin_key < middle < shard.end_key:
        raise parameter_invalid(f"split key {key} is not within shard {shard.number}")
    return [(shard.begin_key, middle), (middle, shard.end_key)]
