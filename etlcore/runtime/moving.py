"""Moving positions: where each partition of a source stands, and where it is to stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from etlcore.runtime.positions import CannotMove, Keeper


@dataclass(frozen=True, slots=True)
class Target:
    """Where positions are to be moved: ``where`` is begin, end or a time; None stands for ``value``."""

    text: str
    where: str | datetime | None
    value: Any = None


@dataclass(frozen=True, slots=True)
class Move:
    """What becomes of a source's positions; None is a position that is forgotten."""

    keeper: Keeper
    before: Mapping[str, Any]
    after: Mapping[str, Any]

    @property
    def changes(self) -> dict[str, Any]:
        """The partitions that move."""
        return {name: value for name, value in self.after.items() if value != self.before.get(name)}


def plan_move(keeper: Keeper, target: Target, partition: str | None) -> Move:
    """Where each partition stands and will stand. Raises CannotMove."""
    before = dict(keeper.before())
    if target.where is None:
        after = dict.fromkeys([partition] if partition else before, target.value)
        if len(after) != 1:
            count = f"has {len(after)} partitions" if after else "has no positions yet"
            names = f" (one of {', '.join(sorted(before)[:10])})" if before else ""
            raise CannotMove(
                f"stage {keeper.stage} {count}, and a value is the position of one\n"
                f"  -> say which: --partition PARTITION{names}"
            )
    else:
        after = dict(keeper.at(target.where, before))
    if partition is not None:
        if partition not in before and (target.where is None or partition not in after):
            known = ", ".join(sorted({**before, **after} if target.where else before)[:10]) or "none"
            raise CannotMove(f"stage {keeper.stage} has no partition {partition!r}\n  -> its partitions are: {known}")
        after = {partition: after[partition]} if partition in after else {}
    return Move(keeper, before, after)
