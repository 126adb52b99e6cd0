"""A packet: a batch on its way through the channels, with the receipts that its rows stand for.

The rows of a packet are covered, in order, by segments: so many rows, standing for these receipts. Channels split and
join packets to fit their bounds; a receipt that ends up in both halves is held once more. What a transform makes of a
packet inherits all of its receipts, as one segment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from etlcore.batch import Batch
from etlcore.runtime.receipts import Receipt


class Segment(NamedTuple):
    """``rows`` consecutive rows of a packet that stand for ``receipts``, each held once by this segment."""

    rows: int
    receipts: tuple[Receipt, ...]


class Packet:
    """A batch and its receipts. It is settled as a whole, once; or never, and then its rows will be read again."""

    __slots__ = ("batch", "segments")

    def __init__(self, batch: Batch, segments: Sequence[Segment]) -> None:
        self.batch = batch
        self.segments = tuple(segments)

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def nbytes(self) -> int:
        return self.batch.nbytes

    def receipts(self) -> dict[Receipt, None]:
        """Every receipt of the packet once, in order."""
        return dict.fromkeys(receipt for segment in self.segments for receipt in segment.receipts)

    def settle(self) -> None:
        """All rows have come to their end: give back every hold."""
        for segment in self.segments:
            for receipt in segment.receipts:
                receipt.settle()

    def hold(self) -> Packet:
        """The same packet for one more branch of the graph, with holds of its own."""
        for segment in self.segments:
            for receipt in segment.receipts:
                receipt.hold()
        return Packet(self.batch, self.segments)

    def split(self, rows: int) -> tuple[Packet, Packet]:
        """The first ``rows`` rows and the rest; 0 < rows < len(self)."""
        head: list[Segment] = []
        left = rows
        for index, segment in enumerate(self.segments):
            if segment.rows <= left:
                head.append(segment)
                left -= segment.rows
                continue
            tail = list(self.segments[index:])
            if left:
                for receipt in segment.receipts:
                    receipt.hold()
                head.append(Segment(left, segment.receipts))
                tail[0] = Segment(segment.rows - left, segment.receipts)
            break
        else:
            tail = []
        size = len(self.batch)
        return Packet(self.batch.slice(0, rows), head), Packet(self.batch.slice(rows, size), tail)

    def take(self, indices: Sequence[int]) -> Packet:
        """The rows at the rising ``indices``, with holds of their own on the receipts they stand for."""
        segments: list[Segment] = []
        ends = iter(self.segments)
        segment = next(ends)
        end = segment.rows
        count = 0
        for index in indices:
            while index >= end:
                if count:
                    segments.append(Segment(count, segment.receipts))
                    count = 0
                segment = next(ends)
                end += segment.rows
            count += 1
        if count:
            segments.append(Segment(count, segment.receipts))
        for part in segments:
            for receipt in part.receipts:
                receipt.hold()
        return Packet(self.batch.take(indices), segments)

    @staticmethod
    def join(packets: Sequence[Packet]) -> Packet:
        """Several packets as one; the holds go over to it."""
        if len(packets) == 1:
            return packets[0]
        return Packet(Batch.concat([p.batch for p in packets]), [s for p in packets for s in p.segments])


def derive(batch: Batch, receipts: Iterable[Receipt]) -> Packet:
    """A packet of what was made of the rows that ``receipts`` stand for; it holds each of them once."""
    held = tuple(receipts)
    for receipt in held:
        receipt.hold()
    return Packet(batch, (Segment(len(batch), held),))
