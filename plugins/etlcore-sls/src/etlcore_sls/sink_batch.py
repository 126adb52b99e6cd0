"""The rows of a batch become requests: LogGroups that are small enough, in an order that keeps what belongs together.

Requests are sent in the order in which they were begun. A row joins the request that is open for its place and its part
of the hash keys, unless rows of the same hash key stand in one that was begun later: then it begins a new one. So rows
of one hash key are sent in their order, whatever their topics and tags.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING

from etlcore_sls.sink_config import SlsSinkConfig
from etlcore_sls.sink_log import LogMaker, Place, Row, text_of

if TYPE_CHECKING:
    from etlcore_sls.sink_columns import Columns

_HASH_BITS = 128


@dataclass(slots=True)
class Request:
    """One LogGroup to be put. ``rows`` are the indices of its logs in the batch."""

    number: int
    key: str | None
    """The hash key, 32 hexadecimal digits; None: the service chooses the shard."""
    tail: bytes
    rows: list[int] = field(default_factory=list)
    logs: list[bytes] = field(default_factory=list)
    size: int = 0

    @property
    def body(self) -> bytes:
        """The LogGroup as protobuf."""
        return b"".join((*self.logs, self.tail))

    def halves(self) -> tuple[Request, Request]:
        """The first and the second half, of a request of two logs or more."""
        middle = len(self.rows) // 2
        first, second = (
            Request(self.number, self.key, self.tail, self.rows[part], self.logs[part])
            for part in (slice(None, middle), slice(middle, None))
        )
        return first, second


class Requests:
    """What one batch becomes: ``requests``, and ``refused`` with the reason for each row that cannot be sent."""

    def __init__(self, config: SlsSinkConfig, maker: LogMaker) -> None:
        self._config = config
        self._maker = maker
        self._open: dict[tuple[str | None, Place | bytes], Request] = {}
        self._last: dict[bytes, int] = {}  # by hash: the newest request with rows of it
        self.requests: list[Request] = []
        self.refused: dict[int, str] = {}

    def add(self, rows: Sequence[Row], now: float) -> None:
        """Divide rows up. ``now``, in seconds since 1970, is the time of those that have none."""
        for index, row in enumerate(rows):
            try:
                log, place = self._maker.make(row, now)
                text = self._hashed(row)
            except ValueError as error:  # a BadRow, or an int with more digits than Python writes
                self.refused[index] = str(error)
                continue
            self._put(index, log, place, text)

    def add_columns(self, columns: Columns) -> None:
        """The same for the rows of Arrow columns."""
        key = self._config.hash_key
        texts = repeat(None) if key is None else columns.texts(key)
        self.refused.update(columns.refused)
        for index, (log, place, text) in enumerate(zip(columns.logs, columns.places, texts, strict=False)):
            if index not in self.refused:
                self._put(index, log, place, text)

    def _put(self, index: int, log: bytes, place: Place | bytes, text: bytes | None) -> None:
        """``place`` may be encoded already; ``text`` is what decides about the shard."""
        config = self._config
        digest = None if text is None else hashlib.md5(text, usedforsecurity=False).digest()
        key = None if digest is None else self._key(digest)
        request = self._open.get((key, place))
        if (
            request is None
            or len(request.rows) >= config.put_logs
            or request.size + len(log) > config.put_bytes
            or (digest is not None and self._last.get(digest, 0) > request.number)
        ):
            tail = place if isinstance(place, bytes) else place.encode()
            if len(log) + len(tail) > config.put_bytes:
                self.refused[index] = (
                    f"too large for SLS: {len(log) + len(tail):,} bytes, and a request may have {config.put_bytes:,} "
                    "(option `put_bytes`)"
                )
                return
            request = Request(len(self.requests), key, tail, size=len(tail))
            self.requests.append(request)
            self._open[key, place] = request
        request.rows.append(index)
        request.logs.append(log)
        request.size += len(log)
        if digest is not None:
            self._last[digest] = request.number

    def _hashed(self, row: Row) -> bytes | None:
        column = self._config.hash_key
        value = row.get(column) if column is not None else None
        return None if column is None or value is None else text_of(value, column)

    def _key(self, digest: bytes) -> str:
        """The hash key to send: the begin of the part that a hash falls into."""
        number = int.from_bytes(digest, "big")
        if self._config.hash_buckets is not None:
            width = _HASH_BITS - (self._config.hash_buckets.bit_length() - 1)
            number = number >> width << width
        return f"{number:032x}"
