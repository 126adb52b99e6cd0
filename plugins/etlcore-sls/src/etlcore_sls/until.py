"""Where a bounded run ends: a cursor in each shard, fixed once, that is read up to and not beyond."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal
from weakref import WeakKeyDictionary

from etlcore_sls.holdings import Shard
from etlcore_sls.service_clock import ServiceClock
from etlcore_sls.wire.cursor import decode_cursor

_MARGIN_SECONDS = 1.0  # around a moment to come: the service counts receipts in whole seconds
_PAUSE_SECONDS = 0.2


def at_or_after(cursor: str | None, end: str) -> bool:
    """Whether a cursor has come to ``end``. Cursors are numbers in disguise; unknown ones can only be equal."""
    if cursor is None or cursor == end:
        return cursor == end
    try:
        return decode_cursor(cursor) >= decode_cursor(end)
    except ValueError:
        return False


class _Ends:
    """What one stage of one run knows."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.known: dict[int, str] | None = None


_stages: WeakKeyDictionary[Any, dict[str, _Ends]] = WeakKeyDictionary()
_stages_lock = threading.Lock()


def shared_ends(run: Any, stage: str, ask: Callable[[], Iterable[tuple[int, str]]]) -> Mapping[int, str]:
    """The ends that the workers of a stage share: the first to come asks for them.

    ``run`` is any object that all workers of a run have in common. If each knew ends of its own, one would wait for
    what another, which knows an earlier end, has left already.
    """
    with _stages_lock:
        ends = _stages.setdefault(run, {}).setdefault(stage, _Ends())
    with ends.lock:
        if ends.known is None:
            ends.known = dict(ask())
        return ends.known


class Until:
    """The option ``until`` at work. Written by the worker, read by the fetchers."""

    def __init__(self, until: Literal["never", "end"] | int, clock: ServiceClock | None = None) -> None:
        """``clock`` is the service's: the moments are times of receipt."""
        self._until = until
        self._clock = clock or ServiceClock()
        self._ends: dict[int, str] | None = None
        self._going_on = False

    @property
    def bounded(self) -> bool:
        return self._until != "never"

    @property
    def at(self) -> Literal["end"] | int:
        """What to ask the service for, in each shard."""
        assert self._until != "never"
        return self._until

    @property
    def ends(self) -> Mapping[int, str] | None:
        """The end of each shard of the logstore; None until they are known."""
        return self._ends

    def can_be_fixed(self) -> bool:
        """The moment has come (and the service's second is over), so the ends will not move any more."""
        if not self.bounded:
            return False
        return self._until == "end" or self._clock.earliest() >= float(self._until) + _MARGIN_SECONDS

    def fix(self, ends: Mapping[int, str]) -> None:
        """These are the ends, a cursor for each shard."""
        self._ends = dict(ends)

    def drop(self, shard: int) -> None:
        """The shard no longer exists: nothing in it is left to be read."""
        if self._ends is not None:
            self._ends = {number: end for number, end in self._ends.items() if number != shard}

    def go_on(self) -> bool:
        """Read beyond the ends; False when that was so already."""
        changed, self._going_on = not self._going_on, True
        return changed

    def end(self, shard: Shard) -> str | None:
        """Where a pull must end in a shard; None where there is no bound."""
        if self._ends is None or (self._going_on and self._at_end(shard)):
            return None
        return self._ends.get(shard.id)

    def beyond(self, shard: Shard) -> bool:
        """The shard did not exist when the ends were fixed: all of it is beyond them."""
        return self._ends is not None and not self._going_on and shard.id not in self._ends

    def reached(self, shard: Shard) -> bool:
        """Nothing more is to be fetched from a shard."""
        return not self._going_on and (self._at_end(shard) or self.beyond(shard))

    def pause(self) -> float:
        """Seconds to wait before the next pull: none may straddle a moment whose cursors are not known yet."""
        if self._ends is not None or not isinstance(self._until, int):
            return 0.0
        return _PAUSE_SECONDS if self._clock.latest() >= self._until - _MARGIN_SECONDS else 0.0

    def _at_end(self, shard: Shard) -> bool:
        end = self._ends.get(shard.id) if self._ends is not None else None
        return end is not None and at_or_after(shard.cursor, end)
