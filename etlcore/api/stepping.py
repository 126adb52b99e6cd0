"""One stage at a time: what it makes of rows, shown as tables."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from etlcore.api.table import Table
from etlcore.trial import Buried


@dataclass(frozen=True)
class Step:
    """What a stage made of the rows that it was given."""

    stage: str
    rows: Table
    """What it put out; of a sink, what came to it."""
    outputs: dict[str, Table]
    """What it put out on its named outputs."""
    dead: list[Buried]
    """The rows that it refused, with the reasons."""

    def _parts(self) -> list[tuple[str, Table]]:
        return [(self.stage, self.rows), *((f"{self.stage}.{name}", table) for name, table in self.outputs.items())]

    def __repr__(self) -> str:
        parts = [f"{name}\n{table!r}" for name, table in self._parts()]
        dead = [f"dead letter: {letter.reason}: {letter.row}" for letter in self.dead]
        return "\n\n".join([*parts, *(["\n".join(dead)] if dead else [])])

    def _repr_html_(self) -> str:
        parts = [f"<h4>{escape(name)}</h4>{table._repr_html_()}" for name, table in self._parts()]
        dead = "".join(f"<li>{escape(letter.reason)}: {escape(str(letter.row))}</li>" for letter in self.dead)
        return "".join(parts) + (f"<h4>dead letters</h4><ul>{dead}</ul>" if dead else "")
