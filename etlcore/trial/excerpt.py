"""A part of a pipeline, run with given rows in a state directory that is gone afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from etlcore.batch import Batch, Row
from etlcore.components import Sink, Source
from etlcore.spec.model import Input, OnError, Pipeline, Stage, Take

if TYPE_CHECKING:
    from etlcore.runtime.report import Report
    from etlcore.runtime.run import Event, Run
    from etlcore.runtime.status import Late

Output = tuple[str, str | None]
"""A stage and the name of one of its outputs; None is the main one."""


class TrialError(ValueError):
    """What was asked for does not fit the pipeline."""


@dataclass(frozen=True, slots=True)
class Buried:
    """A row that became a dead letter."""

    stage: str
    reason: str
    row: Mapping[str, Any]
    traceback: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the given rows."""

    outputs: Mapping[Output, list[Batch]]
    """What each stage that took part put out, by output; of outputs that nothing came out of, an empty list."""
    written: Mapping[str, list[Batch]]
    """What came to each sink."""
    dead: Sequence[Buried]
    report: Report

    def rows(self, stage: str, output: str | None = None) -> list[Row]:
        """The rows that a stage put out, or that came to a sink. Raises TrialError when it took no part."""
        batches = self.written.get(stage) if output is None else None
        if batches is None:
            batches = self.outputs.get((stage, output))
        if batches is None:
            name = stage if output is None else f"{stage}.{output}"
            raise TrialError(f"no given row can come to `{name}`")
        return [row for batch in batches for row in batch.rows]


def try_out(pipeline: Pipeline, given: Mapping[str, Batch | Sequence[Row]]) -> Outcome:
    """Run the part of a pipeline that given rows can come to, to its end.

    ``given`` has rows for stages by name: a source reads them instead of what it would read; to a transform or a sink
    they come instead of what the stages above would send. Every sink only remembers what it is given. A stage keeps its
    workers, queues and policies. How a stage failed is in the report. Raises TrialError for names that are not there,
    and BrokenPlugin as a run does.
    """
    from etlcore.cli.view.secrets import Mask
    from etlcore.runtime.execution import execute
    from etlcore.state import Selection, StateStore

    excerpt = _Excerpt(pipeline, given)
    mask = Mask(pipeline).text  # reasons of dead letters may quote secrets
    with tempfile.TemporaryDirectory(prefix="etl-trial-") as directory, StateStore(Path(directory), mask=mask) as store:
        report = execute(excerpt.pipeline, store, _Nobody())
        letters = list(store.letters(Selection(pipeline.name)))
    return Outcome(
        outputs=excerpt.outputs,
        written=excerpt.written,
        dead=[Buried(letter.stage, letter.reason, letter.row, letter.traceback) for letter in letters],
        report=report,
    )


class _Given(Source):
    """Gives rows that it was made with."""

    replayable = False
    batch: ClassVar[Batch]

    def read(self) -> Iterator[Batch | None]:
        yield self.batch


class _Remembering(Sink):
    """Keeps what it is given."""

    batches: ClassVar[list[Batch]]

    def write(self, batch: Batch) -> None:
        self.batches.append(batch)


class _Excerpt:
    """The pipeline to run instead, and the lists that what comes out is put into."""

    def __init__(self, pipeline: Pipeline, given: Mapping[str, Batch | Sequence[Row]]) -> None:
        self.outputs: dict[Output, list[Batch]] = {}
        self.written: dict[str, list[Batch]] = {}
        self._stages = {stage.name: stage for stage in pipeline.stages}
        unknown = [name for name in given if name not in self._stages]
        if unknown:
            raise TrialError(f"there is no stage `{unknown[0]}`: the stages are {', '.join(self._stages)}")
        if not given:
            raise TrialError("no rows are given to any stage")
        parts = self._reached(pipeline, given)
        stages: list[Stage] = []
        for stage in pipeline.stages:
            if stage.name in parts:
                rows = _batch(given[stage.name], stage.name) if stage.name in given else None
                stages.extend(self._part(stage, parts, rows))
        self.pipeline = replace(pipeline, stages=tuple(stages))

    def _reached(self, pipeline: Pipeline, given: Mapping[str, Any]) -> set[str]:
        """The stages that given rows can come to; one that has rows of its own takes no others."""
        from etlcore.runtime.graph import Graph

        graph = Graph(pipeline)
        reached: set[str] = set()
        for node in graph:
            name = node.stage.name
            if name in given or any(source in reached for source in node.sources):
                reached.add(name)
        return reached

    def _part(self, stage: Stage, parts: set[str], rows: Batch | None) -> Iterator[Stage]:
        """A stage as it takes part, with what feeds it and what listens to it."""
        inputs = tuple(edge for edge in stage.inputs if edge.stage in parts)
        if rows is not None and stage.kind != "source":
            feeder = f"{stage.name}: given"
            yield _source(feeder, rows)
            inputs = (Input(feeder),)
        if stage.kind == "sink":
            yield self._sink(stage.name, inputs, self.written.setdefault(stage.name, []), stage.take)
            return
        yield (
            replace(stage, inputs=inputs)
            if stage.kind == "transform"
            else _source(stage.name, rows or Batch.from_rows([]))
        )
        for output in (None, *stage.outputs):
            kept = self.outputs.setdefault((stage.name, output), [])
            name = stage.name if output is None else f"{stage.name}.{output}"
            yield self._sink(f"{name}: out", (Input(stage.name, output),), kept, Take())

    def _sink(self, name: str, inputs: tuple[Input, ...], kept: list[Batch], take: Take) -> Stage:
        cls = type("Remembering", (_Remembering,), {"batches": kept})
        return Stage(name, "sink", "(remembers)", cls, None, inputs=inputs, take=take, on_error=OnError())


def _source(name: str, batch: Batch) -> Stage:
    return Stage(name, "source", "(given rows)", type("Given", (_Given,), {"batch": batch}), None)


def _batch(rows: Any, name: str) -> Batch:
    """Rows in any form as one batch without positions: a batch, dicts, a pyarrow RecordBatch or Table."""
    from etlcore.builtin.python_batches import as_batch

    if isinstance(rows, Iterable) and not isinstance(rows, Batch | Mapping | str | bytes):
        rows = rows if type(rows).__module__.partition(".")[0] == "pyarrow" else list(rows)
    batches = as_batch(rows)
    if batches is None:
        raise TrialError(f"stage `{name}` is given a {type(rows).__name__} of no rows: give it a list of dicts")
    whole = Batch.concat(batches) if len(batches) != 1 else batches[0]
    return whole.slice(0, len(whole))


class _Nobody:
    """An audience that shows nothing to anybody."""

    def showing(self, run: Run) -> AbstractContextManager[None]:
        return nullcontext()

    def event(self, run: Run, event: Event) -> None: ...
    def tick(self, run: Run) -> None: ...
    def stopping(self, run: Run, timeout: float | None) -> None: ...
    def late(self, run: Run, late: Late, left: float) -> None: ...
    def abandoning(self, run: Run) -> None: ...
