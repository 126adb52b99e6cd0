"""The bounded, closable queue in front of every stage, counted in rows and bytes.

A channel is closed by counting its senders: when the last one has left, receivers get what is still queued and then
`EndOfChannel`. When the last receiver has left, senders are told at once (`NoReceivers`), also those that are waiting
for room. `abandon` stops both sides where they are and leaves what is queued to be counted.

Packets are split and joined to fit: a channel of 20 rows holds 20 rows, whatever a sender hands over. A channel may
have several *lanes*, one for each worker of a stage with a ``key``: all lanes share the bounds, and rows with the same
key travel in one lane, in order.

Every method is safe from any worker; `Sender.send` and `Receiver.receive` block, nothing else does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from etlcore.runtime.concurrency import THREADS, Primitives
from etlcore.runtime.packet import Packet
from etlcore.spec.model import Queue, Take

Route = Callable[[Packet], Sequence[tuple[int, Packet]]]
"""Splits a packet into parts for lanes, and gives the holds of the packet over to the parts."""

_NO_BOUND = 2**62


class EndOfChannel(Exception):
    """All senders have left and everything has been received."""


class NoReceivers(Exception):
    """All receivers have left; ``rest`` is what could not be handed over."""

    def __init__(self, rest: Packet) -> None:
        super().__init__("all receivers have left")
        self.rest = rest


class Abandoned(Exception):
    """The channel was abandoned: nothing moves any more."""


class Account(Protocol):
    """Told of every transfer while the channel's lock is held, so that no row is ever counted twice or not at all."""

    def sent(self, rows: int) -> None: ...
    def took(self, packet: Packet) -> None: ...


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a channel holds and what went through it."""

    rows: int
    bytes: int
    max_rows: int
    max_bytes: int
    senders: int
    receivers: int
    entered: int
    """Rows that were ever handed over, the refused ones included."""
    refused: int
    """Rows handed over after the last receiver had left: they are nobody's but the channel's."""
    oldest: float | None
    """Since when the oldest queued row waits (seconds on the clock of the primitives)."""
    waiting_senders: int
    waiting_receivers: int


class _Lane:
    __slots__ = ("packets", "receivers", "rows")

    def __init__(self) -> None:
        self.packets: deque[tuple[Packet, float]] = deque()
        self.rows = 0
        self.receivers = 0


class Channel:
    """See the module's docstring; made by the run, one for each stage that has an input."""

    def __init__(
        self,
        name: str,
        bounds: Queue,
        *,
        lanes: int = 1,
        route: Route | None = None,
        primitives: Primitives = THREADS,
    ) -> None:
        self.name = name
        self._bounds = bounds
        self._now = primitives.now
        self._lock = primitives.lock()
        self._has_room = primitives.condition(self._lock)
        self._has_rows = primitives.condition(self._lock)
        self._lanes = [_Lane() for _ in range(lanes)]
        self._route = route
        self._rows = 0
        self._bytes = 0
        self._senders = 0
        self._receivers = 0
        self._had_receivers = False
        self._broken = False
        self._abandoned = False
        self._entered = 0
        self._refused = 0
        self._sequence = 0
        self._waiting_senders = 0
        self._waiting_receivers = 0

    def sender(self) -> Sender:
        """A new sender; the channel stays open until each has called `Sender.close`."""
        with self._lock:
            self._senders += 1
        return Sender(self)

    def receiver(self, lane: int = 0) -> Receiver:
        """A new receiver of one lane."""
        with self._lock:
            self._receivers += 1
            self._had_receivers = True
            self._lanes[lane].receivers += 1
        return Receiver(self, lane)

    def abandon(self) -> None:
        """Stop every transfer, now and for ever; what is queued stays to be counted by `statistics`."""
        with self._lock:
            self._abandoned = True
            self._wake_all()

    def break_off(self) -> None:
        """The stage behind this channel has failed: its receivers are told `Abandoned`, senders `NoReceivers`."""
        with self._lock:
            self._broken = True
            self._wake_all()

    def statistics(self) -> Statistics:
        """A consistent picture of this moment."""
        with self._lock:
            heads = [lane.packets[0][1] for lane in self._lanes if lane.packets]
            return Statistics(
                rows=self._rows,
                bytes=self._bytes,
                max_rows=self._bounds.rows,
                max_bytes=self._bounds.bytes,
                senders=self._senders,
                receivers=self._receivers,
                entered=self._entered,
                refused=self._refused,
                oldest=min(heads, default=None),
                waiting_senders=self._waiting_senders,
                waiting_receivers=self._waiting_receivers,
            )

    def wait_room(self, timeout: float) -> int:
        """How many rows would fit now; waits up to ``timeout`` seconds while there is no room.

        Raises Abandoned. With no receiver left there is room for everything: a sender must not wait for nobody.
        """
        with self._lock:
            if self._room() <= 0:
                self._waiting_senders += 1
                self._has_room.wait(timeout)
                self._waiting_senders -= 1
            return max(0, self._room())

    # What follows is called by Sender and Receiver.

    def _nobody_receives(self) -> bool:
        return self._broken or (self._had_receivers and not self._receivers)

    def _room(self) -> int:
        if self._abandoned:
            raise Abandoned
        if self._nobody_receives():
            return _NO_BOUND
        if self._bytes >= self._bounds.bytes:
            return 0
        return self._bounds.rows - self._rows

    def _send(self, packet: Packet, account: Account | None, timeout: float | None) -> Packet | None:
        deadline = None if timeout is None else self._now() + timeout
        rest: Packet | None = packet
        with self._lock:
            while rest is not None:
                room = self._room()
                if self._nobody_receives():
                    raise NoReceivers(rest)
                if room > 0:
                    rest = self._put(rest, room, account)
                    continue
                left = None if deadline is None else deadline - self._now()
                if left is not None and left <= 0:
                    return rest
                self._waiting_senders += 1
                self._has_room.wait(left)
                self._waiting_senders -= 1
        return None

    def _put(self, packet: Packet, room: int, account: Account | None) -> Packet | None:
        """Queue what fits and return the rest. One row always fits an empty channel, however many bytes it has."""
        fits = min(len(packet), room)
        spare = self._bounds.bytes - self._bytes
        if packet.nbytes > spare:
            each = max(1, packet.nbytes // len(packet))
            fits = max(1, min(fits, spare // each))
        rest = None
        if fits < len(packet):
            packet, rest = packet.split(fits)
        rows, size, now = len(packet), packet.nbytes, self._now()
        parts = ((0, packet),) if self._route is None else self._route(packet)
        for lane, part in parts:
            self._lanes[lane].packets.append((part, now))
            self._lanes[lane].rows += len(part)
        self._rows += rows
        self._bytes += size if self._route is None else sum(part.nbytes for _, part in parts)
        self._entered += rows
        if account is not None:
            account.sent(rows)
        self._has_rows.notify_all()
        return rest

    def _refuse(self, packet: Packet, account: Account | None) -> None:
        with self._lock:
            self._entered += len(packet)
            self._refused += len(packet)
            if account is not None:
                account.sent(len(packet))

    def _receive(
        self, lane: _Lane, take: Take, account: Account | None, timeout: float | None
    ) -> tuple[int, Packet] | None:
        deadline = None if timeout is None else self._now() + timeout
        with self._lock:
            while not lane.packets:
                self._check_open()
                left = None if deadline is None else deadline - self._now()
                if left is not None and left <= 0:
                    return None
                self._wait_rows(left)
            if take.seconds > 0:
                self._linger(lane, take)
            self._check_abandoned()
            packet = self._take(lane, take)
            if account is not None:
                account.took(packet)
            sequence = self._sequence
            self._sequence += 1
            self._has_room.notify_all()
            return sequence, packet

    def _check_abandoned(self) -> None:
        if self._abandoned or self._broken:
            raise Abandoned

    def _check_open(self) -> None:
        self._check_abandoned()
        if self._senders == 0:
            raise EndOfChannel

    def _wait_rows(self, timeout: float | None) -> None:
        self._waiting_receivers += 1
        self._has_rows.wait(timeout)
        self._waiting_receivers -= 1

    def _linger(self, lane: _Lane, take: Take) -> None:
        """Wait for the batch to fill up; no longer once no more can come, or once the channel itself is full."""
        deadline = self._now() + take.seconds
        while lane.packets and self._senders and not (self._abandoned or self._broken):
            enough = (take.rows is not None and lane.rows >= take.rows) or (
                take.bytes is not None and sum(p.nbytes for p, _ in lane.packets) >= take.bytes
            )
            left = deadline - self._now()
            if enough or left <= 0 or self._room() <= 0:
                return
            self._wait_rows(left)
        if not lane.packets:  # another receiver took them; begin again
            while not lane.packets:
                self._check_open()
                self._wait_rows(None)

    def _take(self, lane: _Lane, take: Take) -> Packet:
        if take.rows is None and take.bytes is None:
            packet, _ = lane.packets.popleft()
            self._leave(lane, packet)
            return packet
        rows = take.rows if take.rows is not None else self._bounds.rows
        size = take.bytes if take.bytes is not None else self._bounds.bytes
        taken: list[Packet] = []
        while lane.packets and rows > 0 and size > 0:
            packet, since = lane.packets[0]
            fits = min(rows, len(packet))
            if packet.nbytes > size:
                # One row is always taken, however many bytes it has; but no more than asked for once there is one.
                fits = min(fits, size // max(1, packet.nbytes // len(packet))) or (0 if taken else 1)
                if fits == 0:
                    break
            if fits < len(packet):
                whole = packet.nbytes
                packet, rest = packet.split(fits)
                lane.packets[0] = (rest, since)
                self._bytes += packet.nbytes + rest.nbytes - whole  # estimates need not add up; the sum must
            else:
                lane.packets.popleft()
            self._leave(lane, packet)
            rows -= len(packet)
            size -= packet.nbytes
            taken.append(packet)
        return Packet.join(taken)

    def _leave(self, lane: _Lane, packet: Packet) -> None:
        lane.rows -= len(packet)
        self._rows -= len(packet)
        self._bytes -= packet.nbytes

    def _sender_left(self) -> None:
        with self._lock:
            self._senders -= 1
            if self._senders == 0:
                self._wake_all()

    def _receiver_left(self, lane: _Lane) -> None:
        with self._lock:
            self._receivers -= 1
            lane.receivers -= 1
            if self._receivers == 0:
                self._wake_all()

    def _wake_all(self) -> None:
        self._has_room.notify_all()
        self._has_rows.notify_all()


class Sender:
    """One worker's end of a channel into the next stage."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._closed = False

    def send(self, packet: Packet, account: Account | None = None, timeout: float | None = None) -> Packet | None:
        """Hand the packet over, in parts as room comes; blocks while the channel is full.

        Returns None when all of it is in the channel, or what is left after ``timeout`` seconds. Raises NoReceivers
        (with the rest) as soon as the last receiver has left, and Abandoned.
        """
        if self._closed:
            raise RuntimeError("this sender is closed")
        return self._channel._send(packet, account, timeout)

    def refuse(self, packet: Packet, account: Account | None = None) -> None:
        """Count rows that nobody receives any more as the channel's own; see `Statistics.refused`."""
        self._channel._refuse(packet, account)

    def wait_room(self, timeout: float) -> int:
        return self._channel.wait_room(timeout)

    def close(self) -> None:
        """This sender sends nothing more. The last one to leave ends the stream. A second call does nothing."""
        if not self._closed:
            self._closed = True
            self._channel._sender_left()


class Receiver:
    """One worker's end of its own stage's channel."""

    def __init__(self, channel: Channel, lane: int) -> None:
        self._channel = channel
        self._lane = channel._lanes[lane]
        self._closed = False

    def receive(self, take: Take, account: Account | None = None) -> tuple[int, Packet]:
        """The next packet, and its number in the order in which packets were taken from the channel.

        Blocks while the channel is empty. Raises EndOfChannel when it is empty and every sender has left, and
        Abandoned.
        """
        if self._closed:
            raise RuntimeError("this receiver is closed")
        taken = self._channel._receive(self._lane, take, account, None)
        assert taken is not None, "without a timeout there is always something"
        return taken

    def poll(self, take: Take, account: Account | None, timeout: float) -> tuple[int, Packet] | None:
        """As `receive`, but None when nothing has come after ``timeout`` seconds."""
        if self._closed:
            raise RuntimeError("this receiver is closed")
        return self._channel._receive(self._lane, take, account, timeout)

    def close(self) -> None:
        """This receiver takes nothing more. When the last one leaves, senders are told. A second call does nothing."""
        if not self._closed:
            self._closed = True
            self._channel._receiver_left(self._lane)
