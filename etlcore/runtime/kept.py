"""What a transactional sink keeps until nothing before it is under way any more, and what of it may be written now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from etlcore.runtime.packet import Packet
from etlcore.runtime.receipts import Receipt, Tracker


@dataclass(frozen=True, slots=True)
class Choice:
    """Packets that may be written together, and the positions that are reached with them."""

    packets: list[Packet] = field(default_factory=list)
    positions: list[dict[str, Any]] = field(default_factory=list)
    """For each tracker that was asked."""

    def __bool__(self) -> bool:
        return bool(self.packets) or any(self.positions)


@dataclass(eq=False, slots=True)
class _Line:
    """The open receipts of one partition; those before ``limit`` are held by nobody but the chosen packets."""

    tracker: int
    partition: str
    receipts: list[Receipt]
    limit: int


class Kept:
    """The packets in the hands of one worker, in the order in which they came."""

    def __init__(self) -> None:
        self._packets: list[Packet] = []
        self.rows = 0
        self.nbytes = 0

    def __bool__(self) -> bool:
        return bool(self._packets)

    def add(self, packet: Packet) -> None:
        self._packets.append(packet)
        self.rows += len(packet)
        self.nbytes += packet.nbytes

    def take(self, trackers: Iterable[Tracker]) -> Choice:
        """The most packets behind which nothing is missing, and how far each partition comes with them.

        A packet may be written when all of its receipts lie before the first one, in their partition, that somebody
        else holds, or a packet that must stay. Whatever is chosen is no longer kept.
        """
        chosen, positions = _Search(self._packets, list(trackers)).choose()
        gone = set(map(id, chosen))
        self._packets = [packet for packet in self._packets if id(packet) not in gone]
        self.rows -= sum(map(len, chosen))
        self.nbytes -= sum(packet.nbytes for packet in chosen)
        return Choice(chosen, positions)


class _Search:
    """Begins with all packets, and takes out what must stay: every packet and every receipt is looked at once."""

    def __init__(self, packets: list[Packet], trackers: list[Tracker]) -> None:
        self._packets = packets
        self._holds: defaultdict[Receipt, int] = defaultdict(int)
        self._carriers: defaultdict[Receipt, list[int]] = defaultdict(list)
        for index, packet in enumerate(packets):
            for segment in packet.segments:
                for receipt in segment.receipts:
                    self._holds[receipt] += 1
            for receipt in packet.receipts():
                self._carriers[receipt].append(index)
        self._unvouched = [tracker.unvouched() for tracker in trackers]
        self._lines = [
            _Line(number, reach.partition, reach.receipts, reach.limit)
            for number, tracker in enumerate(trackers)
            for reach in tracker.reach(self._holds)
        ]

    def choose(self) -> tuple[list[Packet], list[dict[str, Any]]]:
        stays = self._stays()
        chosen = [packet for index, packet in enumerate(self._packets) if index not in stays]
        positions = [dict(known) for known in self._unvouched]
        for line in self._lines:
            if line.limit:
                position = line.receipts[line.limit - 1].position
                assert position is not None
                positions[line.tracker][line.partition] = position.value
        return chosen, positions

    def _stays(self) -> set[int]:
        """The packets that have a receipt behind a limit; each of them may move limits further to the front."""
        place = {
            receipt: (line, index)
            for line in self._lines
            for index, receipt in enumerate(line.receipts)
            if receipt in self._holds
        }
        stays: set[int] = set()
        behind = [receipt for line in self._lines for receipt in line.receipts[line.limit :]]
        while behind:
            for index in self._carriers.get(behind.pop(), ()):
                if index in stays:
                    continue
                stays.add(index)
                for receipt in self._packets[index].receipts():
                    line, at = place.get(receipt, (None, 0))
                    if line is not None and at < line.limit:
                        behind.extend(line.receipts[at : line.limit])
                        line.limit = at
        return stays
