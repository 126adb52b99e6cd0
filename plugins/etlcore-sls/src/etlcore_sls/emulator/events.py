"""The event log: what happened at the server, in order, for tests to read and to wait for."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import takewhile
from typing import Any

from etlcore_sls.emulator.clock import Clock

Event = dict[str, Any]
"""``number`` (from 1, never reused), ``time`` (server time, seconds), ``kind``, and what belongs to the kind."""


def matches(event: Event, kind: str | None, fields: dict[str, Any]) -> bool:
    """Whether an event is of a kind and has these values in these fields."""
    if kind is not None and event["kind"] != kind:
        return False
    return all(name in event and event[name] == value for name, value in fields.items())


class EventLog:
    """An ordered, bounded list of events. Safe from every thread."""

    def __init__(self, clock: Clock, limit: int) -> None:
        self._clock = clock
        self._events: deque[Event] = deque(maxlen=limit)
        self._last = 0
        self._closed = False
        self._changed = threading.Condition()

    def add(self, kind: str, **fields: Any) -> None:
        """Append one event and wake whoever waits."""
        with self._changed:
            self._last += 1
            self._events.append({"number": self._last, "time": self._clock.now(), "kind": kind, **fields})
            self._changed.notify_all()

    @property
    def last(self) -> int:
        """The number of the newest event; 0 when there was none."""
        with self._changed:
            return self._last

    def wait(self, predicate: Callable[[Event], bool], count: int, after: int, timeout: float) -> list[Event]:
        """The events newer than number ``after`` that fulfil a predicate, after waiting for ``count`` of them.

        Fewer when there are not so many within ``timeout`` seconds. Each event is looked at once, however long it
        takes: waiting must not slow down what it waits for.
        """
        found: list[Event] = []
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                found += filter(predicate, self._newer(after))
                after = max(after, self._last)
                left = deadline - time.monotonic()
                if self._closed or len(found) >= count or left <= 0:
                    return found
                self._changed.wait(left)

    def close(self) -> None:
        """Let everyone who waits go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _newer(self, after: int) -> list[Event]:
        newest_first = takewhile(lambda event: event["number"] > after, reversed(self._events))
        return list(newest_first)[::-1]
