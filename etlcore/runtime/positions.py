"""Who keeps a source's positions: the state store, the source itself (a server), or a transactional sink."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any, Protocol

from etlcore.batch import Batch
from etlcore.components import Sink, Source, TransactionalSink, Transform
from etlcore.runtime.context import Figures, StageLog, StageMetrics, WorkerContext
from etlcore.spec.model import Pipeline, Stage
from etlcore.state import StateError, StateStore

log = logging.getLogger("etlcore")


class CannotMove(Exception):
    """The positions cannot be moved as wanted; the text says why, and the next step."""


class Keeper(Protocol):
    """The positions of one source stage. All methods raise CannotMove and StateError."""

    stage: str

    def before(self) -> Mapping[str, Any]:
        """The positions as they are."""

    def at(self, where: str | datetime, before: Mapping[str, Any]) -> Mapping[str, Any]:
        """The positions at begin, end or a time; None for one that is to be forgotten."""

    def move(self, positions: Mapping[str, Any]) -> None:
        """Make these the positions, durably."""


@contextmanager
def keepers(pipeline: Pipeline, store: StateStore, stage: str | None) -> Iterator[list[Keeper]]:
    """The keepers of a pipeline's sources, or of one of them; their components are closed at the end.

    Raises CannotMove when there is no such source.
    """
    sources = [found for found in pipeline.stages if found.kind == "source" and stage in (None, found.name)]
    if not sources:
        names = ", ".join(found.name for found in pipeline.stages if found.kind == "source")
        raise CannotMove(f"the pipeline {pipeline.name} has no source {stage!r}\n  -> its sources are: {names}")
    with ExitStack() as stack:
        yield [_keeper(pipeline, store, source, stack) for source in sources]


def _keeper(pipeline: Pipeline, store: StateStore, stage: Stage, stack: ExitStack) -> Keeper:
    source = _component(pipeline, store, stage, stack)
    assert isinstance(source, Source)
    own: Keeper
    if type(source).commit is Source.commit:
        own = _InStore(pipeline.name, stage.name, source, store)
    else:
        own = _InSource(stage.name, source)
    sink = _transactional_behind(pipeline, stage)
    if sink is None:
        return own
    return _InSink(own, source, sink, _component(pipeline, store, sink, stack, opened=True))


def _component(
    pipeline: Pipeline, store: StateStore, stage: Stage, stack: ExitStack, *, opened: bool = False
) -> Source | Transform | Sink:
    """A stage's component, as its first worker has it; closed with the stack."""
    component: Any = stage.cls()
    component.config = stage.config
    component.context = WorkerContext(
        pipeline=pipeline.name,
        stage=stage.name,
        worker=0,
        workers=1,
        directory=pipeline.directory,
        state_directory=store.directory,
        log=StageLog(logging.getLogger(f"etlcore.stage.{stage.name}"), {"stage": stage.name, "worker": 0}),
        metrics=StageMetrics(Figures(threading.Lock()), stage.name),
        stopping=threading.Event(),
        positions=store.positions(pipeline.name, stage.name),
    )
    stack.callback(_close, stage.name, component)
    if opened:
        with _told(stage.name):
            component.open(component.context)
    made: Source | Transform | Sink = component
    return made


def _close(stage: str, component: Any) -> None:
    try:
        component.close()
    except Exception as error:  # noqa: BLE001 - foreign code; what was to be done is done
        log.warning("stage %s could not be closed: %s", stage, error)


def _transactional_behind(pipeline: Pipeline, source: Stage) -> Stage | None:
    """The transactional sink that a source leads to."""
    reached = {source.name}
    found = None
    for stage in pipeline.stages * len(pipeline.stages):  # as often as a way can be long, whatever the file's order
        if any(edge.stage in reached for edge in stage.inputs):
            reached.add(stage.name)
            if issubclass(stage.cls, TransactionalSink):
                found = stage
    return found


@contextmanager
def _told(stage: str) -> Iterator[None]:
    """What a component raises is the answer to the person who asked for the move."""
    try:
        yield
    except StateError:
        raise
    except Exception as error:  # foreign code
        text = str(error).strip()
        raise CannotMove(f"stage {stage}: {text or type(error).__name__}") from error


def _ask_source(stage: str, source: Source, where: str | datetime) -> Mapping[str, Any]:
    """What the source says of begin, end or a time."""
    shown = where.isoformat(timespec="seconds") if isinstance(where, datetime) else where
    try:
        with _told(stage):
            return source.position_at(where)
    except CannotMove as error:
        if not isinstance(error.__cause__, NotImplementedError):
            raise
        reason = str(error.__cause__) or f"its source does not know its positions at {shown}"
        raise CannotMove(f"stage {stage}: {reason}\n  -> give a position: --to VALUE") from None


class _InStore:
    """Positions in the state store."""

    def __init__(self, pipeline: str, stage: str, source: Source, store: StateStore) -> None:
        self.stage = stage
        self._pipeline = pipeline
        self._source = source
        self._store = store

    def before(self) -> Mapping[str, Any]:
        return self._store.positions(self._pipeline, self.stage)

    def at(self, where: str | datetime, before: Mapping[str, Any]) -> Mapping[str, Any]:
        return dict.fromkeys(before) if where == "begin" else _ask_source(self.stage, self._source, where)

    def move(self, positions: Mapping[str, Any]) -> None:
        kept = {name: value for name, value in positions.items() if value is not None}
        self._store.save_positions(self._pipeline, self.stage, kept)
        self._store.delete_positions(self._pipeline, self.stage, [name for name in positions if name not in kept])


class _InSource:
    """Positions that the source itself keeps somewhere: a consumer group's checkpoints."""

    def __init__(self, stage: str, source: Source) -> None:
        self.stage = stage
        self._source = source
        for method in ("committed", "reset"):
            if getattr(type(source), method) is getattr(Source, method):
                raise CannotMove(
                    f"stage {stage}: its source keeps its positions itself, and etlcore cannot move them\n"
                    "  -> move them with the tools of the service that has them"
                )

    def before(self) -> Mapping[str, Any]:
        with _told(self.stage):
            return self._source.committed()

    def at(self, where: str | datetime, before: Mapping[str, Any]) -> Mapping[str, Any]:
        return _ask_source(self.stage, self._source, where)

    def move(self, positions: Mapping[str, Any]) -> None:
        if positions:
            with _told(self.stage):
                self._source.reset(positions)


class _InSink:
    """Positions that a transactional sink keeps beside its rows; a run reads nothing that is before them.

    The source's own record follows the sink's, and is moved with it: a consumer group starts from whichever is further.
    """

    def __init__(self, own: Keeper, source: Source, sink: Stage, component: Any) -> None:
        self.stage = own.stage
        self._own = own
        self._source = source
        self._sink = sink.name
        self._component: TransactionalSink = component
        self._prefix = f"{self.stage}/"

    def before(self) -> Mapping[str, Any]:
        with _told(self._sink):
            kept = self._component.positions()
        own = {name.removeprefix(self._prefix): at for name, at in kept.items() if name.startswith(self._prefix)}
        return {**self._own.before(), **own}

    def at(self, where: str | datetime, before: Mapping[str, Any]) -> Mapping[str, Any]:
        return _ask_source(self.stage, self._source, where)

    def move(self, positions: Mapping[str, Any]) -> None:
        if positions:
            self._own.move(positions)
            with _told(self._sink):
                moved = {f"{self._prefix}{name}": value for name, value in positions.items()}
                self._component.write(Batch.from_rows([]), moved)
