"""Dead letters are run again, from the stage that refused them on.

The refusing stages keep all that is behind them and lose all that is in front; in its place comes a source that reads
the letters. Every letter is a partition of its own, with one position: once that is committed, all that came from the
letter has come to its end, and the letter is deleted. A crash before that repeats it, and never loses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict

from etlcore.batch import Batch, Position
from etlcore.components import Context, Source
from etlcore.spec.model import Input, Pipeline, Stage
from etlcore.state import DeadLetter, Selection, StateStore
from etlcore.state.values import encode

_PARTITION = "dead letter "


class DeadLetterSource(Source):
    """The dead letters that a selection means, one batch each: so that it is known of every row which letter it was."""

    class Config(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)

        selection: Selection

    config: Config

    def open(self, context: Context) -> None:
        self._store = StateStore(context.state_directory)

    def read(self) -> Iterator[Batch | None]:
        for letter in self._store.letters(self.config.selection):
            partition = partition_of(letter)
            if partition in self.context.positions:
                # A transactional sink has the rows, and a crash came before the letter was deleted.
                self._store.delete_letters(Selection(ids=[_id(letter)]))
                continue
            yield Batch.from_rows([dict(letter.row)], position=Position(partition, letter.id))

    def commit(self, positions: Mapping[str, Any]) -> None:
        self._store.delete_letters(Selection(ids=list(positions.values())))
        for partition in positions:
            self.context.forget(partition)  # of what is over nothing needs to be remembered

    def close(self) -> None:
        store = getattr(self, "_store", None)
        if store is not None:
            store.close()


def partition_of(letter: DeadLetter) -> str:
    """What a letter is called as a partition: no letter of another state file has the same name."""
    return f"{_PARTITION}{letter.id} of run {letter.run}"


class ReplayStore(StateStore):
    """The state store of a replay: what is refused again remembers which letter it was."""

    def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """As `StateStore.add_dead_letters`; the letters being replayed are not deleted here, but once they are
        settled.
        """
        ids = {number for letter in letters for number in _origins(letter)}
        former = {_id(letter): letter for letter in self.letters(Selection(ids=sorted(ids)))} if ids else {}
        super().add_dead_letters([_again(letter, former) for letter in letters])


def _origins(letter: DeadLetter) -> list[int]:
    """The ids of the letters that a row of a replay came from, or may have come from."""
    return [number for name, number in (letter.positions or {}).items() if name.startswith(_PARTITION)]


def _again(letter: DeadLetter, former: Mapping[int, DeadLetter]) -> DeadLetter:
    candidates = [former[number] for number in _origins(letter) if number in former]
    if not candidates:
        return letter
    if len(candidates) > 1:
        # A stage has joined rows. The row itself tells which it was, unless it was changed on the way.
        row = encode(dict(letter.row))
        candidates = [candidate for candidate in candidates if encode(dict(candidate.row)) == row] or candidates
    return replace(
        letter,
        positions={name: value for candidate in candidates for name, value in (candidate.positions or {}).items()},
        attempts=max(candidate.attempts for candidate in candidates) + 1,
        replayed_from=_id(candidates[0]) if len(candidates) == 1 else None,
    )


def _id(letter: DeadLetter) -> int:
    assert letter.id is not None
    return letter.id


def replayed(pipeline: Pipeline, selections: Mapping[str, Selection]) -> Pipeline:
    """The part of a pipeline that runs dead letters again: ``{stage: the letters that it is to be given}``.

    The stages that are named and all behind them are kept; an edge from a stage that is not kept is dropped.
    """
    kept = _with_all_behind(pipeline, selections)
    sources = [_source(name, selection) for name, selection in selections.items()]
    stages = [
        replace(stage, inputs=_inputs(stage, kept, selections)) for stage in pipeline.stages if stage.name in kept
    ]
    return replace(pipeline, stages=(*sources, *stages))


def _with_all_behind(pipeline: Pipeline, names: Mapping[str, Any]) -> set[str]:
    kept = set(names)
    while True:
        behind = {stage.name for stage in pipeline.stages if any(edge.stage in kept for edge in stage.inputs)}
        if behind <= kept:
            return kept
        kept |= behind


def _inputs(stage: Stage, kept: set[str], selections: Mapping[str, Selection]) -> tuple[Input, ...]:
    edges = tuple(edge for edge in stage.inputs if edge.stage in kept)
    return (Input(source_name(stage.name)), *edges) if stage.name in selections else edges


def _source(name: str, selection: Selection) -> Stage:
    return Stage(
        name=source_name(name),
        kind="source",
        component="dead letters",
        cls=DeadLetterSource,
        config=DeadLetterSource.Config(selection=selection),
    )


def source_name(stage: str) -> str:
    """What the source in front of a stage is called; no stage of a file can have such a name."""
    return f"dead letters of {stage}"
