"""A checked pipeline: what the reader of a file makes and the runtime runs. Plain data, nothing of YAML left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pydantic import BaseModel

    from etlcore.batch import Row
    from etlcore.components import Sink, Source, Transform

Kind = Literal["source", "transform", "sink"]

DEFAULT_QUEUE_ROWS = 20_000
DEFAULT_QUEUE_BYTES = 64 * 1024 * 1024
DEFAULT_SHUTDOWN_TIMEOUT = 30.0
DEFAULT_COMMIT_INTERVAL = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a pipeline file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Input:
    """One edge into a stage: from the main output of a stage, or from one that it names."""

    stage: str
    output: str | None = None

    def __str__(self) -> str:
        return self.stage if self.output is None else f"{self.stage}.{self.output}"


@dataclass(frozen=True, slots=True)
class Queue:
    """The bounds of a stage's input channel; a batch waits outside until it fits both."""

    rows: int = DEFAULT_QUEUE_ROWS
    bytes: int = DEFAULT_QUEUE_BYTES


@dataclass(frozen=True, slots=True)
class Take:
    """How much a worker takes from its channel at once (``batch:`` in the file).

    Without ``rows`` and ``bytes`` a worker takes batches as they come. With them, waiting batches are joined and
    split to fit; ``seconds`` is how long a worker waits for a batch to fill up.
    """

    rows: int | None = None
    bytes: int | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class OnError:
    """What becomes of rows whose stage raises an exception; see `etlcore.runtime.attempts`."""

    then: Literal["stop", "drop", "dead_letter"] = "stop"
    """When the retries are used up: stop the run, or find the bad rows and drop them or put them on disk."""
    retries: int = 0
    wait: float = 0.5
    """Seconds before the first retry; twice as long before each further one."""
    longest_wait: float = 30.0
    breaker: int | None = None
    """After so many failures in a row the stage pauses until an attempt succeeds; None: never."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A named place in the graph."""

    name: str
    kind: Kind
    component: str
    cls: type[Source] | type[Transform] | type[Sink]
    config: BaseModel | None
    inputs: tuple[Input, ...] = ()
    workers: int = 1
    queue: Queue = field(default_factory=Queue)
    take: Take = field(default_factory=Take)
    ordered: bool = False
    """Batches leave in the order in which they came, whichever worker took them."""
    key: str | None = None
    """Rows with the same value in this column go to the same worker, in order."""
    on_error: OnError = field(default_factory=lambda: OnError())
    place: Place | None = None
    given: frozenset[str] = frozenset()
    """The keys that the file has for the stage; and those of ``defaults`` that hold for it, as ``defaults.KEY``."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The named outputs, beside the main one."""
        return outputs_of(self.cls, self.config)


def outputs_of(cls: type[Any], config: BaseModel | None) -> tuple[str, ...]:
    """The named outputs of a component with these options; sources and sinks have none."""
    named = getattr(cls, "outputs_of", None)
    return () if named is None else tuple(named(config))


def names_outputs(cls: type[Any]) -> bool:
    """Whether the options of a component name its outputs."""
    from etlcore.components import Transform

    return issubclass(cls, Transform) and cls.outputs_of.__func__ is not Transform.outputs_of.__func__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A dead letter that a test expects."""

    reason: str
    """Contained in the letter's own."""
    row: Mapping[str, Any] | None = None
    """None: whichever."""


@dataclass(frozen=True, slots=True)
class Case:
    """One of the ``tests:`` of a pipeline file: what is given to some stages, and what must come out of others."""

    name: str
    given: Mapping[str, Sequence[Row]]
    """For a source what it reads; for another stage what comes to it, instead of what the stages above would send."""
    expect: Mapping[Input, Sequence[Row]]
    """For a sink what comes to it; for another stage what it puts out there."""
    dead: Mapping[str, Sequence[Refusal]] = field(default_factory=dict)
    """By stage. What is not here must not be: a stage refuses no other rows, nor does another stage any."""
    in_order: bool = False
    further_columns: bool = False
    """Rows may have further columns beside those of the expected ones."""
    environ: Mapping[str, str] = field(default_factory=dict)
    pipeline: Pipeline | None = None
    """The pipeline as ``environ`` makes it; None where there is none, and it is the one that the test belongs to."""
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A whole pipeline: stages in the order of the file."""

    name: str
    stages: tuple[Stage, ...]
    directory: Path
    file: Path | None = None
    version: str | None = None
    """The SHA-256 of the file's bytes, in hexadecimal."""
    shutdown_timeout: float = DEFAULT_SHUTDOWN_TIMEOUT
    commit_interval: float = DEFAULT_COMMIT_INTERVAL
    tests: tuple[Case, ...] = ()
    """Where they were asked for; a run has no use for them."""
