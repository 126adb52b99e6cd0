"""Rows as a table: as text in a terminal, as HTML in a notebook."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from etlcore.batch import Batch, Row

_SHOWN = 20  # rows
_WIDE = 40  # characters of a cell


class Table(Sequence[Row]):
    """Rows; a sequence of dicts that shows itself as a table."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self.batches = list(batches)
        self._rows: list[Row] | None = None

    @property
    def rows(self) -> list[Row]:
        """All rows as dicts."""
        if self._rows is None:
            self._rows = [row for batch in self.batches for row in batch.rows]
        return self._rows

    @property
    def batch(self) -> Batch:
        """All rows as one batch, without positions."""
        return Batch.concat(self.batches)

    def __len__(self) -> int:
        return sum(len(batch) for batch in self.batches)

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __eq__(self, other: object) -> bool:
        return self.rows == (other.rows if isinstance(other, Table) else other)

    def __hash__(self) -> int:
        raise TypeError("a Table has no hash: its rows may change")

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        shown = self.rows[:_SHOWN]
        names = list(dict.fromkeys(name for row in shown for name in row))
        cells = [[_cell(row[name]) if name in row else "" for name in names] for row in shown]
        return [_cell(name) if isinstance(name, str) else _cell(repr(name)) for name in names], cells

    def _rest(self) -> str:
        count = f"{len(self):,} row{'' if len(self) == 1 else 's'}"
        return f"{count}, the first {_SHOWN} shown" if len(self) > _SHOWN else count

    def __repr__(self) -> str:
        names, cells = self._cells()
        if not names:
            return self._rest()
        widths = [max(len(row[index]) for row in [names, *cells]) for index in range(len(names))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in [names, ["-" * width for width in widths], *cells]
        ]
        return "\n".join([*lines, self._rest()])

    def _repr_html_(self) -> str:
        names, cells = self._cells()
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in cells)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{escape(self._rest())}</p>"


def _cell(value: Any) -> str:
    if isinstance(value, str):
        text = value
    else:
        try:
            text = json.dumps(value, ensure_ascii=False, default=str)
        except ValueError:
            text = repr(value)
    text = text.replace("\n", "\u23ce")
    text = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return text if len(text) <= _WIDE else text[: _WIDE - 1] + "\N{HORIZONTAL ELLIPSIS}"
