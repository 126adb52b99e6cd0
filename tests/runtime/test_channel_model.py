"""The channel against a simple model: a list of rows for each lane, and a few numbers.

At any time one sender and one receiver may be waiting in a thread of their own. After every step the model says what
they must have done because of it: gone on waiting, handed over so many rows, got these rows, or been told that the
other side is gone. That is waited for, so nothing depends on how fast the threads are.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from etlcore import Batch, Position
from etlcore.runtime.channel import Abandoned, Channel, EndOfChannel, NoReceivers, Receiver, Sender, Statistics
from etlcore.runtime.concurrency import Threads
from etlcore.runtime.keys import lane_of, route_by_key
from etlcore.runtime.packet import Packet, Segment
from etlcore.runtime.receipts import Tracker
from etlcore.spec.model import Queue, Take
from tests.runtime.effort import examples
from tests.runtime.waiting import Waiting

KEYS = 4
TAKES = st.builds(Take, rows=st.one_of(st.none(), st.integers(1, 6)), bytes=st.one_of(st.none(), st.integers(1, 900)))
PICK = st.integers(0, 11)
"""Which one of those there are."""


class Clock(Threads):
    """Threads, on a clock that goes on when it is told to."""

    time = 0.0

    def now(self) -> float:
        return self.time


class Counting:
    """What a channel tells an account."""

    def __init__(self) -> None:
        self.rows_sent = 0
        self.rows_taken = 0

    def sent(self, rows: int) -> None:
        self.rows_sent += rows

    def took(self, packet: Packet) -> None:
        self.rows_taken += len(packet)


@dataclass
class WaitingSender:
    sender: Sender
    call: Waiting
    left: list[int]
    """Rows that are not in the channel."""


@dataclass
class WaitingReceiver:
    lane: int
    receiver: Receiver
    take: Take
    call: Waiting


@dataclass
class Rows:
    """The rows of one position: it is settled when all of them are."""

    size: int
    unsettled: set[int] = field(default_factory=set)


class ChannelModel(RuleBasedStateMachine):
    columnar = False
    patience = 60.0
    """Seconds that a waiting worker may take to go on, on however slow a machine."""

    @initialize(rows=st.integers(1, 9), size=st.integers(1, 12), lanes=st.integers(1, 3), workers=st.integers(0, 3))
    def build(self, rows: int, size: int, lanes: int, workers: int) -> None:
        self.each = self.batch([0]).nbytes
        # In halves of a row, so that the bound falls between two rows as well as on one.
        self.bounds = Queue(rows=rows, bytes=max(1, size * self.each // 2))
        route = route_by_key("k", lanes) if lanes > 1 else None
        self.clock = Clock()
        self.channel = Channel("model", self.bounds, lanes=lanes, route=route, primitives=self.clock)
        self.queued: list[list[tuple[int, float]]] = [[] for _ in range(lanes)]
        """For each lane its rows, and when they came."""
        self.senders: list[Sender] = []
        self.receivers: list[tuple[int, Receiver]] = []
        self.sending: WaitingSender | None = None
        self.receiving: WaitingReceiver | None = None
        self.ever_received = self.broken = self.abandoned = False
        self.account = Counting()
        """Shared by all workers: the channel calls it under its lock."""
        self.entered = self.refused = self.taken = self.next = 0
        self.tracker = Tracker()
        self.in_hand: list[Packet] = []
        """What was received, or came back."""
        self.numbers: list[int] = []
        self.positions: dict[int, Rows] = {}
        self.position_of: dict[int, int] = {}
        for number in range(workers):
            self.add_sender()
            self.add_receiver(number)

    def teardown(self) -> None:
        if hasattr(self, "channel"):
            self.channel.abandon()

    # The model

    def batch(self, numbers: list[int]) -> Batch:
        batch = Batch.from_rows([{"n": number, "k": number % KEYS} for number in numbers])
        return Batch.from_arrow(batch.arrow) if self.columnar else batch

    def packet(self, sizes: list[int]) -> Packet:
        """New rows: so many for each of several positions."""
        segments = []
        first = self.next
        for size in sizes:
            rows = range(self.next, self.next + size)
            self.next += size
            receipt = self.tracker.issue(Position("p", self.next), size)
            self.positions[self.next] = Rows(size, set(rows))
            self.position_of.update(dict.fromkeys(rows, self.next))
            segments.append(Segment(size, (receipt,)))
        return Packet(self.batch(list(range(first, self.next))), segments)

    def nobody_receives(self) -> bool:
        return self.broken or (self.ever_received and not self.receivers and self.receiving is None)

    def sender_count(self) -> int:
        return len(self.senders) + (self.sending is not None)

    def rows(self) -> int:
        return sum(map(len, self.queued))

    def room(self) -> int:
        """Rows that fit, if they have no bytes; 0 if not even one row fits."""
        return self.bounds.rows - self.rows() if self.rows() * self.each < self.bounds.bytes else 0

    def fill(self, left: list[int]) -> None:
        """Move rows into the channel for as long as one more fits."""
        while left and self.room():
            number = left.pop(0)
            lane = lane_of(number % KEYS, len(self.queued)) if len(self.queued) > 1 else 0
            self.queued[lane].append((number, self.clock.time))
            self.entered += 1

    def received(self, lane: int, take: Take, call: Waiting) -> None:
        """A receiver did not wait (any more): it must have got the first rows of its lane, or been told why not."""
        if self.abandoned or self.broken:
            assert isinstance(call.error, Abandoned)
            return
        if not self.queued[lane]:
            assert isinstance(call.error, EndOfChannel)
            return
        assert call.error is None
        number, packet = call.result
        waiting = [row for row, _ in self.queued[lane]]
        got = numbers_of(packet)
        assert got == waiting[: len(got)]
        if take.rows is None and take.bytes is None:
            assert got
        else:
            rows = min(take.rows or self.bounds.rows, (take.bytes or self.bounds.bytes) // self.each, len(waiting))
            assert len(got) == max(1, rows)
        del self.queued[lane][: len(got)]
        self.taken += len(got)
        self.in_hand.append(packet)
        self.numbers.append(number)

    def gone(self, sender: Sender, error: Exception | None, left: list[int]) -> None:
        """A sender was told that nobody receives, and got back what is not in the channel."""
        assert isinstance(error, NoReceivers)
        assert numbers_of(error.rest) == left
        sender.refuse(error.rest, self.account)
        self.entered += len(left)
        self.refused += len(left)
        self.in_hand.append(error.rest)

    # Workers come and go

    @precondition(lambda self: len(self.senders) < 3)
    @rule()
    def add_sender(self) -> None:
        self.senders.append(self.channel.sender())

    @precondition(lambda self: self.senders)
    @rule(pick=PICK)
    def close_sender(self, pick: int) -> None:
        sender = self.senders.pop(pick % len(self.senders))
        sender.close()
        sender.close()
        with pytest.raises(RuntimeError, match="sender is closed"):
            sender.send(Packet(self.batch([0]), ()), timeout=0)

    @precondition(lambda self: len(self.receivers) < 4)
    @rule(pick=PICK)
    def add_receiver(self, pick: int) -> None:
        lane = pick % len(self.queued)
        self.receivers.append((lane, self.channel.receiver(lane)))
        self.ever_received = True

    @precondition(lambda self: self.receivers)
    @rule(pick=PICK)
    def close_receiver(self, pick: int) -> None:
        _, receiver = self.receivers.pop(pick % len(self.receivers))
        receiver.close()
        receiver.close()
        with pytest.raises(RuntimeError, match="receiver is closed"):
            receiver.poll(Take(), None, timeout=0)

    @rule(which=st.integers(0, 60))
    def end(self, which: int) -> None:
        if which == 60:
            self.channel.abandon()
            self.abandoned = True
        elif which == 59:
            self.channel.break_off()
            self.broken = True

    # Rows move, and nobody waits

    @precondition(lambda self: self.senders)
    @rule(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4), pick=PICK)
    def send(self, sizes: list[int], pick: int) -> None:
        sender = self.senders[pick % len(self.senders)]
        left = list(range(self.next, self.next + sum(sizes)))
        packet = self.packet(sizes)
        self.clock.time += 1
        if self.abandoned:
            with pytest.raises(Abandoned):
                sender.send(packet, self.account, timeout=0)
        elif self.nobody_receives():
            with pytest.raises(NoReceivers) as told:
                sender.send(packet, self.account, timeout=0)
            self.gone(sender, told.value, left)
        else:
            rest = sender.send(packet, self.account, timeout=0)
            self.fill(left)
            assert ([] if rest is None else numbers_of(rest)) == left
            if rest is not None:
                self.in_hand.append(rest)

    @precondition(lambda self: self.receivers)
    @rule(take=TAKES, pick=PICK)
    def receive(self, take: Take, pick: int) -> None:
        lane, receiver = self.receivers[pick % len(self.receivers)]
        if self.sender_count() and not (self.abandoned or self.broken or self.queued[lane]):
            assert receiver.poll(take, self.account, 0) is None
            return
        call = Waiting(lambda: receiver.receive(take, self.account))
        assert call.ended(self.patience), "a receiver waits, though it need not"
        self.received(lane, take, call)

    @rule()
    def ask_for_room(self) -> None:
        if self.abandoned:
            with pytest.raises(Abandoned):
                self.channel.wait_room(0)
        elif self.nobody_receives():
            assert self.channel.wait_room(0) > 10**9
        else:
            assert self.channel.wait_room(0) == self.room()

    @precondition(lambda self: self.in_hand)
    @rule(pick=PICK)
    def settle(self, pick: int) -> None:
        packet = self.in_hand.pop(pick % len(self.in_hand))
        packet.settle()
        for number in numbers_of(packet):
            self.positions[self.position_of[number]].unsettled.discard(number)

    # Rows move, and somebody waits

    @precondition(lambda self: self.senders and self.sending is None)
    @precondition(lambda self: not (self.abandoned or self.nobody_receives()))
    @rule(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4), pick=PICK)
    def send_and_wait(self, sizes: list[int], pick: int) -> None:
        sender = self.senders.pop(pick % len(self.senders))
        left = list(range(self.next, self.next + sum(sizes)))
        packet = self.packet(sizes)
        self.clock.time += 1
        self.sending = WaitingSender(sender, Waiting(lambda: sender.send(packet, self.account)), left)

    @precondition(lambda self: self.receivers and self.receiving is None and self.sender_count())
    @rule(take=TAKES, pick=PICK)
    def receive_and_wait(self, take: Take, pick: int) -> None:
        lane, receiver = self.receivers.pop(pick % len(self.receivers))
        call = Waiting(lambda: receiver.receive(take, self.account))
        self.receiving = WaitingReceiver(lane, receiver, take, call)

    @invariant()
    def the_channel_is_as_the_model(self) -> None:
        if hasattr(self, "channel"):
            self.whoever_waits_goes_on_when_it_can()
            self.the_statistics_are_those_of_the_model()
            self.a_position_is_settled_with_the_last_of_its_rows()

    def whoever_waits_goes_on_when_it_can(self) -> None:
        """Room is for the sender that waits, and its rows are for the receiver that waits, and that makes room."""
        if self.sending is not None and not self.sender_is_told():
            self.fill(self.sending.left)
        if self.receiving is not None:
            self.receiver_goes_on(self.receiving)
        if self.sending is not None:
            self.sender_goes_on(self.sending)

    def sender_is_told(self) -> bool:
        return self.abandoned or self.nobody_receives()

    def receiver_goes_on(self, waiting: WaitingReceiver) -> None:
        if self.sender_count() and not (self.abandoned or self.broken or self.queued[waiting.lane]):
            self.wait_until(lambda seen: seen.waiting_receivers == 1)
            return
        assert waiting.call.ended(self.patience), "a receiver waits for ever"
        self.receiving = None
        self.receivers.append((waiting.lane, waiting.receiver))
        self.received(waiting.lane, waiting.take, waiting.call)

    def sender_goes_on(self, waiting: WaitingSender) -> None:
        if not self.sender_is_told():
            self.fill(waiting.left)
            if waiting.left:
                self.wait_until(lambda seen: seen.entered == self.entered and seen.waiting_senders == 1)
                return
        assert waiting.call.ended(self.patience), "a sender waits for ever"
        self.sending = None
        self.senders.append(waiting.sender)
        if self.abandoned:
            assert isinstance(waiting.call.error, Abandoned)
        elif waiting.left:
            self.gone(waiting.sender, waiting.call.error, waiting.left)
        else:
            assert waiting.call.error is None
            assert waiting.call.result is None, "all of it is in the channel"

    def wait_until(self, holds: Callable[[Statistics], bool]) -> None:
        end = time.monotonic() + self.patience
        while not holds(seen := self.channel.statistics()):
            assert time.monotonic() < end, f"not what should be: {seen}"
            time.sleep(0.0001)

    # What is so after every step

    def the_statistics_are_those_of_the_model(self) -> None:
        heads = [lane[0][1] for lane in self.queued if lane]
        assert self.channel.statistics() == Statistics(
            rows=self.rows(),
            bytes=self.rows() * self.each,
            max_rows=self.bounds.rows,
            max_bytes=self.bounds.bytes,
            senders=self.sender_count(),
            receivers=len(self.receivers) + (self.receiving is not None),
            entered=self.entered,
            refused=self.refused,
            oldest=min(heads, default=None),
            waiting_senders=int(self.sending is not None),
            waiting_receivers=int(self.receiving is not None),
        )
        assert self.rows() <= self.bounds.rows
        assert self.rows() * self.each < self.bounds.bytes + self.each
        assert self.entered == self.rows() + self.refused + self.taken
        assert (self.account.rows_sent, self.account.rows_taken) == (self.entered, self.taken)
        assert self.numbers == sorted(set(self.numbers))

    def a_position_is_settled_with_the_last_of_its_rows(self) -> None:
        assert self.tracker.rows_unsettled == sum(rows.size for rows in self.positions.values() if rows.unsettled)
        watermark = None
        for at, rows in self.positions.items():
            if rows.unsettled:
                break
            watermark = at
        assert self.tracker.advanced().get("p") == watermark


class ColumnChannelModel(ChannelModel):
    columnar = True


def numbers_of(packet: Packet) -> list[int]:
    return [row["n"] for row in packet.batch.rows]


TestRows: Any = ChannelModel.TestCase
TestRows.settings = examples(100, steps=40)
TestColumns: Any = ColumnChannelModel.TestCase
TestColumns.settings = examples(30, steps=40)
