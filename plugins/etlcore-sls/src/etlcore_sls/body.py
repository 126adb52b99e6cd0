"""The body of a pull in pieces: Arrow columns where that can be, else the SDK's parsed log groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from etlcore_sls.columns import Wanted, read_columns, reader
from etlcore_sls.wire.protobuf import ProtobufError, group_ends

if TYPE_CHECKING:
    import pyarrow as pa

PIECE_BYTES = 2 * 1024 * 1024
"""A piece ends with the log group that takes it to so many bytes: what is worked on fits into a processor's cache."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The logs of some log groups, and for each group the number of logs up to its end."""

    logs: pa.RecordBatch
    ends: list[int]

    def __len__(self) -> int:
        """The number of log groups."""
        return len(self.ends)


Piece = Columns | Sequence[Any]
"""``len(piece)`` log groups, as columns or as the SDK's message objects."""


def read_body(body: bytes, wanted: Wanted = None) -> list[Piece]:
    """The log groups of a LogGroupList, in order, with the ``wanted`` columns; log groups are always whole.

    Raises google.protobuf.message.DecodeError where the bytes are not one.
    """
    if reader() is not None:
        try:
            return [_piece(part, wanted) for part in _parts(body)]
        except ProtobufError:
            pass  # the SDK has the last word on what is readable
    groups = parse(body)
    return [groups] if groups else []


def parse(body: bytes) -> Sequence[Any]:
    """The log groups as the SDK's message objects. Text that is not UTF-8 becomes bytes in them."""
    from aliyun.log.proto import LogGroupList, LogGroupListRaw
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        groups: Sequence[Any] = LogGroupList.FromString(body).LogGroups
    except (DecodeError, UnicodeDecodeError):  # protobuf without its C library insists on UTF-8
        groups = LogGroupListRaw.FromString(body).LogGroups
    return groups


def _piece(part: memoryview, wanted: Wanted) -> Piece:
    found = read_columns(part, wanted)
    return parse(bytes(part)) if found is None else Columns(*found)


def _parts(body: bytes) -> Iterator[memoryview]:
    """The body, cut between log groups."""
    view = memoryview(body)
    start = end = 0
    for end in group_ends(body):
        if end - start >= PIECE_BYTES:
            yield view[start:end]
            start = end
    if end > start:
        yield view[start:end]
