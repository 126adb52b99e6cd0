"""A column of request URIs taken apart at once, wherever that gives exactly what `uri.parse` gives for each.

What has an escape is decoded once for each distinct text. The rest, such as what may be malformed, is left to `parse`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from etlcore.builtin.distinct import first_rows
from etlcore.builtin.uri import Malformed, decode

if TYPE_CHECKING:
    import pyarrow as pa

# From the root, no control characters, no fragment, whole escapes only.
_REGULAR = r"\A/(?:[^\x00-\x20\x7f-\x{9f}#%]|%[0-9A-Fa-f]{2})*\z"


@dataclass(slots=True)
class UriColumns:
    """The URIs that were taken apart; `rows` says which of the column they are."""

    rows: pa.Int64Array
    path: pa.StringArray
    owner: pa.Int64Array
    """For each parameter the place of its URI in `rows`, rising."""
    names: pa.StringArray
    values: pa.StringArray

    def map_column(self, *, listed: bool) -> pa.MapArray:
        """The parameters of each URI as a map; with ``listed`` each value is a list of one."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found = pc.value_counts(self.owner)
        places = pc.index_in(_numbers(len(self.rows)), value_set=found.field("values"))
        counts = pc.fill_null(found.field("counts").take(places), 0)
        offsets = pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(counts)]).cast(pa.int32())
        return pa.MapArray.from_arrays(offsets, self.names, one_each(self.values) if listed else self.values)

    def parameter(self, name: str) -> pa.StringArray:
        """The parameter of a name for each URI; null where there is none."""
        import pyarrow.compute as pc

        chosen = pc.equal(self.names, name)
        places = pc.index_in(_numbers(len(self.rows)), value_set=self.owner.filter(chosen))
        return self.values.filter(chosen).take(places)

    def without(self, gone: pa.BooleanArray) -> UriColumns:
        """All but some of the URIs."""
        import pyarrow as pa
        import pyarrow.compute as pc

        kept = pc.invert(gone)
        pairs = kept.take(self.owner)
        places = pc.subtract(pc.cumulative_sum(kept.cast(pa.int64())), 1)
        return UriColumns(
            self.rows.filter(kept),
            self.path.filter(kept),
            places.take(self.owner.filter(pairs)),
            self.names.filter(pairs),
            self.values.filter(pairs),
        )


def parse_column(column: pa.Array, *, parameters: bool) -> UriColumns | None:
    """The URIs that are regular, without those that give a parameter twice; None where the column holds no texts.

    Without ``parameters`` only those are looked at that may be malformed.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_large_string(column.type):
        column = column.cast(pa.string())
    if not pa.types.is_string(column.type):
        return None
    regular = pc.fill_null(pc.match_substring_regex(column, pattern=_REGULAR), False)
    path, query = _halves(column.filter(regular), "?")
    if not parameters:
        query = pc.if_else(pc.match_substring(query, "%"), query, pa.scalar(None, pa.string()))
    asked = pc.indices_nonzero(query.is_valid()).cast(pa.int64())
    pieces = pc.split_pattern(query.drop_null(), "&")
    owner, piece = asked.take(pc.list_parent_indices(pieces)), pieces.flatten()
    filled = pc.not_equal(piece, "")
    names, values = _halves(piece.filter(filled), "=")
    found = UriColumns(
        rows=pc.indices_nonzero(regular).cast(pa.int64()),
        path=_decoded(path),
        owner=owner.filter(filled),
        names=_decoded(pc.replace_substring(names, "+", " ")),
        values=_decoded(pc.replace_substring(pc.fill_null(values, ""), "+", " ")),
    )
    return _irregular_apart(found)


def _irregular_apart(found: UriColumns) -> UriColumns:
    """Without the URIs that hold what could not be decoded, or a parameter twice."""
    import pyarrow as pa
    import pyarrow.compute as pc

    codes = found.names.dictionary_encode()
    width = max(1, len(codes.dictionary))
    pairs = pc.add(pc.multiply(found.owner, width), pc.fill_null(codes.indices, 0).cast(pa.int64()))
    places = pairs.dictionary_encode()
    twice = len(places.dictionary) < len(pairs)
    if not (twice or found.path.null_count or found.names.null_count or found.values.null_count):
        return found
    odd = pc.or_(found.names.is_null(), found.values.is_null())
    if twice:
        odd = pc.or_(odd, pc.invert(first_rows(places.indices)))
    of_pairs = pc.is_in(_numbers(len(found.rows)), value_set=found.owner.filter(odd))
    return found.without(pc.or_(found.path.is_null(), of_pairs))


def _halves(texts: pa.StringArray, sign: str) -> tuple[pa.StringArray, pa.StringArray]:
    """What stands before the first sign, and what behind it, null where there is none; the texts have no nulls."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = pc.split_pattern(texts, sign, max_splits=1)
    flat, lengths = parts.flatten(), pc.list_value_length(parts).cast(pa.int64())
    first = pc.subtract(pc.cumulative_sum(lengths), lengths)
    second = pc.if_else(pc.equal(lengths, 2), pc.add(first, 1), pa.scalar(None, pa.int64()))
    return flat.take(first), flat.take(second)


def _decoded(texts: pa.StringArray) -> pa.StringArray:
    """The texts with their escapes decoded; null where they are no UTF-8."""
    import pyarrow as pa
    import pyarrow.compute as pc

    escaped = pc.match_substring(texts, "%")
    if not escaped.true_count:
        return texts
    distinct = texts.filter(escaped).dictionary_encode()
    made = pa.array([_decode(text) for text in distinct.dictionary.to_pylist()], pa.string())
    return pc.replace_with_mask(texts, escaped, made.take(distinct.indices))


def one_each(values: pa.StringArray) -> pa.ListArray:
    """A list of one for each value, null for null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    valid = values.is_valid().cast(pa.int32())
    ends = pc.cumulative_sum(valid)
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends])
    return pa.ListArray.from_arrays(offsets, values.drop_null(), mask=values.is_null())


def _decode(text: str) -> str | None:
    try:
        return decode(text)
    except Malformed:
        return None


def _numbers(count: int) -> Any:
    import pyarrow as pa

    return pa.array(range(count), pa.int64())
