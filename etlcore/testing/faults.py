"""Faults that are put around a component's calls: exceptions, kills, stops and pauses at a chosen call.

`wrapped` makes a subclass of the component whose methods tell a `Watch`, so that the runtime runs the real component;
the watch keeps what was called, and does what its faults say.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from etlcore.batch import Batch
from etlcore.components import Source

Moment = Literal["before", "inside", "after"]

COMMIT_OF_ROWS = "commit of rows"
"""A fault's method: a commit with rows before its positions; the first ones may be of data that holds none."""

_GUESS = 50  # calls of functions within a call, where none was counted


class InjectedFault(Exception):
    """Raised by the kit in the place of a component."""

    def __init__(self, what: str = "a fault that the contract's checks put here") -> None:
        super().__init__(what)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens at one call of a method, over all workers of the stage."""

    method: str
    number: int
    """Which call, from 1."""
    moment: Moment
    do: Callable[[], None]
    part: float = 0.0
    """With ``inside``: how far into the call, from 0 to 1, by the calls of functions that the one before it made."""


def kill() -> None:
    """End this process as kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)


def raise_fault() -> None:
    raise InjectedFault


@dataclass(frozen=True, slots=True)
class Call:
    """One call that returned."""

    method: str
    number: int
    worker: int
    batch: Batch | None
    result: Any = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a source's `read`."""

    worker: int
    batch: Batch | None
    seconds: float


@dataclass
class Watch:
    """Sees every call of a component under test."""

    faults: tuple[Fault, ...] = ()
    journal: Path | None = None
    """A file that gets a line of JSON for each call that returned; for a process that is killed."""
    describe: Callable[[Any], Any] = lambda result: None
    """What the journal says of a call: made of its batch, or of the positions of a commit."""
    calls: list[Call] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    _given: dict[str, dict[str, bool]] = field(default_factory=dict)
    """For each partition the positions that were yielded: whether rows stand before them."""
    _events: int = _GUESS
    """Calls and returns of functions within the last call that was counted."""
    _counts: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def returned(self, method: str) -> list[Call]:
        """The calls of a method that returned, in order."""
        return [call for call in self.calls if call.method == method]

    def attempts(self, method: str) -> int:
        """How often a method was called."""
        return self._counts.get(method, 0)

    def around(self, component: Any, method: str, subject: Any, call: Callable[[], Any]) -> Any:
        """Make a call of a component, with the faults that are due."""
        number = self.begin(method)
        self.meet(method, number, "before")
        rows = method == "commit" and self._rows_before(subject)
        if any((fault.method, fault.moment) == (method, "inside") for fault in self.faults):
            result = self._counted(self._due(method, number, "inside"), call)
        else:
            result = call()
        batch = subject if isinstance(subject, Batch) else None
        made = Call(method, number, component.context.worker, batch, result)
        with self._lock:
            self.calls.append(made)
        if self.journal is not None:
            self._note({"method": method, "number": number, "what": self.describe(subject)})
        self.meet(method, number, "after")
        if rows:
            self.meet(COMMIT_OF_ROWS, self.begin(COMMIT_OF_ROWS), "after")
        return result

    def step(self, step: Step) -> None:
        """A source has yielded."""
        with self._lock:
            self.steps.append(step)
            for mark in [] if step.batch is None else _marks(step.batch):
                known = self._given.setdefault(mark["partition"], {})
                known[json.dumps(mark["value"], default=str)] = bool(mark["rows"]) or any(known.values())
        if self.journal is not None and step.batch is not None:
            self._note({"method": "read", "marks": _marks(step.batch)})

    def _rows_before(self, positions: Any) -> bool:
        """Whether rows stand before positions that are committed."""
        with self._lock:
            return any(
                self._given.get(partition, {}).get(json.dumps(value, default=str), False)
                for partition, value in positions.items()
            )

    def begin(self, method: str) -> int:
        """The number of the call that begins."""
        with self._lock:
            number = self._counts[method] = self._counts.get(method, 0) + 1
            return number

    def meet(self, method: str, number: int, moment: Moment) -> None:
        fault = self._due(method, number, moment)
        if fault is not None:
            fault.do()

    def _due(self, method: str, number: int, moment: Moment) -> Fault | None:
        for fault in self.faults:
            if (fault.method, fault.number, fault.moment) == (method, number, moment):
                return fault
        return None

    def _counted(self, fault: Fault | None, call: Callable[[], Any]) -> Any:
        """Make a call, with a fault at some moment within it; at its end, where it was shorter than the one before."""
        count, at = 0, -1 if fault is None else 1 + int(fault.part * self._events)

        def profile(frame: Any, event: str, arg: Any) -> None:
            nonlocal count
            count += 1
            if fault is not None and count == at:
                fault.do()

        former = sys.getprofile()
        sys.setprofile(profile)
        try:
            result = call()
        finally:
            sys.setprofile(former)
        self._events = count
        if fault is not None and count < at:
            fault.do()
        return result

    def _note(self, entry: Mapping[str, Any]) -> None:
        assert self.journal is not None
        line = json.dumps(entry, default=str).encode() + b"\n"
        descriptor = os.open(self.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)


def _marks(batch: Batch) -> list[dict[str, Any]]:
    """The positions of a batch, each with the rows up to it."""
    found, before = [], 0
    for end, position in batch.marks:
        found.append({"partition": position.partition, "value": position.value, "rows": batch.rows[before:end]})
        before = end
    return found


def wrapped(cls: type[Any], watch: Watch) -> type[Any]:
    """A subclass of a component's class that tells a watch of every call."""
    body: dict[str, Any] = {
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
        "open": _method(cls, "open", watch),
        "close": _method(cls, "close", watch),
    }
    if issubclass(cls, Source):
        body["read"] = _reading(cls, watch)
        if cls.commit is not Source.commit:  # else the runtime keeps the positions, and looks whether it is overridden
            body["commit"] = _method(cls, "commit", watch)
    for method in ("write", "process", "flush"):
        if hasattr(cls, method):
            body[method] = _method(cls, method, watch)
    return type(cls.__name__, (cls,), body)


def _method(cls: type[Any], name: str, watch: Watch) -> Callable[..., Any]:
    original = getattr(cls, name)

    def method(self: Any, *given: Any) -> Any:
        def call() -> Any:
            result = original(self, *given)
            # What is made lazily is made here, so that the call is over when it seems so.
            return list(result) if isinstance(result, Iterator) else result

        return watch.around(self, name, given[0] if given else None, call)

    method.__name__ = name
    return method


def _reading(cls: type[Any], watch: Watch) -> Callable[[Any], Iterator[Batch | None]]:
    original: Callable[[Any], Iterable[Batch | None]] = cls.read

    def read(self: Any) -> Iterator[Batch | None]:
        reading = iter(original(self))
        try:
            while True:
                number = watch.begin("read")
                watch.meet("read", number, "before")
                began = time.monotonic()
                try:
                    batch = next(reading)
                except StopIteration:
                    return
                watch.step(Step(self.context.worker, batch, time.monotonic() - began))
                watch.meet("read", number, "after")
                yield batch
        finally:
            close = getattr(reading, "close", None)
            if close is not None:
                close()

    return read
