"""The small language in which `generate` describes a column, made into Arrow columns without an object per row.

A template is text with placeholders: ``"/item/{id}?user={int:1:9000}"``. One that is nothing but a placeholder has
the placeholder's type, any other is text; ``{{`` and ``}}`` stand for braces. Every value depends on the seed, the
template's place and the row's id alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

Make = Callable[["pa.UInt64Array", int], "pa.Array"]
"""Makes a column from the rows' ids and the seed of its random numbers."""

Constant = int | float | bool | None

WORDS = tuple(
    "amber basil cedar delta ember fjord glade harbor indigo juniper kelp lagoon maple nectar opal "  # noqa: SIM905
    "pebble quartz raven saffron tundra umber violet willow xenon yarrow zephyr".split()
)

PLACEHOLDERS = {
    "id": "the row's number, from 0",
    "time": "2024-01-01T00:00:00Z and one second more for each row (over again after 2**32 of them)",
    "now": "the time at which the row is made (the same in a whole batch)",
    "int:LOW:HIGH": "a whole number, both ends included",
    "float:LOW:HIGH": "a number, HIGH excluded",
    "word": "one of 26 words",
    "choice:A|B|C": "one of the given texts; repeat one to make it likelier",
}
"""What may stand between braces, and what it makes."""

_EPOCH = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_INT64 = 1 << 63

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True, slots=True)
class Template:
    """A checked template: literal texts and placeholders in turn."""

    parts: tuple[str | Make, ...]

    def column(self, ids: pa.UInt64Array, seed: int) -> pa.Array:
        """The column for these rows."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if len(self.parts) == 1 and not isinstance(self.parts[0], str):
            return self.parts[0](ids, _stream(seed, 0))
        texts = [
            part if isinstance(part, str) else _as_text(part(ids, _stream(seed, place)))
            for place, part in enumerate(self.parts)
        ]
        if all(isinstance(text, str) for text in texts):
            return pa.repeat("".join(texts), len(ids))
        return pc.binary_join_element_wise(*texts, "")


def parse(template: str | Constant) -> Template:
    """A template from its text; a number, truth value or null is a constant column.

    Raises ValueError that says what is wrong and what is possible.
    """
    if not isinstance(template, str):
        return Template((_always(template),))
    parts: list[str | Make] = []
    literal = ""
    end = 0
    for token in _TOKEN.finditer(template):
        literal += template[end : token.start()]
        end = token.end()
        if token[0] in ("{{", "}}"):
            literal += token[0][0]
        elif token[1] is None:
            raise ValueError(f"{template!r} has a {token[0]!r} without its partner: write {token[0] * 2!r} for a brace")
        else:
            parts += [literal] if literal else []
            parts.append(_placeholder(token[1]))
            literal = ""
    literal += template[end:]
    return Template((*parts, literal) if literal or not parts else tuple(parts))


def columns(fields: Sequence[tuple[str, Template]], ids: pa.UInt64Array, seed: int) -> pa.RecordBatch:
    """One record batch with a column for each field."""
    import pyarrow as pa

    arrays = [template.column(ids, _stream(seed, place)) for place, (_, template) in enumerate(fields)]
    return pa.RecordBatch.from_arrays(arrays, names=[name for name, _ in fields])


def count_up(first: int, step: int, count: int) -> pa.UInt64Array:
    """``count`` ids from ``first`` on, ``step`` apart."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = pc.cumulative_sum(pa.repeat(pa.scalar(step, pa.uint64()), count))
    return pc.add(ids, pa.scalar((first - step) & _MASK, pa.uint64()))


def _placeholder(text: str) -> Make:
    name, *arguments = text.split(":", 1) if text.startswith("choice:") else text.split(":")
    maker = _MAKERS.get(name)
    known = ", ".join("{" + known + "}" for known in PLACEHOLDERS)
    if maker is None:
        raise ValueError(f"there is no placeholder {{{text}}}: choose from {known}")
    try:
        return maker(*arguments)
    except (TypeError, ValueError) as error:
        usage = next(known for known in PLACEHOLDERS if known.partition(":")[0] == name)
        why = f" ({error})" if isinstance(error, _Unusable) else ""
        raise ValueError(f"{{{text}}} is not understood{why}: write {{{usage}}}") from None


