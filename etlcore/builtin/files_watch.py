"""Following files as they grow, are renamed, truncated, replaced and deleted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from etlcore.batch import Batch
from etlcore.builtin.files_content import ContentError, CutOff
from etlcore.builtin.files_paths import Found, Identity, Unreadable, beside, may_stem_from
from etlcore.builtin.files_positions import Place
from etlcore.builtin.files_starts import Memory, Start, holds_no_more, is_copy, taken_over
from etlcore.builtin.files_tail import Tail
from etlcore.components import Context


class Watch:
    """The files that one worker reads, in the order in which it came to know them.

    A file is its inode, whatever its name: one that was renamed is read on under its new name, or, where no path or
    glob names it any more, until nothing was written to it for a while.
    """

    def __init__(
        self,
        context: Context,
        memory: Memory,
        find: Callable[[], list[Found]],
        make: Callable[[Found], Tail],
        *,
        wait: float,
        max_open: int,
    ) -> None:
        """``find`` says which files of this worker there are, ``make`` makes one ready to be read.

        ``wait`` is how many seconds a file is kept that no name leads to, ``max_open`` how many files are kept open.
        """
        self._context = context
        self._memory = memory
        self._find = find
        self._make = make
        self._wait = wait
        self._max_open = max_open
        self._tails: dict[Identity, Tail] = {}
        self._growing: dict[Identity, tuple[Found, float]] = {}  # may be copies in the making; and since when
        self._copies: dict[Identity, tuple[Found, str]] = {}  # hold nothing but what the named stream does
        self._lost: dict[Identity, float] = {}  # since when no name has led to a file, and nothing was written to it
        self._refused: set[Identity] = set()  # files that could not be opened: said once

    def begin(self, starts: Iterable[Start], matched: set[Identity]) -> None:
        """Take on the files that are there at the beginning; ``matched`` are those that a path or a glob names."""
        for start in starts:
            self._take_on(start)
            if start.found.identity not in matched:
                self._lost[start.found.identity] = time.monotonic()

    def turn(self) -> Iterator[Batch]:
        """Look what has become of the files, and read what there is."""
        self._look()
        for identity, tail in list(self._tails.items()):
            before = tail.seen
            try:
                yield from self._read(tail)
            except Unreadable as error:
                self._refuse(identity, error)
            if identity in self._lost and tail.seen != before:
                self._lost[identity] = time.monotonic()
            self._context.metrics.gauge("lag_bytes", tail.behind(), partition=tail.partition)
            self._close_some()
        yield from self._let_go()

    def close(self) -> None:
        """Let go of all files."""
        for tail in self._tails.values():
            tail.close()

    # What there is

    def _look(self) -> None:
        found = {one.identity: one for one in self._find()}
        for one in sorted(found.values(), key=lambda one: (one.changed, one.name)):
            tail = self._tails.get(one.identity)
            if tail is not None:
                tail.found = one
                self._lost.pop(one.identity, None)
            elif not self._is_copied(one) and self._is_whole(one):
                self._tails[one.identity] = self._make(one)
        for identity in self._tails.keys() - found.keys():
            self._lost.setdefault(identity, time.monotonic())
            self._relocate(self._tails[identity])
        self._growing = {identity: one for identity, one in self._growing.items() if identity in found}
        self._copies = {identity: one for identity, one in self._copies.items() if identity in found}

    def _is_copied(self, found: Found) -> bool:
        """A file is known to be a copy of one that is still read."""
        copy, stream = self._copies.get(found.identity, (None, ""))
        unchanged = copy is not None and (copy.size, copy.changed) == (found.size, found.changed)
        return unchanged and any(tail.begun and tail.partition == stream for tail in self._tails.values())

    def _is_whole(self, found: Found) -> bool:
        """A file that may be a copy of one that is followed is taken on once it no longer grows, or after a while."""
        names = (tail.found.name for tail in self._tails.values())
        if not any(found.name != name and may_stem_from(found.name, name) for name in names):
            return True
        before, since = self._growing.get(found.identity, (None, time.monotonic()))
        self._growing[found.identity] = (found, since)
        return before == found or time.monotonic() - since >= self._wait

    def _relocate(self, tail: Tail) -> None:
        """Find a file that was renamed and is not open."""
        if not tail.is_open:
            for one in beside(tail.found.name, self._context.directory):
                if one.identity == tail.identity:
                    tail.found = one

    def _refuse(self, identity: Identity, error: Unreadable) -> None:
        if identity not in self._refused and identity not in self._lost:
            self._refused.add(identity)
            self._context.log.warning("%s: it is tried again and again", error)

    # Reading

    def _read(self, tail: Tail) -> Iterator[Batch]:
        if not tail.begun:
            start = self._start(tail.found)
            if start is None:
                del self._tails[tail.identity]
                return
            self._go(tail, start)
            yield Batch.from_rows([], position=tail.position())
        if tail.unchanged():
            return
        if tail.was_rewritten():
            yield from self._rewound(tail)
        try:
            yield from tail.read_on()
        except CutOff:
            return  # it is still being written
        except ContentError as error:
            yield from tail.give_up(str(error))

    def _take_on(self, start: Start) -> Tail:
        tail = self._make(start.found)
        self._tails[start.found.identity] = tail
        try:
            self._go(tail, start)
        except Unreadable as error:
            self._refuse(start.found.identity, error)
        self._close_some()
        return tail

    def _go(self, tail: Tail, start: Start) -> None:
        go(tail, start, self._memory, self._context)

    def _start(self, found: Found) -> Start | None:
        """Where to begin in a file that has come up meanwhile; None for a copy of one that is still read.

        That one will be read on in the copy once it is truncated or gone.
        """
        for tail in self._tails.values():
            if tail.begun and is_copy(found, tail.place) and holds_no_more(found, tail.place, tail.pending):
                self._copies[found.identity] = (found, tail.partition)
                return None
        start = self._memory.own(found)
        if start.place.offset > 0:
            return start
        for place in sorted(self._left(), key=lambda place: -place.offset):
            if is_copy(found, place):
                return Start(found, taken_over(place, found), adopted=True)
        return start

    def _left(self) -> list[Place]:
        """Places of streams that are in none of the files that are read at present."""
        present = {tail.partition for tail in self._tails.values() if tail.begun}
        return [place for place in self._memory.places() if place.partition not in present]

    def _rewound(self, tail: Tail) -> Iterator[Batch]:
        """A file was truncated: what was not read of it may be in a copy. Then it is begun anew."""
        place = tail.place
        copy = next((one for one in beside(place.path, self._context.directory) if is_copy(one, place)), None)
        if copy is None:
            yield from tail.read_last_line()
        self._memory.remember(tail.place)
        self._context.log.info("%s was truncated or written anew: it is read from its beginning", tail.found.name)
        tail.begin_anew(self._memory.fresh(tail.found))
        if copy is not None and copy.identity not in self._tails and copy.identity not in self._growing:
            other = self._take_on(Start(copy, taken_over(place, copy), adopted=True))
            self._lost[copy.identity] = time.monotonic()
            if other.begun:
                yield Batch.from_rows([], position=other.position())
                yield from self._read(other)
        yield Batch.from_rows([], position=tail.position())

    # Letting go

    def _let_go(self) -> Iterator[Batch]:
        for identity, since in list(self._lost.items()):
            if time.monotonic() - since >= self._wait:
                tail = self._tails.pop(identity)
                del self._lost[identity]
                yield from tail.finish()
                tail.close()
                self._memory.remember(tail.place)
                self._context.metrics.gauge("lag_bytes", 0, partition=tail.partition)

    def _close_some(self) -> None:
        opened = [tail for identity, tail in self._tails.items() if tail.is_open and identity not in self._lost]
        for tail in sorted(opened, key=lambda tail: tail.found.changed)[: max(0, len(opened) - self._max_open)]:
            tail.close()


def go(tail: Tail, start: Start, memory: Memory, context: Context) -> None:
    """Begin to read a file where it is to be begun. Raises Unreadable."""
    gone_on = tail.begin(start.place)
    if not gone_on:
        tail.begin_anew(memory.fresh(start.found))
    if start.previous is not None or not gone_on:
        context.log.warning("%s does not hold what was read of it: it is read from its beginning", tail.found.name)
