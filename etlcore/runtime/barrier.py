"""The drain barrier of a stage, and the sequencer that keeps batches in order across its workers."""

from __future__ import annotations

from etlcore.runtime.channel import Abandoned
from etlcore.runtime.concurrency import THREADS, Primitives


class DrainBarrier:
    """The point that all workers of a stage reach after their input is closed and empty.

    Nobody passes before everybody has arrived, so a flush sees all of the stage's input; and the stage's output is
    closed only by workers that have passed and flushed.
    """

    def __init__(self, parties: int, primitives: Primitives = THREADS) -> None:
        self._changed = primitives.condition()
        self._missing = parties
        self._abandoned = False

    def arrive(self) -> bool:
        """This worker has nothing left to take; True for the one that arrives last."""
        with self._changed:
            self._missing -= 1
            if self._missing < 0:
                raise RuntimeError("more workers arrived at the drain barrier than the stage has")
            if self._missing == 0:
                self._changed.notify_all()
            return self._missing == 0

    def wait(self) -> None:
        """Block until every worker has arrived. Raises Abandoned."""
        with self._changed:
            while self._missing and not self._abandoned:
                self._changed.wait()
            if self._abandoned:
                raise Abandoned

    def abandon(self) -> None:
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()


class Sequencer:
    """Lets the workers of an ``ordered`` stage hand over in the order in which they took."""

    def __init__(self, primitives: Primitives = THREADS) -> None:
        self._changed = primitives.condition()
        self._next = 0
        self._done: set[int] = set()
        self._abandoned = False

    def wait_turn(self, number: int) -> None:
        """Block until everything taken before ``number`` is handed over. Raises Abandoned."""
        with self._changed:
            while self._next != number and not self._abandoned:
                self._changed.wait()
            if self._abandoned:
                raise Abandoned

    def done(self, number: int) -> None:
        """``number`` is handed over, or will never be; also out of turn."""
        with self._changed:
            self._done.add(number)
            while self._next in self._done:
                self._done.remove(self._next)
                self._next += 1
            self._changed.notify_all()

    def abandon(self) -> None:
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()
