"""Receipts, packets and watermarks against a simple model: for every row the positions that it stands for.

The model knows no holds and no segments. A packet is a list of rows; a row is the set of positions that wait for it; a
position is settled when no row of any packet that is under way stands for it. Packets are split, joined, dealt out by
key, copied for branches, made into others, filtered, buried, delivered and lost, in any order. Whatever happens, what
may be committed never passes the first position that is not settled.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from etlcore import Batch, Position
from etlcore.runtime.attempts import divide
from etlcore.runtime.keys import lane_of, route_by_key
from etlcore.runtime.packet import Packet, Segment, derive
from etlcore.runtime.receipts import Receipt, Tracker
from tests.runtime.effort import examples

PICK = st.integers(0, 23)
"""Which one of those there are."""
PICKS = st.lists(PICK, min_size=1, max_size=4)
PARTITIONS = st.sampled_from(["p", "q"])
FAILS = st.integers(0, 7).map(lambda number: number == 7)
"""Seldom, because what is lost holds its partition back for good."""
BATCHES = st.tuples(PARTITIONS, st.lists(st.sampled_from([1, 1, 2, 3, 4, 0]), min_size=1, max_size=5))
"""Of which partition, and how many rows each position of a batch has."""


@dataclass(eq=False)
class Place:
    """A position that was issued, or rows without one (``at`` is None)."""

    partition: str
    at: int | None
    rows: int
    receipt: Receipt


@dataclass(frozen=True)
class Row:
    """A row of the model: what is in it, and the positions that wait for it."""

    n: int
    k: int
    waits: frozenset[Place]


@dataclass(eq=False)
class Moving:
    """A packet that is under way, and its rows."""

    packet: Packet
    rows: list[Row]

    def places(self) -> frozenset[Place]:
        return frozenset(place for row in self.rows for place in row.waits)


class RowsFailed(Exception):
    """What a sink raises, as far as `divide` looks at it."""

    def __init__(self, reasons: dict[int, str]) -> None:
        self.reasons = reasons


class ReceiptsModel(RuleBasedStateMachine):
    """``vouched``: there is a transactional sink, without whose word nothing may be committed."""

    vouched = False

    @initialize(batches=st.lists(BATCHES, min_size=2, max_size=6))
    def build(self, batches: list[tuple[str, list[int]]]) -> None:
        self.tracker = Tracker(vouched=self.vouched)
        self.moving: list[Moving] = []
        """Packets that somebody can do something with."""
        self.lost: list[Moving] = []
        """Packets that an exception has swallowed: nothing will ever settle them."""
        self.issued: dict[str, list[Place]] = {"p": [], "q": []}
        """What was issued for each partition since it is ours, in order."""
        self.others: list[Place] = []
        """What was issued and moves no watermark (any more)."""
        self.next = 0
        self.committed: dict[str, int] = {}
        self.said: dict[str, int] = {}
        """The positions that the transactional sink says it has."""
        self.frozen_at: tuple[dict[str, Any], int] | None = None
        for partition, marks in batches:
            self.read((partition, marks), True)

    # The model

    def settled(self, place: Place, but: Collection[Moving] = ()) -> bool:
        return not any(place in moving.places() for moving in [*self.moving, *self.lost] if moving not in but)

    def watermark(self, partition: str) -> int | None:
        done = [place.at for place in takewhile(self.settled, self.issued[partition])]
        return done[-1] if done else None

    def watermarks(self) -> dict[str, int]:
        found = {partition: self.watermark(partition) for partition in self.issued}
        return {partition: at for partition, at in found.items() if at is not None}

    def pick(self, pick: int) -> Moving:
        return self.moving[pick % len(self.moving)]

    def take(self, pick: int) -> Moving:
        return self.moving.pop(pick % len(self.moving))

    def take_some(self, picks: list[int]) -> list[Moving]:
        return [self.take(pick) for pick in picks[: len(self.moving)]]

    def add(self, packet: Packet, rows: list[Row]) -> None:
        assert [row["n"] for row in packet.batch.rows] == [row.n for row in rows]
        self.moving.append(Moving(packet, rows))

    # Rows come in

    @rule(batch=BATCHES, named=st.integers(0, 4).map(bool))
    def read(self, batch: tuple[str, list[int]], named: bool) -> None:
        """A batch of a source: so many rows for each position, or rows without any."""
        partition, marks = batch
        rows: list[Row] = []
        segments: list[Segment] = []
        for count in marks:
            first = self.next
            self.next += count + 1  # also a position without rows is further on
            at = self.next if named else None
            position = None if at is None else Position(partition, at)
            receipt = self.tracker.issue(position, count, holds=1 if count else 0)
            place = Place(partition, at, count, receipt)
            (self.issued[partition] if named else self.others).append(place)
            rows += [Row(n, n % 3, frozenset([place])) for n in range(first, first + count)]
            if count:
                segments.append(Segment(count, (receipt,)))
        if segments:
            self.add(Packet(batch_of(rows), segments), rows)

    # Rows move

    @precondition(lambda self: any(len(moving.rows) > 1 for moving in self.moving))
    @rule(pick=PICK, at=PICK)
    def split(self, pick: int, at: int) -> None:
        able = [moving for moving in self.moving if len(moving.rows) > 1]
        moving = able[pick % len(able)]
        self.moving.remove(moving)
        at = 1 + at % (len(moving.rows) - 1)
        head, tail = moving.packet.split(at)
        self.add(head, moving.rows[:at])
        self.add(tail, moving.rows[at:])

    @precondition(lambda self: self.moving)
    @rule(picks=PICKS)
    def join(self, picks: list[int]) -> None:
        some = self.take_some(picks)
        self.add(Packet.join([moving.packet for moving in some]), [row for moving in some for row in moving.rows])

    @precondition(lambda self: self.moving)
    @rule(pick=PICK, lanes=st.integers(2, 3))
    def deal_out_by_key(self, pick: int, lanes: int) -> None:
        moving = self.take(pick)
        parts = dict(route_by_key("k", lanes)(moving.packet))
        assert set(parts) == {lane_of(row.k, lanes) for row in moving.rows}
        for lane, packet in parts.items():
            self.add(packet, [row for row in moving.rows if lane_of(row.k, lanes) == lane])

    @precondition(lambda self: self.moving)
    @rule(pick=PICK, branches=st.integers(1, 3))
    def fan_out(self, pick: int, branches: int) -> None:
        moving = self.pick(pick)
        for _ in range(branches - 1):
            self.add(moving.packet.hold(), moving.rows)

    # Rows come to their end, or become others

    @precondition(lambda self: self.moving)
    @rule(picks=PICKS)
    def settle(self, picks: list[int]) -> None:
        """Delivered, buried or filtered: that is all the same to a receipt."""
        for moving in self.take_some(picks):
            moving.packet.settle()

    @precondition(lambda self: self.moving)
    @rule(pick=PICK, fails=FAILS)
    def fail(self, pick: int, fails: bool) -> None:
        """An exception settles nothing."""
        if fails:
            self.lost.append(self.take(pick))

    @precondition(lambda self: self.moving)
    @rule(pick=PICK, made=st.lists(st.integers(1, 5), max_size=3), fails=FAILS)
    def transform(self, pick: int, made: list[int], fails: bool) -> None:
        """Some batches are made of a packet, perhaps none; ``fails``: and then there is an exception."""
        moving = self.take(pick)
        self.make([moving], made)
        if fails:
            self.lost.append(moving)
        else:
            moving.packet.settle()

    @precondition(lambda self: self.moving)
    @rule(picks=PICKS, made=st.lists(st.integers(1, 5), max_size=2), keeps=st.booleans())
    def flush(self, picks: list[int], made: list[int], keeps: bool) -> None:
        """A transform that buffers makes something of several packets; ``keeps``: and may make more of them later."""
        some = self.take_some(picks)
        self.make(some, made)
        for moving in some:
            if keeps:
                self.moving.append(moving)
            else:
                moving.packet.settle()

    def make(self, origins: list[Moving], made: list[int]) -> None:
        receipts = dict.fromkeys(receipt for moving in origins for receipt in moving.packet.receipts())
        waits = frozenset(place for moving in origins for place in moving.places())
        for count in made:
            rows = [Row(n, n % 3, waits) for n in range(self.next, self.next + count)]
            self.next += count
            self.add(derive(batch_of(rows), receipts), rows)

    @precondition(lambda self: self.moving)
    @rule(pick=PICK, bad=st.sets(PICK, min_size=1))
    def a_sink_takes_some_and_not_others(self, pick: int, bad: set[int]) -> None:
        moving = self.take(pick)
        bad = {index % len(moving.rows) for index in bad}
        error = RowsFailed(dict.fromkeys(bad, "no"))
        failed, others = divide(moving.packet, error)  # type: ignore[arg-type]
        self.add(failed, [row for index, row in enumerate(moving.rows) if index in bad])
        if others is not None:
            self.add(others, [row for index, row in enumerate(moving.rows) if index not in bad])

    # Positions are committed

    @rule(meanwhile=st.lists(PICK, max_size=3), fails=st.booleans())
    def commit(self, meanwhile: list[int], fails: bool) -> None:
        """While a source commits, more is settled; and it may fail."""
        asked = self.tracker.advanced()
        for moving in self.take_some(meanwhile):
            moving.packet.settle()
        if not fails:
            self.tracker.committed(asked)
            self.committed.update(asked)

    @precondition(lambda self: self.vouched)
    @rule(only=st.sampled_from(["p", "q", "both"]))
    def vouch(self, only: str) -> None:
        """The sink has written what may be written, or at least that of one partition."""
        positions = {p: at for p, at in self.tracker.unvouched().items() if only in (p, "both")}
        self.tracker.vouch(positions)
        if self.frozen_at is None:
            self.said.update(positions)

    @rule(partition=PARTITIONS, which=st.integers(0, 9))
    def lose_a_partition(self, partition: str, which: int) -> None:
        """It is another's now, and may be ours again later."""
        if which or self.frozen_at is not None or self.vouched:
            return
        self.tracker.forget(partition)
        self.others += self.issued[partition]
        self.issued[partition] = []
        self.committed.pop(partition, None)

    @rule(which=st.integers(0, 60))
    def freeze(self, which: int) -> None:
        if which == 60 and self.frozen_at is None:
            self.frozen_at = self.tracker.advanced(), self.tracker.rows_unsettled
            self.tracker.freeze()

    # What is so after every step

    @invariant()
    def the_tracker_is_as_the_model(self) -> None:
        if not hasattr(self, "tracker"):
            return
        if self.frozen_at is not None:
            self.nothing_moves_any_more(*self.frozen_at)
            return
        everything = [*self.others, *(place for places in self.issued.values() for place in places)]
        assert self.tracker.rows_issued == sum(place.rows for place in everything)
        assert self.tracker.rows_unsettled == sum(place.rows for place in everything if not self.settled(place))
        assert all(place.receipt.settled == self.settled(place) for place in everything)
        self.only_watermarks_are_committed()
        self.the_standing_is_right()
        self.holds_tell_how_far_a_part_would_reach()

    def nothing_moves_any_more(self, advanced: dict[str, Any], unsettled: int) -> None:
        assert self.tracker.frozen
        assert self.tracker.rows_unsettled >= unsettled
        assert self.tracker.advanced().items() <= advanced.items()

    def only_watermarks_are_committed(self) -> None:
        reached = self.watermarks()
        if self.vouched:
            assert self.tracker.unvouched() == {p: at for p, at in reached.items() if self.said.get(p) != at}
            reached = dict(self.said)
        assert self.tracker.advanced() == {p: at for p, at in reached.items() if self.committed.get(p) != at}

    def the_standing_is_right(self) -> None:
        standing = self.tracker.standing()
        assert set(standing) == {partition for partition, places in self.issued.items() if places}
        for partition, seen in standing.items():
            places = self.issued[partition]
            open_places = places[len(list(takewhile(self.settled, places))) :]
            assert seen["read"] == places[-1].at
            assert seen["committed"] == self.committed.get(partition)
            assert seen["uncommitted_rows"] == sum(place.rows for place in open_places)
            assert seen["complete"] == (self.committed.get(partition) == places[-1].at)
            assert self.tracker.under_way(partition) == bool(open_places)

    def holds_tell_how_far_a_part_would_reach(self) -> None:
        """As a transactional sink asks it, which has every second packet."""
        mine = self.moving[::2]
        holds: dict[Receipt, int] = {}
        for moving in mine:
            for segment in moving.packet.segments:
                for receipt in segment.receipts:
                    holds[receipt] = holds.get(receipt, 0) + 1
        for reach in self.tracker.reach(holds):
            places = self.issued[reach.partition]
            open_places = places[len(list(takewhile(self.settled, places))) :]
            assert reach.receipts == [place.receipt for place in open_places]
            assert reach.limit == len(list(takewhile(lambda place: self.settled(place, but=mine), open_places)))


class VouchedModel(ReceiptsModel):
    vouched = True


def batch_of(rows: list[Row]) -> Batch:
    return Batch.from_rows([{"n": row.n, "k": row.k} for row in rows])


TestReceipts: Any = ReceiptsModel.TestCase
TestReceipts.settings = examples(100, steps=40)
TestVouched: Any = VouchedModel.TestCase
TestVouched.settings = examples(50, steps=40)


def test_a_receipt_is_never_settled_twice_nor_held_again() -> None:
    tracker = Tracker()
    receipt = tracker.issue(Position("p", 1), 1)
    receipt.settle()
    with pytest.raises(RuntimeError, match="once too often"):
        receipt.settle()
    with pytest.raises(RuntimeError, match="cannot be held again"):
        receipt.hold()
    assert tracker.advanced() == {"p": 1}
