"""Where to go on in each file, by what an earlier run has left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from etlcore.batch import Position
from etlcore.builtin.files_content import Content
from etlcore.builtin.files_paths import Found, Identity, beside
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
        self._places: dict[Identity, list[Place]] = {}
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
        """Keep how far a file was read, instead of what was known before about the same partition."""
        places = self._places.setdefault((place.device, place.inode), [])
        places[:] = [*(old for old in places if old.partition != place.partition), place]

    def places(self) -> list[Place]:
        """All of them."""
        return [place for places in self._places.values() for place in places]

    def own(self, found: Found) -> Start:
        """Where to go on in a file, by its identity and its content."""
        exact = sorted(self._places.get(found.identity, []), key=lambda place: (place.offset == 0, place.offset))
        for place in exact:
            if place.finished == (found.size, found.changed) or holds_at(found, place):
                return Start(found, place)
        begin = Place(found.name, *found.identity, 0)
        for place in self.places():  # a device may have another number after a restart of the machine
            if place.inode == found.identity[1] and place.offset >= ENOUGH and holds_at(found, place):
                return Start(found, taken_over(place, begin), adopted=True)
        if found.name in self._by_name:
            place = replace(begin, offset=self._by_name[found.name])
            return Start(found, place, adopted=True) if holds_at(found, place) else Start(found, begin, previous=place)
        previous = next((place for place in exact if place.path == found.name), None)
        return Start(found, begin if previous is None else previous.at_begin(), previous=previous)

    def starts(self, matched: Iterable[Found]) -> list[Start]:
        """Where to begin, in the order given, behind what is left of files that no path or glob names any more.

        A place that its own file no longer holds, because it was truncated, replaced or deleted, is looked for in
        the files beside it that may be a copy: what was read behind it may never have been delivered.
        """
        own = {found.identity: self.own(found) for found in matched}
        gone: dict[Identity, Start] = {}
        held = {start.place for start in own.values()}
        for place in self.places():
            if place.finished is None and place not in held:
                self._look_elsewhere(place, own, gone)
        return [*gone.values(), *own.values()]

    def _look_elsewhere(self, place: Place, own: dict[Identity, Start], gone: dict[Identity, Start]) -> None:
        """Have a place read on in the file beside its own that holds it: the same under another name, or a copy."""
        files = list(beside(place.path, self._directory))
        for found in files:
            if found.identity == (place.device, place.inode) and found.identity not in own and holds_at(found, place):
                gone[found.identity] = Start(found, place)
                return
        for found in files:
            if may_be_copy(found, place) and holds_at(found, place):
                present = own if found.identity in own else gone
                start = present.get(found.identity) or self.own(found)
                if start.place.offset == 0 or place.offset < start.place.offset:
                    present[found.identity] = Start(found, taken_over(place, start.place), adopted=True)
                return


def taken_over(place: Place, into: Place) -> Place:
    """The same place in another file, a copy."""
    return replace(into, offset=place.offset, head=place.head, tail=place.tail, finished=None)


def may_be_copy(found: Found, place: Place) -> bool:
    """Whether a file may be a copy of the one that a place is of, going by its name; its content must prove it.

    Copies made by rotation have a name that goes on from the old one (``app.log.1``); a file that was replaced by a
    copy of itself has the same name, and then little content is no proof.
    """
    if found.identity == (place.device, place.inode) or not found.name.startswith(place.path):
        return False
    return place.offset > 0 if found.name != place.path else place.offset >= ENOUGH


def holds_at(found: Found, place: Place) -> bool:
    """Whether a file holds what was read up to a place; False for one that cannot be read."""
    try:
        content = Content(found.file)
    except OSError:
        return False
    try:
        return holds(content, place) is not None
    except OSError:
        return False
    finally:
        content.close()
