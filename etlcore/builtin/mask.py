"""The transform that hides what must not go further."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, SecretStr, model_validator

from etlcore.batch import Batch, Row
from etlcore.builtin.casting import Impossible, spelled
from etlcore.builtin.columns import column_of, put, without
from etlcore.builtin.distinct import encoded
from etlcore.builtin.options import Options
from etlcore.components import Transform

if TYPE_CHECKING:
    import pyarrow as pa

Name = Annotated[str, Field(min_length=1)]
Hide = Callable[[Any], str]


class Mask(Transform):
    """Hides values: redacted, hashed with a secret salt, or all but the last characters starred.

    Null stays null, a missing column stays missing; the others become text. The same value and salt give the same
    hash, so rows can still be joined by it. A value without a form as text (bytes that are no UTF-8) sends its row
    to the dead letters, which keep rows as they came: unmasked. Columnar batches stay columnar.
    """

    class Config(Options):
        redact: list[Name] = Field([], description="Columns whose values are replaced.")
        replacement: str = Field("***", description="What stands in place of a redacted value.")
        hash: list[Name] = Field(
            [], description="Columns whose values become their HMAC-SHA-256 with the salt, in hexadecimal."
        )
        salt: SecretStr | None = Field(
            None,
            description="The secret key of the hashes, such as ${SALT}: whoever has it can find out values by trying.",
        )
        keep_last: dict[Name, Annotated[int, Field(ge=1)]] = Field(
            {},
            description="Column name to how many of its last characters stay; the others become stars, and so does all "
            "of a text that is not longer.",
        )

        @model_validator(mode="after")
        def _makes_sense(self) -> Mask.Config:
            names = [*self.redact, *self.hash, *self.keep_last]
            if not names:
                raise ValueError("nothing to mask: name columns in redact, hash or keep_last")
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"column {twice[0]!r} is named twice: mask each column in one way")
            if self.hash and not (self.salt and self.salt.get_secret_value()):
                raise ValueError("a hash without a secret salt is undone by trying values: give salt: ${SALT}")
            return self

    config: Config
    example: ClassVar[str] = """
        name: mask_example
        stages:
          users:
            source: generate
            with: {rows: 3, fields: {user: "{word}", card: "4111-{int:1000:9999}", password: "{word}"}}
          masked:
            transform: mask
            with:
              redact: [password]
              keep_last: {card: 4}
              hash: [user]
              salt: ${SALT:-for this example only}
          out:
            sink: console
    """

    def process(self, batch: Batch) -> Batch:
        return self._columns(batch) if batch.columnar else self._rows(batch)

    def _ways(self) -> Iterator[tuple[str, Hide]]:
        """For each column what hides one of its values."""
        config = self.config
        for name in config.redact:
            yield name, lambda value: config.replacement
        for name in config.hash:
            assert config.salt is not None
            yield name, _hashing(config.salt.get_secret_value().encode())
        for name, last in config.keep_last.items():
            yield name, _starring(last)

    def _rows(self, batch: Batch) -> Batch:
        rows: list[Row] = [dict(row) for row in batch.rows]
        refused: dict[int, str] = {}
        for name, hide in self._ways():
            for index, row in enumerate(rows):
                if row.get(name) is None:
                    continue
                try:
                    row[name] = hide(row[name])
                except Impossible as error:
                    refused.setdefault(index, f"{name}: {error}")
        self._reject(batch, refused)
        return Batch.from_rows([row for index, row in enumerate(rows) if index not in refused])

    def _columns(self, batch: Batch) -> Batch:
        made = batch.arrow
        refused: dict[int, str] = {}
        for name, hide in self._ways():
            column = column_of(made, name)
            if column is None:
                continue
            hidden, wrong = self._hidden(name, column, hide)
            made = put(made, name, hidden)
            for index, reason in wrong.items():
                refused.setdefault(index, f"{name}: {reason}")
        self._reject(batch, refused)
        return without(Batch.from_arrow(made), refused)

    def _reject(self, batch: Batch, refused: dict[int, str]) -> None:
        if refused:
            indices = sorted(refused)
            self.context.reject(batch.take(indices), [refused[index] for index in indices])

    def _hidden(self, name: str, column: pa.Array, hide: Hide) -> tuple[pa.Array, dict[int, str]]:
        """The column with its values hidden; and by index why one cannot be."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if name in self.config.redact:
            return pc.if_else(column.is_valid(), self.config.replacement, pa.scalar(None, pa.string())), {}
        kind = column.type
        if name in self.config.keep_last and (
            pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)
        ):
            return _starred(column.cast(pa.string()), self.config.keep_last[name]), {}
        return _each(column, hide)


def _hashing(salt: bytes) -> Hide:
    def hide(value: Any) -> str:
        try:
            return hmac.digest(salt, spelled(value).encode(), "sha256").hex()
        except UnicodeEncodeError:
            raise Impossible("a text with a lone surrogate, which no UTF-8 can hold") from None

    return hide


def _starring(last: int) -> Hide:
    def hide(value: Any) -> str:
        text = spelled(value)
        return "*" * len(text) if len(text) <= last else "*" * (len(text) - last) + text[-last:]

    return hide


def _starred(column: pa.Array, last: int) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    length = pc.utf8_length(column)
    longer = pc.greater(length, last)
    stars = pc.binary_repeat(pa.scalar("*"), pc.if_else(longer, pc.subtract(length, last), length))
    kept = pc.if_else(longer, pc.utf8_slice_codeunits(column, start=-last), "")
    return pc.binary_join_element_wise(stars, kept, "")


def _each(column: pa.Array, hide: Hide) -> tuple[pa.Array, dict[int, str]]:
    """Each distinct value hidden once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    codes, values = encoded(column)
    hidden: list[str | None] = []
    wrong: dict[int, str] = {}
    for code, value in enumerate(values):
        try:
            hidden.append(hide(value))
        except Impossible as error:
            hidden.append(None)
            wrong[code] = str(error)
    made = pa.array(hidden, pa.string()).take(codes)
    if not wrong:
        return made, {}
    odd = pc.indices_nonzero(pc.is_in(codes, pa.array(list(wrong), codes.type))).to_pylist()
    return made, {index: wrong[codes[index].as_py()] for index in odd}