class _Unusable(ValueError):
    """Arguments that are well formed but make no sense."""


def _id() -> Make:
    import pyarrow as pa

    return lambda ids, seed: ids.cast(pa.int64())


def _time() -> Make:
    import pyarrow as pa
    import pyarrow.compute as pc

    def make(ids: pa.UInt64Array, seed: int) -> pa.Array:
        seconds = pc.bit_wise_and(ids, pa.scalar(0xFFFFFFFF, pa.uint64())).cast(pa.int64())
        return pc.add(seconds, _EPOCH).cast(pa.timestamp("s", "UTC"))

    return make


def _now() -> Make:
    import pyarrow as pa

    kind = pa.timestamp("us", "UTC")
    return lambda ids, seed: pa.repeat(pa.scalar(datetime.now(UTC), kind), len(ids))


def _int(low: str, high: str) -> Make:
    import pyarrow as pa
    import pyarrow.compute as pc

    first, last = int(low), int(high)
    if first > last:
        raise _Unusable(f"{first} is more than {last}")
    if first < -_INT64 or last >= _INT64 or last - first >= _INT64 - 1:
        raise _Unusable("the range does not fit into 64 bits")

    def make(ids: pa.UInt64Array, seed: int) -> pa.Array:
        return pc.add(_below(_bits(ids, seed), last - first + 1).cast(pa.int64()), pa.scalar(first, pa.int64()))

    return make


def _float(low: str, high: str) -> Make:
    import pyarrow as pa
    import pyarrow.compute as pc

    first, last = float(low), float(high)
    if not first < last < float("inf") or first == -float("inf"):
        raise _Unusable(f"{low} is not less than {high}")

    def make(ids: pa.UInt64Array, seed: int) -> pa.Array:
        unit = pc.multiply(pc.shift_right(_bits(ids, seed), pa.scalar(11, pa.uint64())).cast(pa.float64()), 2.0**-53)
        return pc.add(pc.multiply(unit, last - first), first)

    return make


def _choice(texts: str) -> Make:
    return _one_of(texts.split("|"))


def _word() -> Make:
    return _one_of(WORDS)


def _one_of(texts: Sequence[str]) -> Make:
    import pyarrow as pa

    choices = pa.array(texts, pa.string())
    return lambda ids, seed: choices.take(_below(_bits(ids, seed), len(texts)))


_MAKERS: dict[str, Callable[..., Make]] = {
    "id": _id,
    "time": _time,
    "now": _now,
    "int": _int,
    "float": _float,
    "word": _word,
    "choice": _choice,
}


def _always(value: Constant) -> Make:
    import pyarrow as pa

    try:
        constant = pa.scalar(value)
    except OverflowError:
        raise ValueError(f"{value} does not fit into 64 bits: write it as text") from None
    return lambda ids, seed: pa.repeat(constant, len(ids))


def _as_text(column: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(column.type):
        text = pc.replace_substring(column.cast(pa.timestamp(column.type.unit)).cast(pa.string()), " ", "T")
        return pc.binary_join_element_wise(text, "Z", "")
    return column.cast(pa.string())


def _stream(seed: int, place: int) -> int:
    """The seed of the random numbers at a place under this one."""
    return _mix((seed + (place + 1) * _GOLDEN) & _MASK)


def _mix(z: int) -> int:
    """The finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014)."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def _bits(ids: pa.UInt64Array, seed: int) -> pa.UInt64Array:
    """64 random bits for each id: SplitMix64 at the id-th step from the seed."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def number(value: int) -> pa.Scalar:
        return pa.scalar(value, pa.uint64())

    def fold(values: pa.Array, shift: int) -> pa.Array:
        return pc.bit_wise_xor(values, pc.shift_right(values, number(shift)))

    z = pc.add(pc.multiply(ids, number(_GOLDEN)), number(seed))
    z = pc.multiply(fold(z, 30), number(0xBF58476D1CE4E5B9))
    z = pc.multiply(fold(z, 27), number(0x94D049BB133111EB))
    return fold(z, 31)


def _below(bits: pa.UInt64Array, bound: int) -> pa.UInt64Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    limit: Any = pa.scalar(bound, pa.uint64())
    return pc.subtract(bits, pc.multiply(pc.divide(bits, limit), limit))
