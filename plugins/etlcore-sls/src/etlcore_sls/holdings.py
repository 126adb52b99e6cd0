"""The shards that this consumer holds, and what has been read ahead of them: the state that the threads share.

    heartbeats   which shards are ours                    fetchers   pull what follows a shard's cursor
    worker       hands pages to the runtime and commits what was delivered

A shard's life: *assigned* by a heartbeat's answer; its pages are fetched, handed over and committed; *leaving* once an
answer omits it: no page is fetched or handed over any more, and when all that was handed over has been committed it is
*released*: the next heartbeat does not name it, and the service may give it to its next owner. A shard that was taken
from us is *evicted* at once, and nothing of it is committed.

All methods may be called from any thread. `Shard` objects belong to this module's lock; a shard that comes back after
it was released or evicted is a new object.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etlcore_sls.body import Piece

_PAGES_AHEAD = 4  # of one shard, so that no shard takes the whole room
_FIRST_PAGE_BYTES = 256 * 1024  # a guess, until a shard has answered


@dataclass(eq=False, slots=True)
class Page:
    """What one pull brought: log groups, and the positions behind each (or one behind all, for a query)."""

    pieces: Sequence[Piece]
    ends: Sequence[str]
    nbytes: int

    @property
    def end(self) -> str:
        return self.ends[-1]


@dataclass(eq=False, slots=True)
class Shard:
    """One shard while it is ours."""

    id: int
    partition: str
    claimed: bool = False
    """The runtime has said that it may be read; nothing is fetched before."""
    start: str | None = None
    """Where a transactional sink stands in it; None where there is no such sink, or it has nothing of it yet."""
    cursor: str | None = None
    """Where the next pull starts; None until the checkpoint has been looked up."""
    checkpoint: str | None = None
    """What the service has, as far as we know."""
    handed: str | None = None
    """The last position that the runtime was given."""
    pages: deque[Page] = field(default_factory=deque)
    page_bytes: int = _FIRST_PAGE_BYTES
    due: float = 0.0
    failures: int = 0
    busy: bool = False
    unread_since: float | None = None
    """When the service received the first log that has not been fetched; None at the shard's end."""
    lag_due: float = 0.0
    """When to ask for ``unread_since`` again."""
    full: bool = False
    """There was no room for more of it when it was given to a fetcher: only how far behind it is may be asked."""
    complete: bool = False
    """Nothing more will be fetched: it has been read to the end of a bounded run."""
    leaving: bool = False
    gone: bool = False

    @property
    def settled(self) -> bool:
        """All that was handed over has been committed."""
        return self.handed is None or self.handed == self.checkpoint


