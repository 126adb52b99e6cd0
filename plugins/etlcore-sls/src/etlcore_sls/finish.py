"""When a bounded run is over: every shard of the logstore has been read to its end, by whoever of the group held it.

A consumer whose own shards are done waits for the others, ready to take over what a crashed one leaves behind. Two
consumers that started at different moments know different ends, and each could wait for the other to read a little
further; so when nothing moves any more, a waiting consumer reads on in what it holds. And when a shard is neither read
on nor given to us for longer than the group keeps the shards of the dead, then its holder is alive, and the shard is
left to it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from etlcore_sls.config import SlsConfig
from etlcore_sls.errors import SlsError
from etlcore_sls.holdings import Holdings, Shard
from etlcore_sls.until import Until, at_or_after

if TYPE_CHECKING:
    from etlcore_sls.clients import Clients

_LOOK_SECONDS = 1.0
_STILL_SECONDS = 3.0  # nothing moves for so long: read on


class Finish:
    """Used by the worker alone."""

    def __init__(
        self,
        config: SlsConfig,
        clients: Clients,
        holdings: Holdings,
        until: Until,
        patience: float,
        fix_ends: Callable[[], None],
        log: logging.Logger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``patience``: for how many seconds a shard may stand still; ``fix_ends`` tells ``until`` its ends."""
        self._config = config
        self._clients = clients
        self._holdings = holdings
        self._until = until
        self._patience = patience
        self._fix_ends = fix_ends
        self._log = log
        self._clock = clock
        self._next_look = 0.0
        self._held: list[int] = []
        self._covered: set[int] = set()
        self._starts: dict[int, str] = {}
        self._seen: object = None
        self._still_since = clock()
        self._told: list[int] = []

    def over(self) -> bool:
        """Whether the source has nothing more to do. Costs a request a second at most, and only while it waits."""
        if not self._until.bounded:
            return False
        ends = self._known_ends()
        if ends is None:
            return False
        held = {shard.id: shard for shard in self._holdings.shards()}
        missing = [n for n in ends if n not in self._covered and not _is_read(held.get(n), ends[n])]
        if not missing:
            return True
        if any(number in held for number in missing):
            return False
        if sorted(held) != self._held:
            self._held, self._next_look = sorted(held), 0.0  # a shard that left us may have left read
        if self._clock() < self._next_look:
            return False
        self._next_look = self._clock() + _LOOK_SECONDS
        try:
            return self._others_are_done(missing, ends, held)
        except SlsError as error:
            self._log.warning("cannot see how far the other consumers are: %s", error)
            return False

    def _known_ends(self) -> Mapping[int, str] | None:
        if self._until.ends is None and self._until.can_be_fixed() and self._clock() >= self._next_look:
            try:
                self._fix_ends()
            except SlsError as error:
                self._log.warning("cannot see where to end yet: %s", error)
                self._next_look = self._clock() + _LOOK_SECONDS
        return self._until.ends

    def _others_are_done(self, missing: list[int], ends: Mapping[int, str], held: Mapping[int, Shard]) -> bool:
        checkpoints = self._clients.one(lambda client: client.checkpoints())
        for number in missing:
            if at_or_after(checkpoints.get(number) or self._start_of(number), ends[number]):
                self._covered.add(number)
        missing = [number for number in missing if number not in self._covered]
        if not missing:
            return True
        still = self._still_for((sorted(held), [checkpoints.get(number) for number in missing]))
        if any(not shard.settled for shard in held.values()):
            return False  # what is under way here may be what holds the others up
        if still >= _LOOK_SECONDS and missing != self._told:
            self._told = missing
            self._log.info("read to the end; waiting for %s, held by other consumers of the group", _names(missing))
        if still >= self._patience:
            self._log.warning("%s: left to the consumers that hold them", _names(missing))
            return True
        if still >= _STILL_SECONDS and self._until.at == "end" and self._until.go_on():
            self._holdings.go_on()
        return False

    def _start_of(self, number: int) -> str | None:
        """Where a consumer would start in a shard without a checkpoint: if that is its end, it is empty for us.

        Not asked at the first look: the shard may be given to us yet, and then its place is committed.
        """
        if self._config.start == "end" or self._seen is None:
            return None
        if number not in self._starts:
            start = self._config.start
            self._starts[number] = self._clients.one(lambda client: client.cursor(number, start))
        return self._starts[number]

    def _still_for(self, seen: object) -> float:
        """For how many seconds nothing has changed in what is seen."""
        if seen != self._seen:
            self._seen, self._still_since = seen, self._clock()
        return self._clock() - self._still_since


def _is_read(shard: Shard | None, end: str) -> bool:
    return shard is not None and at_or_after(shard.handed or shard.checkpoint, end)


def _names(numbers: list[int]) -> str:
    return ("shard " if len(numbers) == 1 else "shards ") + ", ".join(map(str, numbers))
