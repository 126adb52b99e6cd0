"""Which stages and outputs of a pipeline the rows of its tests came to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from etlcore.spec.model import Input, Pipeline
from etlcore.trial.cases import CaseResult

_UNREACHED = {"source": "no test gives it rows", "output": "no row comes out of it"}


@dataclass(frozen=True, slots=True)
class Reach:
    """A stage or one of its named outputs, and what came there in all tests together."""

    at: Input
    kind: str
    """``source``, ``transform``, ``sink`` or ``output``."""
    tests: int
    """In how many tests a row came to it; of an output and a source: came out of it."""
    rows: int
    put_out: int | None
    """Rows that came out of a stage's main output; None where nobody reads it, and for sinks and named outputs."""
    dead: int | None
    """Dead letters; None where there can be none in a test: only transforms refuse rows."""

    @property
    def gaps(self) -> list[str]:
        """What no test reaches, in words; empty when nothing is left to do."""
        if not self.tests:
            return [_UNREACHED.get(self.kind, "no row comes to it")]
        return ["no row comes out of it"] if self.put_out == 0 else []


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the tests of a pipeline reach."""

    parts: tuple[Reach, ...]
    """In the order of the file, named outputs behind their stage."""

    @property
    def reached(self) -> int:
        return sum(not part.gaps for part in self.parts)

    @property
    def without_dead(self) -> list[str]:
        """The transforms that no test has a dead letter of."""
        return [part.at.stage for part in self.parts if part.dead == 0]


def coverage(pipeline: Pipeline, results: Sequence[CaseResult]) -> Coverage:
    """What the tests with these results reached of their pipeline."""
    return Coverage(tuple(_parts(pipeline, results)))


def _parts(pipeline: Pipeline, results: Sequence[CaseResult]) -> Iterator[Reach]:
    read = {edge for stage in pipeline.stages for edge in stage.inputs}
    for stage in pipeline.stages:
        main = Input(stage.name)
        came = [(result.came or {}).get(stage.name, 0) for result in results]
        yield Reach(
            at=main,
            kind=stage.kind,
            tests=sum(map(bool, came)),
            rows=sum(came),
            put_out=sum(_put_out(results, main)) if main in read else None,
            dead=sum((result.dead or {}).get(stage.name, 0) for result in results)
            if stage.kind == "transform"
            else None,
        )
        for name in stage.outputs:
            out = _put_out(results, Input(stage.name, name))
            yield Reach(Input(stage.name, name), "output", sum(map(bool, out)), sum(out), None, None)


def _put_out(results: Sequence[CaseResult], output: Input) -> list[int]:
    return [(result.put_out or {}).get(output, 0) for result in results]
