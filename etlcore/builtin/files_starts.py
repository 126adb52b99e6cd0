"""Where to go on in each file, by what an earlier run has left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from etlcore.batch import Position
from etlcore.builtin.files_content import Content, ContentError
from etlcore.builtin.files_paths import Found, Identity, beside, may_stem_from
from etlcore.builtin.files_positions import ENOUGH, Place, holds


@dataclass(frozen=True, slots=True)
class Start:
    """Where a file is to be read from."""

    found: Found
    place: Place
    adopted: bool = False
    """The state does not know this place yet: it comes from a copy of the file, or from a position of an old form."""
    previous: Place | None = None
    """What the same file held before it was truncated, or another one that had its inode; `place` is the beginning."""

    @property
    def position(self) -> Position:
        """The place for the state."""
        return Position(self.place.partition, self.place.value())


class Memory:
    """The places that were committed, and how files that are there now are told to be the ones they speak of."""

    def __init__(self, positions: Mapping[str, Any], directory: Path) -> None:
        self._directory = directory
        self._places: dict[str, Place] = {}  # by stream
        self._by_inode: dict[int, dict[str, Place]] = {}
        self._begun: set[str] = set()  # streams that were begun since
        self._by_name: dict[str, int] = {}
        # Positions from before files were known by their identity: a number of bytes under a name. Once there is any
        # other, they are history: what has the name now may be another file.
        for partition, value in positions.items():
            place = Place.read(partition, value)
            if place is not None:
                self.remember(place)
            elif isinstance(value, int) and not isinstance(value, bool):
                self._by_name[partition] = value
        if self._places:
            self._by_name.clear()

    def remember(self, place: Place) -> None:
        """Keep how far a stream was read, instead of what was known before about it."""
        old = self._places.pop(place.partition, None)
        if old is not None:
            del self._by_inode[old.inode][old.partition]
        self._places[place.partition] = place
        self._by_inode.setdefault(place.inode, {})[place.partition] = place

    def places(self) -> list[Place]:
        """All of them."""
        return list(self._places.values())

    def fresh(self, found: Found) -> Place:
        """The beginning of a stream that nobody has read before; each call begins another."""
        begin = Place(found.name, *found.identity, 0)
        names = (f"{begin.partition}+{number}" if number else begin.partition for number in count())
        stream = next(name for name in names if name not in self._places and name not in self._begun)
        self._begun.add(stream)
        return replace(begin, stream=stream)

    def own(self, found: Found) -> Start:
        """Where to go on in a file, by its identity and its content."""
        same_inode = self._by_inode.get(found.identity[1], {}).values()
        exact = [place for place in same_inode if place.device == found.identity[0]]
        for place in sorted(exact, key=lambda place: (place.offset == 0, place.offset)):
            if place.finished == (found.size, found.changed) or _is_still(found, place):
                return Start(found, place)
        for place in same_inode:  # a device may have another number after a restart of the machine
            if place not in exact and place.offset >= ENOUGH and holds_at(found, place):
                return Start(found, taken_over(place, found), adopted=True)
        begin = self.fresh(found)
        if found.name in self._by_name:
            place = replace(begin, offset=self._by_name[found.name])
            return Start(found, place, adopted=True) if holds_at(found, place) else Start(found, begin, previous=place)
        return Start(found, begin, previous=next((place for place in exact if place.path == found.name), None))

    def starts(self, matched: Iterable[Found]) -> list[Start]:
        """Where to begin, in the order given, behind what is left of files that no path or glob names any more.

        A place that its own file no longer holds, because it was truncated, replaced or deleted, is looked for in
        the files beside it that may be a copy: what was read behind it may never have been delivered.
        """
        own = {found.identity: self.own(found) for found in matched}
        gone: dict[Identity, Start] = {}
        held = {start.place.partition for start in own.values()}
        for place in self.places():
            if place.finished is None and place.partition not in held:
                self._look_elsewhere(place, own, gone)
        held = {start.place.partition for start in [*own.values(), *gone.values()]}
        left = sorted((place for place in self.places() if place.partition not in held), key=lambda one: -one.offset)
        for identity, start in own.items():  # copies of what was read to its end
            if start.place.offset == 0:
                copied = next((place for place in left if is_copy(start.found, place)), None)
                if copied is not None:
                    own[identity] = Start(start.found, taken_over(copied, start.found), adopted=True)
                    left.remove(copied)
        return [*gone.values(), *own.values()]

    def _look_elsewhere(self, place: Place, own: dict[Identity, Start], gone: dict[Identity, Start]) -> None:
        """Have a place read on in the file beside its own that holds it: the same under another name, or a copy."""
        files = list(beside(place.path, self._directory))
        for found in files:
            if found.identity == (place.device, place.inode) and found.identity not in own and _is_still(found, place):
                present = gone.get(found.identity)
                if present is None or present.place.offset == 0 or 0 < place.offset < present.place.offset:
                    gone[found.identity] = Start(found, place)
                return
        for found in files:
            if is_copy(found, place):
                in_either = own if found.identity in own else gone
                start = in_either.get(found.identity) or self.own(found)
                if start.place.offset == 0 or place.offset < start.place.offset:
                    in_either[found.identity] = Start(found, taken_over(place, found), adopted=True)
                return


def taken_over(place: Place, found: Found) -> Place:
    """The same place of the same stream in another file, a copy."""
    device, inode = found.identity
    return replace(place, path=found.name, device=device, inode=inode, finished=None, stream=place.partition)


def is_copy(found: Found, place: Place) -> bool:
    """Whether a file is a copy of the one that a place is of, by its name and its content.

    A file that was replaced by a copy of itself has the same name, and then little content is no proof.
    """
    if found.identity == (place.device, place.inode) or not may_stem_from(found.name, place.path):
        return False
    least = 1 if found.name != place.path else ENOUGH
    return place.offset >= least and holds_at(found, place)


def _is_still(found: Found, place: Place) -> bool:
    """Whether a file with a place's inode is its file: a beginning is no proof, for inodes are used again."""
    return holds_at(found, place) and (place.offset > 0 or may_stem_from(found.name, place.path))


def holds_at(found: Found, place: Place) -> bool:
    """Whether a file holds what was read up to a place; False for one that cannot be read."""
    with _content_behind(found, place) as content:
        return content is not None


def holds_no_more(found: Found, place: Place, pending: int) -> bool:
    """Whether a file ends at a place that it holds, or within so many bytes behind it; False when nobody can tell."""
    with _content_behind(found, place) as content:
        try:
            return content is not None and len(content.read_exactly(pending + 1)) <= pending
        except (ContentError, OSError):
            return False


@contextmanager
def _content_behind(found: Found, place: Place) -> Iterator[Content | None]:
    """The content of a file behind a place; None when it does not hold it, or cannot be read."""
    try:
        content = Content(found.file)
    except OSError:
        yield None
        return
    try:
        try:
            there = holds(content, place) is not None
        except OSError:
            there = False
        yield content if there else None
    finally:
        content.close()
