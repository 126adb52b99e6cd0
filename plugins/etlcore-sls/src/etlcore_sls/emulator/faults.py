"""Faults: what goes wrong, where, and how often. Tests order them; requests run into them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from etlcore_sls.emulator.errors import ApiError, parameter_invalid

ERROR, HANG, DELAY, SLOW, CUT = ACTIONS = ("error", "hang", "delay", "slow", "cut")
BEFORE, AFTER = POINTS = ("before", "after")
PLACES = ("project", "logstore", "shard", "group", "consumer")


class ConnectionCut(Exception):
    """The connection is to be closed without an answer."""


@dataclass(slots=True)
class Fault:
    """One kind of trouble.

    ``action``: ``error`` answers ``status``/``code``; ``hang`` waits until the fault is released; ``delay`` waits
    ``seconds``; ``slow`` sends the response at ``bytes_per_second``; ``cut`` closes the connection, after
    ``response_bytes`` of the response if given. ``point`` says whether the operation takes effect first (``after``)
    or not (``before``). ``operation`` and ``where`` (project, logstore, shard, group, consumer) say which requests
    are hit, of these the first ``skip`` are spared, and after ``count`` hits the fault is over (None: never).
    """

    action: str
    operation: str | None = None
    where: dict[str, Any] = field(default_factory=dict)
    count: int | None = None
    skip: int = 0
    point: str = BEFORE
    status: int = 500
    code: str = "InternalServerError"
    message: str = "a fault was ordered"
    seconds: float = 0.0
    bytes_per_second: int = 0
    response_bytes: int | None = None
    number: int = 0
    hits: int = 0

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise parameter_invalid(f"fault action {self.action!r} must be one of {', '.join(ACTIONS)}")
        if self.point not in POINTS:
            raise parameter_invalid(f"fault point {self.point!r} must be one of {', '.join(POINTS)}")
        unknown = sorted(set(self.where) - set(PLACES))
        if unknown:
            raise parameter_invalid(f"fault place {unknown[0]!r} must be one of {', '.join(PLACES)}")
        if self.action == SLOW and self.bytes_per_second <= 0:
            raise parameter_invalid("a slow fault needs bytes_per_second above 0")

    def wants(self, operation: str, facts: Mapping[str, Any]) -> bool:
        """Whether a request is one that this fault is for."""
        if self.operation not in (None, operation):
            return False
        return all(str(facts.get(place)) == str(value) for place, value in self.where.items())

    @property
    def over(self) -> bool:
        return self.count is not None and self.hits >= self.count


class FaultPlan:
    """The faults that are ordered. Safe from every thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: dict[int, Fault] = {}
        self._released: dict[int, threading.Event] = {}
        self._last = 0
        self._closed = False

    def add(self, fault: Fault) -> int:
        """Order a fault; returns its number."""
        with self._lock:
            self._last += 1
            fault.number = self._last
            self._faults[fault.number] = fault
            self._released[fault.number] = threading.Event()
            return fault.number

    def remove(self, number: int | None = None) -> None:
        """Take back one fault, or all; requests that hang in it go on."""
        with self._lock:
            for gone in list(self._faults) if number is None else [number]:
                self._faults.pop(gone, None)
                event = self._released.pop(gone, None)
                if event is not None:
                    event.set()

    def describe(self) -> list[dict[str, Any]]:
        """The faults as they stand, with their hits."""
        with self._lock:
            return [asdict(fault) for fault in self._faults.values()]

    def take(self, operation: str, facts: Mapping[str, Any]) -> list[Fault]:
        """The faults that a request runs into, in the order in which they were ordered; each counts a hit."""
        if not self._faults:
            return []
        with self._lock:
            hit = []
            for fault in self._faults.values():
                if fault.over or not fault.wants(operation, facts):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.hits += 1
                hit.append(fault)
            return hit

    def perform(self, fault: Fault) -> None:
        """Let one fault happen to the request of this thread.

        Raises ApiError or ConnectionCut. ``slow`` and a ``cut`` within the response are the sender's business.
        """
        if fault.action == ERROR:
            raise ApiError(fault.status, fault.code, fault.message)
        if fault.action == CUT and fault.response_bytes is None:
            raise ConnectionCut
        if fault.action in (HANG, DELAY):
            with self._lock:
                event = self._released.get(fault.number)
            if event is not None and not self._closed:
                event.wait(None if fault.action == HANG else fault.seconds)
            if self._closed:
                raise ConnectionCut

    def close(self) -> None:
        """Release everything, for good."""
        self._closed = True
        self.remove()
