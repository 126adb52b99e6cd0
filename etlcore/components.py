"""What a plugin author subclasses: Source, Transform, RowTransform and Sink; and what they are given: the Context.

The runtime makes one instance of a component for each worker of its stage and calls all of its methods on that
worker's own thread, never two at once; so a component needs no locks for its own state.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from etlcore.batch import Batch, Row

if TYPE_CHECKING:
    from pydantic import BaseModel


class Reject(Exception):
    """Raise in `RowTransform.map` to send the row to the dead letters, with a reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RetryAfter(Exception):
    """Raise in `Transform.process` or `Sink.write` when the other side asks to slow down.

    The batch is tried again after ``seconds``. This is no failure: it uses up no retries.
    """

    def __init__(self, seconds: float, reason: str = "") -> None:
        super().__init__(reason or f"asked to wait {seconds:g} s")
        self.seconds = seconds


class RowsFailed(Exception):
    """Raise in `Sink.write` to say which rows failed, ``{index in the batch: reason}``: all others are durable.

    The stage's ``on_error`` is applied to the failed rows alone. ``final`` says that they would fail again, for what
    they are: they are not tried again, and do not count as a sign that the sink is down.
    """

    def __init__(self, reasons: Mapping[int, str], *, final: bool = False) -> None:
        first = next(iter(reasons.values()), "")
        super().__init__(f"{len(reasons)} rows failed, the first with: {first}")
        self.reasons = {index: str(reason) for index, reason in reasons.items()}
        self.final = final


class Stopping(Protocol):
    """Set once the run is told to stop; a `threading.Event` in the runtime."""

    def is_set(self) -> bool: ...
    def wait(self, timeout: float | None = None) -> bool: ...


class Metrics(Protocol):
    """Figures that the live view and the report show."""

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a figure: ``context.metrics.gauge("lag_seconds", 12.5, partition="shard 0")``."""

    def count(self, name: str, value: float = 1, **labels: str) -> None:
        """Add to a figure: ``context.metrics.count("retries")``."""


class Context(Protocol):
    """What a component knows of its surroundings: ``self.context``, from before `open` until after `close`."""

    pipeline: str
    """The pipeline's name."""
    stage: str
    """The stage's name."""
    worker: int
    """This worker's number, from 0."""
    workers: int
    """How many workers the stage has."""
    directory: Path
    """The directory of the pipeline file: what relative paths in options are relative to."""
    state_directory: Path
    """A directory that outlives the run. It may not exist yet: make it before writing to it."""
    log: logging.Logger
    """Messages for the operator; etlcore adds the stage to them."""
    metrics: Metrics
    stopping: Stopping
    """Set once the run is told to stop. Wait on it instead of sleeping."""
    positions: Mapping[str, Any]
    """A source's committed position for each partition, as the last run left it.

    Where a transactional sink is downstream, the sink's positions instead, as they are at the moment.
    """

    columns: frozenset[str] | None
    """For sources: the columns that the stages behind use, as a hint that others need not be read; None: all."""

    def reject(self, rows: Batch | Sequence[Row], reason: str | Sequence[str]) -> None:
        """Send rows to the dead letters; call it from `Source.read`, `Transform.process` or `flush` only.

        A source rejects what it cannot make a row of, before it yields a batch with a position behind it.
        ``reason`` is one text for all the rows, or one for each. The rows must be missing from what `process`
        returns. They are settled as dead-lettered once they are on disk.
        """

    def release(self, *batches: Batch) -> None:
        """For transforms with ``buffers = True``: nothing more will come from these input batches."""

    def forget(self, partition: str) -> None:
        """For sources: the partition is no longer ours; commit nothing more of what was read from it so far."""

    def claim(self, partition: str) -> bool:
        """For sources whose partitions come and go: may the partition, which was given to us, be read now?

        False while rows of it that were read before it was taken away are still on their way to a transactional
        sink: ask again later. When it is True, look into ``positions`` for where to start. Call it from
        `Source.read`, before the first row of the partition.
        """


class _Component:
    """What sources, transforms and sinks have in common."""

    Config: ClassVar[type[BaseModel] | None] = None
    """A pydantic model of the options; None when there are none."""
    example: ClassVar[str] = ""
    """A whole pipeline file that runs as it stands and shows the component at work; `etl plugins show` prints it."""

    config: Any
    """The checked options: an instance of ``Config``."""
    context: Context

    def open(self, context: Context) -> None:
        """Connect, open files; called once, before anything else. ``self.context`` is set already."""

    def probe(self) -> None:
        """Find out whether `open` would succeed, and change nothing: for `etl check --connect`.

        Called instead of `open`, with config and context; `close` follows. Raise what `open` would. A component that
        does not define it is opened: define it where `open` makes or joins something.
        """
        self.open(self.context)

    def close(self) -> None:
        """Let go of everything; called once, always, also after an exception (in `open` too)."""


