"""Arrow columns become logs, without a dict for each row: byte for byte what `etlcore_sls.sink_log` makes of the rows.

A log is a run of pieces: its time; for each field a header, which depends on the field's name and the length of the
value alone, and the value; its nanoseconds. Each column gives its pieces of all logs at once, and they are joined row
by row. Python is asked once for each distinct time and length, and for values that Arrow cannot write as SLS has them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from etlcore import Batch
from etlcore_sls.sink_log import SOURCE, TAG, TIME, TIME_NS, TOPIC, LogMaker, Place, field_of, nanoseconds, text_of
from etlcore_sls.wire.protobuf import varint

_BINARY: Any = pa.large_binary()
_NOTHING: Any = pa.scalar(b"", _BINARY)


class Columns:
    """The logs of one batch. All lists have an element for each row, also for those that are ``refused``."""

    def __init__(self, maker: LogMaker, record_batch: Any, now: float) -> None:
        """``now``, in seconds since 1970, is the time of rows that have none."""
        self._maker = maker
        self._count: int = record_batch.num_rows
        # Of several columns with one name the last counts, as it does in rows.
        self._columns: dict[str, Any] = dict(zip(record_batch.schema.names, record_batch.columns, strict=True))
        self._texts: dict[str, Any] = {}
        self.refused: dict[int, str] = {}
        """Rows that cannot become logs, with the reasons."""
        head, ns = self._times(int(now))
        fields = [piece for name in self._columns for piece in self._field(name)]
        logs = _joined([head, *fields, ns])
        self.logs: list[bytes] = _joined([_headers(logs, _header(b"\x0a")), logs]).to_pylist()
        """Framed for a LogGroup."""
        self.places: list[bytes] = self._places()
        """What follows the logs of each one's LogGroup."""

    def texts(self, name: str) -> Sequence[bytes | None]:
        """The values of a column as logs have them; None where there are none."""
        return self._text(name).to_pylist() if name in self._columns else [None] * self._count

    # --- fields ------------------------------------------------------------------------------------------------------

    def _field(self, name: str) -> list[Any]:
        field = field_of(name)
        if field is None:
            if name.startswith(TAG) or name in (TOPIC, SOURCE):
                self._text(name)  # to find in order what has no form as text
            return []
        return self._pair(b"\x12", field.encode(), name)

    def _pair(self, tag: bytes, key: bytes, name: str) -> list[Any]:
        """The pieces of a Content or LogTag: see `etlcore_sls.wire.protobuf.encode_pair`."""
        text = self._text(name)
        begin = b"".join((b"\x0a", varint(len(key)), key, b"\x12"))

        def header(size: int) -> bytes:
            inner = begin + varint(size)
            return tag + varint(len(inner) + size) + inner

        return [_headers(text, header), text]

    def _text(self, name: str) -> Any:
        if name not in self._texts:
            self._texts[name] = self._as_text(name, self._columns[name])
        return self._texts[name]

    def _as_text(self, name: str, column: Any) -> Any:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if any(is_plain(column.type) for is_plain in _PLAIN):
            return column.cast(pa.large_string()).cast(_BINARY)
        texts: list[bytes | None] = []
        for row, value in enumerate(_values(column)):
            try:
                texts.append(None if value is None else text_of(value, name))
            except ValueError as error:
                self.refused.setdefault(row, str(error))
                texts.append(None)
        return pa.array(texts, _BINARY)

    # --- times -------------------------------------------------------------------------------------------------------

    def _times(self, now: int) -> tuple[Any, Any]:
        """What each log begins with, its time, and what it ends with: its nanoseconds, or null."""
        unknown = pa.scalar(b"\x08" + varint(now), _BINARY)
        column = self._columns.get(self._maker.time_column)
        if column is None:
            return pa.repeat(unknown, self._count), pa.nulls(self._count, _BINARY)
        indices, moments = self._distinct(column, self._maker.moment)
        heads = [None if moment is None else b"\x08" + varint(moment[0]) for moment in moments]
        tails = [None if moment is None or moment[1] is None else _nanoseconds(moment[1]) for moment in moments]
        ns = _taken(tails, indices)
        if self._maker.time_column == TIME and TIME_NS in self._columns:
            parts, numbers = self._distinct(self._columns[TIME_NS], nanoseconds, column.is_valid())
            ns = pc.coalesce(_taken([None if n is None else _nanoseconds(n) for n in numbers], parts), ns)
        return pc.fill_null(_taken(heads, indices), unknown), ns

    def _distinct(self, column: Any, make: Callable[[Any], Any], only: Any = None) -> tuple[Any, list[Any]]:
        """What ``make`` makes of each distinct value, and for each row which of these; null where there is no value.

        Rows with values for which ``make`` raises are refused. ``only`` says which rows count.
        """
        if any(is_countable(column.type) for is_countable in _COUNTABLE):
            encoded = column.dictionary_encode()
            indices, values = encoded.indices, _values(encoded.dictionary)
        else:
            values = _values(column)
            indices = pa.array([None if value is None else row for row, value in enumerate(values)], pa.int32())
        if only is not None:
            indices = pc.if_else(only, indices, pa.scalar(None, indices.type))
        made: list[Any] = []
        bad: dict[int, str] = {}
        for number, value in enumerate(values):
            try:
                made.append(None if value is None else make(value))
            except ValueError as error:
                bad[number] = str(error)
                made.append(None)
        if bad:
            for row, number in enumerate(indices.to_pylist()):
                if number in bad:
                    self.refused.setdefault(row, bad[number])
        return indices, made

    # --- places ------------------------------------------------------------------------------------------------------

    def _places(self) -> list[bytes]:
        tags = [name for name in self._columns if name.startswith(TAG)]
        defaults = {TOPIC: self._maker.topic, SOURCE: self._maker.source}
        if not tags and not any(name in self._columns for name in defaults):
            return [Place(self._maker.topic, self._maker.source, ()).encode()] * self._count
        pieces: list[Any] = []
        for tag, (name, default) in zip((b"\x1a", b"\x22"), defaults.items(), strict=True):
            text = pa.repeat(pa.scalar(default, _BINARY), self._count)
            if name in self._columns:
                text = pc.coalesce(self._text(name), text)
            pieces += [_headers(text, _header(tag)), text]
        for name in tags:
            pieces += self._pair(b"\x32", name[len(TAG) :].encode(), name)
        encoded = _joined(pieces).dictionary_encode()
        places = encoded.dictionary.to_pylist()
        return [places[index] for index in encoded.indices.to_pylist()]


_PLAIN = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_boolean)
_COUNTABLE = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_timestamp)


def _values(column: Any) -> list[Any]:
    """The values as they stand in the rows of a batch."""
    batch = Batch.from_arrow(pa.RecordBatch.from_arrays([column], names=["value"]))
    return [row["value"] for row in batch.rows]


def _headers(texts: Any, header: Callable[[int], bytes]) -> Any:
    """``header(length)`` for each text, null for null."""
    lengths = pc.binary_length(texts).dictionary_encode()
    return _taken([header(length) for length in lengths.dictionary.to_pylist()], lengths.indices)


def _header(tag: bytes) -> Callable[[int], bytes]:
    return lambda size: tag + varint(size)


def _taken(values: list[bytes | None] | list[bytes], indices: Any) -> Any:
    return pa.array(values, _BINARY).take(indices)


def _joined(pieces: list[Any]) -> Any:
    """Row by row, the pieces one after the other; a null is nothing."""
    return pc.binary_join_element_wise(*pieces, _NOTHING, null_handling="skip")


def _nanoseconds(ns: int) -> bytes:
    return b"\x25" + ns.to_bytes(4, "little")