class Holdings:
    """See the module's description. ``clock`` gives seconds, monotonic."""

    def __init__(self, most_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most_bytes = most_bytes
        self._clock = clock
        self._lock = threading.RLock()
        self._work = threading.Condition(self._lock)  # a fetcher may find something to do
        self._news = threading.Condition(self._lock)  # the worker may
        self._shards: dict[int, Shard] = {}
        self._ready: deque[Shard] = deque()  # one entry for each page, in order of arrival
        self._bytes = 0
        self._version = 0
        self._evicted: list[Shard] = []
        self._failure: BaseException | None = None
        self._fetching = False
        self._suspended = False
        self._closed = False
        self.beat_now = threading.Event()
        """Set when the next heartbeat should not wait."""

    # --- heartbeats --------------------------------------------------------------------------------------------------

    def held(self) -> tuple[list[int], int]:
        """The shards to name in a heartbeat, and a version to hand to `assign` with the answer."""
        with self._lock:
            return sorted(self._shards), self._version

    def assign(self, answer: Iterable[int], version: int) -> tuple[list[int], list[int]] | None:
        """A heartbeat's answer: which shards are ours. Gives those gained and those that begin to leave.

        None when what we hold changed while the heartbeat was under way: its answer is about something else, and the
        next heartbeat should follow at once.
        """
        with self._lock:
            if version != self._version:
                return None
            assigned = set(answer)
            lost = [shard for shard in self._shards.values() if shard.id not in assigned and not shard.leaving]
            for shard in lost:
                shard.leaving = True
                self._drop_pages(shard)
                self._release_if_settled(shard)
            gained = sorted(assigned - set(self._shards)) if self._fetching else []
            for number in gained:
                self._shards[number] = Shard(number, f"shard {number}", due=self._clock())
            if gained:
                self._version += 1
                self._work.notify_all()
            self._news.notify_all()
            return gained, [shard.id for shard in lost]

    def evict(self, numbers: Iterable[int] | None = None) -> list[int]:
        """These shards (or all) are no longer ours; gives those that were. The worker learns of it by `evictions`."""
        with self._lock:
            chosen = list(self._shards) if numbers is None else [n for n in numbers if n in self._shards]
            for number in chosen:
                shard = self._shards.pop(number)
                shard.gone = True
                self._drop_pages(shard)
                self._evicted.append(shard)
            if chosen:
                self._version += 1
                self._news.notify_all()
            return chosen

    def suspend(self, yes: bool) -> None:
        """Fetch nothing for the time being, because the shards may no longer be ours; or go on."""
        with self._lock:
            if self._suspended != yes:
                self._suspended = yes
                self._work.notify_all()

    def fail(self, error: BaseException) -> None:
        """The source cannot go on; the worker raises this. The first one counts."""
        with self._lock:
            self._failure = self._failure or error
            self._news.notify_all()

    # --- fetchers ----------------------------------------------------------------------------------------------------

    def job(self) -> Shard | None:
        """Wait for a shard that should be asked for more, and mark it busy; None when fetching is over for good.

        Where there is no room for more (`Shard.full`), it is given out once `Shard.lag_due` has come.
        """
        with self._lock:
            while not self._closed:
                now = self._clock()
                shard, wait = self._most_due(now)
                if shard is not None:
                    shard.busy = True
                    return shard
                self._work.wait(wait)
            return None

    def _most_due(self, now: float) -> tuple[Shard | None, float | None]:
        """The shard that has waited longest for a fetch, or how long until there may be one (None: until told)."""
        if self._suspended or not self._fetching:
            return None, None
        wait: float | None = None
        best: Shard | None = None
        under_way = sum(shard.page_bytes for shard in self._shards.values() if shard.busy)
        for shard in self._shards.values():
            may_be_read = shard.claimed and not (shard.leaving or shard.complete)
            if shard.busy or not may_be_read:
                continue
            shard.full = not self._has_room(shard, under_way)
            due = shard.due
            if shard.full:
                if shard.cursor is None:
                    continue
                due = max(due, shard.lag_due)
            if due > now:
                wait = due - now if wait is None else min(wait, due - now)
            elif best is None or (shard.full, shard.due) < (best.full, best.due):
                best = shard
        return best, wait

    def _has_room(self, shard: Shard, under_way: int) -> bool:
        if len(shard.pages) >= _PAGES_AHEAD:
            return False
        return self._bytes + under_way + shard.page_bytes <= self._most_bytes or not (self._bytes or under_way)

    def put(self, shard: Shard, page: Page | None, cursor: str, wait: float = 0.0) -> None:
        """What a fetcher brought: a page if there was anything, where to go on, and after how many seconds."""
        with self._lock:
            shard.busy = False
            shard.failures = 0
            if not self._wanted(shard):
                return
            shard.cursor, shard.due = cursor, self._clock() + wait
            if page is not None:
                self._add(shard, page)
                self._news.notify_all()
            self._work.notify_all()

    def complete(self, shard: Shard) -> None:
        """The shard has been read to where a bounded run ends."""
        with self._lock:
            shard.busy = False
            shard.complete = True
            self._news.notify_all()

    def postpone(self, shard: Shard, seconds: float) -> None:
        """A fetch failed, or has to wait: ask again in so many seconds."""
        with self._lock:
            shard.busy = False
            shard.due = self._clock() + seconds
            self._work.notify_all()

    def looked(self, shard: Shard, again: float) -> None:
        """Its lag was asked for; ``again`` in so many seconds."""
        with self._lock:
            shard.busy = False
            shard.lag_due = self._clock() + again
            self._work.notify_all()

    def drop(self, shard: Shard) -> None:
        """The shard no longer exists."""
        with self._lock:
            shard.busy = False
            if self._shards.get(shard.id) is shard:
                self.evict([shard.id])
                self.beat_now.set()

    def _wanted(self, shard: Shard) -> bool:
        return self._fetching and not shard.gone and not shard.leaving

    def _add(self, shard: Shard, page: Page) -> None:
        if not page.pieces and shard.pages and not shard.pages[-1].pieces:
            shard.pages[-1] = page  # nothing but a position: the later one says it all
            return
        shard.pages.append(page)
        if page.pieces:
            shard.page_bytes = page.nbytes
        self._bytes += page.nbytes
        self._ready.append(shard)

    # --- the worker --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Fetch from now on."""
        with self._lock:
            self._fetching = True
            self._work.notify_all()

    def stop(self) -> None:
        """Fetch nothing any more, and let go of what was read ahead. Shards stay held."""
        with self._lock:
            self._fetching = False
            self._closed = True
            for shard in self._shards.values():
                self._drop_pages(shard)
            self._work.notify_all()

    def unclaimed(self) -> list[Shard]:
        """Shards that are ours by now, and that the runtime has not been asked about (with success)."""
        with self._lock:
            return [shard for shard in self._shards.values() if not (shard.claimed or shard.leaving)]

    def claimed(self, shard: Shard, start: str | None) -> None:
        """The shard may be read, from ``start`` if the service's checkpoint is not beyond it."""
        with self._lock:
            shard.claimed, shard.start = True, start
            self._work.notify_all()

    def take(self, seconds: float) -> tuple[Shard, Page] | None:
        """The next page, counted as handed over; None when none came in time, or something else needs attention.

        Raises what `fail` was given.
        """
        with self._lock:
            if not self._ready and not self._evicted and self._failure is None:
                self._news.wait(seconds)
            if self._failure is not None:
                raise self._failure
            if self._evicted or not self._ready:
                return None
            shard = self._ready.popleft()
            page = shard.pages.popleft()
            shard.handed = page.end
            self._bytes -= page.nbytes
            self._work.notify_all()
            return shard, page

    def evictions(self) -> list[Shard]:
        """The shards that were taken from us since the last call."""
        with self._lock:
            evicted, self._evicted = self._evicted, []
            return evicted

    def is_evicted(self, shard: Shard) -> bool:
        with self._lock:
            return shard.gone

    def find(self, partition: str) -> Shard | None:
        with self._lock:
            return next((shard for shard in self._shards.values() if shard.partition == partition), None)

    def committed(self, shard: Shard, position: str) -> None:
        """The service has this position now."""
        with self._lock:
            shard.checkpoint = position
            self._release_if_settled(shard)

    def shards(self) -> list[Shard]:
        with self._lock:
            return list(self._shards.values())

    def tell(self, told: Callable[[Sequence[Shard]], None]) -> None:
        """``told(shards)`` while none of them can be gained or lost. It must not wait for anything."""
        with self._lock:
            told(list(self._shards.values()))

    def go_on(self) -> None:
        """Read on in shards that were complete."""
        with self._lock:
            for shard in self._shards.values():
                shard.complete = False
            self._work.notify_all()

    def _release_if_settled(self, shard: Shard) -> None:
        if shard.leaving and shard.settled and self._shards.get(shard.id) is shard:
            del self._shards[shard.id]
            shard.gone = True
            self._version += 1
            self.beat_now.set()
            self._news.notify_all()

    def _drop_pages(self, shard: Shard) -> None:
        if shard.pages:
            self._bytes -= sum(page.nbytes for page in shard.pages)
            shard.pages.clear()
            self._ready = deque(other for other in self._ready if other is not shard)
            self._work.notify_all()
