"""Locks, conditions, workers and the clock that the runtime is built on, behind one small interface.

Nothing else in `etlcore.runtime` names `threading` or `time`: the graph, the channels, the receipts and the drain
work on `Primitives`. `THREADS` runs every worker in a thread of its own; a test hands in a scheduler that decides at
every lock and wait who goes on, and so forces interleavings that threads show once in a thousand runs.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Protocol


class Lock(Protocol):
    """A mutual exclusion lock, used with ``with``."""

    def __enter__(self) -> object: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class Condition(Lock, Protocol):
    """A condition variable over a lock; ``wait`` may wake without a reason, so callers loop."""

    def wait(self, timeout: float | None = None) -> bool: ...
    def notify_all(self) -> None: ...


class Flag(Protocol):
    """An event: set once, seen by all."""

    def is_set(self) -> bool: ...
    def set(self) -> None: ...
    def wait(self, timeout: float | None = None) -> bool: ...


class Worker(Protocol):
    """Something that runs beside us: a thread here."""

    def alive(self) -> bool: ...
    def join(self, timeout: float | None = None) -> None: ...
    def stack(self) -> list[str]:
        """Where it is now, as lines of text, outermost call first; empty when it has ended."""
        ...


class Primitives(Protocol):
    """What the runtime needs of the world to run things side by side."""

    def lock(self) -> Lock: ...
    def condition(self, lock: Lock | None = None) -> Condition: ...
    def flag(self) -> Flag: ...
    def start(self, name: str, target: Callable[[], None]) -> Worker: ...
    def now(self) -> float:
        """Seconds on a clock that never goes backwards."""
        ...


class _ThreadWorker:
    def __init__(self, name: str, target: Callable[[], None]) -> None:
        # A daemon, so that a worker stuck in foreign code cannot keep the process from ending at the deadline.
        self._thread = threading.Thread(target=target, name=name, daemon=True)
        self._thread.start()

    def alive(self) -> bool:
        return self._thread.is_alive()

    def join(self, timeout: float | None = None) -> None:
        self._thread.join(timeout)

    def stack(self) -> list[str]:
        frame = sys._current_frames().get(self._thread.ident or -1)
        if frame is None:
            return []
        return [line.rstrip("\n") for line in traceback.format_stack(frame)]


class Threads:
    """Primitives made of operating-system threads."""

    def lock(self) -> Lock:
        return threading.Lock()

    def condition(self, lock: Lock | None = None) -> Condition:
        return threading.Condition(lock)  # type: ignore[arg-type]  # a Lock that `lock()` made

    def flag(self) -> Flag:
        return threading.Event()

    def start(self, name: str, target: Callable[[], None]) -> Worker:
        return _ThreadWorker(name, target)

    def now(self) -> float:
        return time.monotonic()


THREADS: Primitives = Threads()
