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

    original: Any = Attempts.run

    def run(self: Any, packet: Any) -> None:
        def attempt(given: Any) -> Any:
            try:
                return original_attempt(given)
            except Exception:
                given.settle()
                raise

        original_attempt, self._attempt = self._attempt, attempt
        try:
            original(self, packet.hold())
        finally:
            self._attempt = original_attempt
            self._worker.account.hold = None

    del run

    def run_and_forget(self: Any, packet: Any) -> None:
        try:
            self._complete(packet, self._attempt(packet))
        except Exception:  # noqa: BLE001 - that is what is wrong with it
            self._worker.account.lose(packet)

    Attempts.run = run_and_forget  # type: ignore[method-assign]


def drop_a_receipt_at_fan_in() -> None:
    """Packets that are joined keep the receipts of the first one alone; the others count as settled."""
    from etlcore.batch import Batch
    from etlcore.runtime.packet import Packet, Segment

    def join(packets: Any) -> Any:
        if len(packets) == 1:
            return packets[0]
        first, *others = packets
        for packet in others:
            packet.settle()
        rows = sum(map(len, packets))
        receipts = tuple(first.receipts())
        for segment in first.segments[1:]:
            for receipt in segment.receipts:
                if receipt in receipts and receipt in first.segments[0].receipts:
                    receipt.settle()
        return Packet(Batch.concat([packet.batch for packet in packets]), [Segment(rows, receipts)])

    Packet.join = staticmethod(join)  # type: ignore[method-assign]


def close_a_channel_one_sender_early() -> None:
    """The last but one sender ends the channel."""
    raise NotImplementedError


def lose_the_flush() -> None:
    """What a transform still keeps at the barrier is thrown away, and its receipts are settled."""
    from etlcore.runtime.transform import TransformWorker

    original = TransformWorker._drain

    def drain(self: Any) -> None:
        self.component.flush = lambda: ()
        original(self)

    TransformWorker._drain = drain  # type: ignore[method-assign]
