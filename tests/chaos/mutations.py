"""Ways to break the runtime on purpose, applied from outside when a process of the chaos run starts.

Python imports ``sitecustomize`` before everything else, from a directory that only these processes have on their path.
"""

from __future__ import annotations

from typing import Any


def commit_early() -> None:
    """What has been read counts as delivered."""
    from etlcore.runtime.receipts import Tracker

    Tracker.advanced = lambda self: dict(self._last)  # type: ignore[method-assign]


def settle_on_exception() -> None:
    """A batch whose stage raises is taken for done."""
    from etlcore.runtime.attempts import Attempts

    def run(self: Any, packet: Any) -> None:
        try:
            made = self._attempt(packet)
        except Exception:  # noqa: BLE001 - that is what is wrong with it
            self._worker.account.lose(packet)
        else:
            self._complete(packet, made)

    Attempts.run = run  # type: ignore[method-assign]


def drop_a_receipt_at_fan_in() -> None:
    """Of packets that are joined, only the last one's receipts are kept; the others count as settled."""
    from etlcore.batch import Batch
    from etlcore.runtime.packet import Packet, Segment

    def join(packets: Any) -> Any:
        *others, last = packets
        if not others:
            return last
        rest = sum(map(len, others))
        for packet in others:
            packet.settle()
        receipts = last.segments[0].receipts
        for receipt in receipts:
            receipt.hold()
        return Packet(Batch.concat([packet.batch for packet in packets]), [Segment(rest, receipts), *last.segments])

    Packet.join = staticmethod(join)  # type: ignore[method-assign]


def close_a_channel_one_sender_early() -> None:
    """The last but one sender that leaves ends the channel."""
    from etlcore.runtime.channel import Channel

    original = Channel._sender_left

    def sender_left(self: Any) -> None:
        original(self)
        if self._senders == 1:
            original(self)
        self._senders = max(0, self._senders)

    Channel._sender_left = sender_left  # type: ignore[method-assign]


def lose_the_flush() -> None:
    """What a transform still keeps at the barrier is thrown away, and its receipts are settled."""
    from etlcore.runtime.transform import TransformWorker

    original = TransformWorker._drain

    def drain(self: Any) -> None:
        self.component.flush = lambda: ()
        original(self)

    TransformWorker._drain = drain  # type: ignore[method-assign]


def write_rows_without_their_positions() -> None:
    """The sink `sqlite` leaves the positions out of its transactions."""
    from etlcore.builtin.sqlite_database import Database

    Database.save = lambda self, positions: None  # type: ignore[method-assign]
