"""The source `files` under rotation of every kind and crashes at any point: no line is lost, by drawn histories.

A crash is played by beginning a new source from positions of which, for each partition, some prefix was committed:
what was read behind them counts as lost, and must come again.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from etlcore import Batch
from etlcore.builtin import files_tail
from tests.builtin.rotating import Writer


class Life:
    """One run of the source, a turn at a time."""

    def __init__(self, use: Callable[..., Any], context: Any, path: str) -> None:
        self.context = context
        self._reading: Iterator[Batch | None] = use(
            "source",
            "files",
            context=context,
            path=path,
            follow=True,
            poll_seconds=0.001,
            rotated_seconds=3600,
            batch=7,
        ).read()
        self.read: list[int] = []
        self.marks: dict[str, list[tuple[list[int], Any]]] = {}
        """For each partition, the rows that come to each of its positions."""

    def turn(self) -> list[int]:
        """Read what there is; the numbers of its lines."""
        new: list[int] = []
        while (batch := next(self._reading)) is not None:
            ns = [row["n"] for row in batch.rows]
            new += ns
            before = 0
            for end, position in batch.marks:
                json.dumps(position.value)
                self.marks.setdefault(position.partition, []).append((ns[before:end], position.value))
                before = end
        self.read += new
        return new

    def crash(self, dice: random.Random) -> list[int]:
        """End it with some of it delivered: the numbers that count."""
        self._reading.close()  # type: ignore[attr-defined]
        committed: list[int] = []
        positions = dict(self.context.positions)
        for partition, marks in self.marks.items():
            count = dice.choice([0, len(marks), dice.randint(0, len(marks))])
            for ns, value in marks[:count]:
                committed += ns
                positions[partition] = value
        self.context.positions = positions
        return committed


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("path", ["app.log", "app.log*"])
def test_no_line_is_lost_and_none_is_read_twice_without_a_crash(
    use: Any, new_context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, seed: int
) -> None:
    monkeypatch.setattr(files_tail, "_MARK_EVERY", 2)
    dice = random.Random(seed)
    writer = Writer(tmp_path, dice)
    life = Life(use, new_context(), path)
    life.turn()  # what is rotated before the first look, no name leads to
    acts = [writer.append] * 3 + [writer.rename, writer.late, writer.copytruncate, writer.compress]
    for _ in range(30):
        for _ in range(dice.randint(1, 2)):
            dice.choice(acts)()
            if path == "app.log":  # nor to what is rotated twice between two looks
                life.turn()
        for _ in range(3):
            life.turn()
    writer.close()
    for _ in range(4):
        life.turn()
    assert sorted(set(life.read)) == writer.written
    assert sorted(life.read) == writer.written


@pytest.mark.parametrize("seed", range(30))
def test_no_line_is_lost_by_a_crash_at_any_point(
    use: Any, new_context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(files_tail, "_MARK_EVERY", 2)
    dice = random.Random(seed)
    writer = Writer(tmp_path, dice)
    context = new_context()
    life = Life(use, context, "app.log*")
    delivered: list[int] = []
    acts = [writer.append] * 4 + [writer.rename, writer.late, writer.copytruncate, writer.compress]
    for _ in range(40):
        dice.choice(acts)()
        for _ in range(dice.randint(0, 2)):
            life.turn()
        if dice.random() < 0.2:
            delivered += life.crash(dice)
            life = Life(use, context, "app.log*")
    writer.close()
    for _ in range(4):
        life.turn()
    delivered += life.read
    assert sorted(set(delivered)) == writer.written