class Source(_Component):
    """Reads batches from somewhere and commits how far they have been delivered."""

    replayable: ClassVar[bool] = True
    """After a restart the source can read again from a committed position."""

    def read(self) -> Iterator[Batch | None]:
        """Yield batches with positions; None when there is nothing yet (at least once a second).

        The runtime stops a source by closing this generator at a ``yield``; a return ends the stage as
        end-of-input. Reading starts behind ``self.context.positions``.
        """
        raise NotImplementedError(f"{type(self).__name__} is a Source: it must define read()")

    def commit(self, positions: Mapping[str, Any]) -> None:
        """Make positions durable: ``{partition: value}`` of what has been delivered, and nothing beyond.

        Called between two steps of `read` and after it, on the same thread. What a source does not override goes
        to etlcore's state store.
        """
        raise NotImplementedError  # replaced by the runtime where it is not overridden

    def position_at(self, where: str | datetime) -> Mapping[str, Any]:
        """``{partition: position}`` at ``"begin"``, ``"end"`` or a time (with a zone): for `etl state reset`.

        Optional, as are the next two. All three are called on a source that has its config and its context but is not
        open; `close` follows. Raise NotImplementedError with a text for what the source cannot tell.
        """
        raise NotImplementedError

    def committed(self) -> Mapping[str, Any]:
        """The positions that `commit` has made durable; for a source that defines `commit`."""
        raise NotImplementedError

    def reset(self, positions: Mapping[str, Any]) -> None:
        """Make these positions the committed ones, forward or back; for a source that defines `commit`.

        Raise when somebody reads there at the moment, with a text that says who and what to do.
        """
        raise NotImplementedError


class Transform(_Component):
    """Turns a batch into another, several, or none."""

    buffers: ClassVar[bool] = False
    """True when rows are kept beyond `process`: then each output names its inputs with `Batch.derived_from`, and
    `Context.release` says when nothing more will come from an input; all are released after `flush`."""
    deterministic: ClassVar[bool] = True
    """The same input gives the same output."""
    outputs: ClassVar[tuple[str, ...]] = ()
    """Names of further outputs (``from: stage.NAME``), beside the main one."""

    @classmethod
    def outputs_of(cls, config: Any) -> tuple[str, ...]:
        """The names of the further outputs with these checked options; ``outputs`` where it is not overridden.

        For a transform whose outputs are named in its options. Asked before anything runs.
        """
        return cls.outputs

    @classmethod
    def columns_needed(cls, config: Any, wanted: frozenset[str] | None) -> frozenset[str] | None:
        """The columns of its input that it needs to make the ``wanted`` ones of its output (None: all).

        None, which is what a transform says that does not override it, stands for all of them. Name fewer only where
        no row is ever rejected: a dead letter is the row as it was. A source may leave columns unread that no stage
        needs (`Context.columns`).
        """
        return None

    def process(self, batch: Batch) -> Batch | Iterable[Batch | tuple[str, Batch]] | None:
        """The batch's outcome. A row that is missing from it is *filtered*.

        With named outputs, ``(name, batch)`` sends a batch to the output ``name``; a plain batch goes to the main
        output. An exception settles nothing.
        """
        raise NotImplementedError(f"{type(self).__name__} is a Transform: it must define process()")

    def flush(self) -> Iterable[Batch | tuple[str, Batch]]:
        """What is still kept; called once, at the drain barrier."""
        return ()


class RowTransform(Transform):
    """A transform written row by row: define `map`."""

    def map(self, row: Row) -> Row | Iterable[Row] | None:
        """A row, several rows, or None to filter it. Raise `Reject` to send it to the dead letters."""
        raise NotImplementedError(f"{type(self).__name__} is a RowTransform: it must define map()")

    def process(self, batch: Batch) -> Batch | Iterable[Batch | tuple[str, Batch]] | None:
        out: list[Row] = []
        refused: list[Row] = []
        reasons: list[str] = []
        dropped = 0
        for row in batch.rows:
            try:
                made = self.map(row)
                if made is None:
                    dropped += 1
                elif isinstance(made, dict):
                    out.append(made)
                else:
                    several = list(made)
                    out.extend(several)
                    dropped += not several
            except Reject as reject:
                refused.append(row)
                reasons.append(reject.reason)
        if refused:
            self.context.reject(refused, reasons)
        self._dropped = dropped  # the ledger's: one row dropped and one doubled is two changes, not none
        return Batch.from_rows(out)


class Sink(_Component):
    """Writes batches somewhere durable."""

    idempotent: ClassVar[bool] = False
    """Writing the same rows twice leaves the same result."""
    transactional: ClassVar[bool] = False
    """Rows and positions can be written in one transaction."""

    @classmethod
    def columns_needed(cls, config: Any, wanted: frozenset[str] | None) -> frozenset[str] | None:
        """The columns that it writes; None, which is what a sink says that does not override it, stands for all."""
        return None

    def write(self, batch: Batch) -> None:
        """Write all rows; return only when they are durable. An exception means that none may count as written."""
        raise NotImplementedError(f"{type(self).__name__} is a Sink: it must define write()")


class TransactionalSink(Sink):
    """A sink that keeps the sources' positions beside the rows, in one transaction: every row counts exactly once.

    A stage of such a sink has one worker, and a source leads to one such sink at most.
    """

    transactional = True

    def positions(self) -> Mapping[str, Any]:
        """The positions of the last transaction, as `write` was given them; asked once, after `open`."""
        raise NotImplementedError(f"{type(self).__name__} is a TransactionalSink: it must define positions()")

    def write(self, batch: Batch, positions: Mapping[str, Any] | None = None) -> None:
        """Write all rows and ``positions`` (JSON-able values under texts) in one transaction, or nothing.

        Positions that are not named keep their values. The batch may have no rows. `RowsFailed` says which rows
        cannot be written, and that nothing was: the others come again without them.
        """
        raise NotImplementedError(f"{type(self).__name__} is a TransactionalSink: it must define write()")
