"""The ledger against a model that keeps the rows themselves: whoever has them, and how they ended.

A source feeds a transform, a transform that buffers, and a sink, to which all of them lead; every step of a worker is a
step of its own, so the books are looked at while rows are made, while they are being sent, and in between.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from etlcore import Batch, Position
from etlcore.runtime.ledger import Account, ChannelAccount, Frozen, Ledger
from etlcore.runtime.packet import Packet, Segment, derive
from etlcore.runtime.receipts import Tracker
from tests.runtime.effort import examples

ROWS = st.integers(1, 5)
READERS = {"source": ["transform", "buffer", "sink"], "transform": ["sink", "buffer"], "buffer": ["sink"], "sink": []}
PICK = st.integers(0, 11)
"""Which one of those there are."""
WORKING = st.sampled_from(["transform", "buffer"])


@dataclass(eq=False)
class Worker:
    """What one worker has in hand, and the sums of what it did."""

    account: Account
    kept: list[Packet] = field(default_factory=list)
    """Taken, and not done with."""
    made: int = 0
    """Rows made of the packet in hand, for somebody or for nobody."""
    to_send: list[tuple[str, Packet]] = field(default_factory=list)
    sums: Counter[str] = field(default_factory=Counter)


class LedgerModel(RuleBasedStateMachine):
    @initialize(batches=st.lists(ROWS, max_size=3))
    def build(self, batches: list[int]) -> None:
        self.ledger = Ledger()
        self.tracker = Tracker()
        self.workers = {name: Worker(self.ledger.account(name, buffers=name == "buffer")) for name in READERS}
        self.queues: dict[str, list[Packet]] = {name: [] for name in READERS}
        self.frozen = False
        for rows in batches:
            self.read(rows)

    # Rows come in, and go on

    @rule(rows=ROWS)
    def read(self, rows: int) -> None:
        source = self.workers["source"]
        if self.refused(lambda: source.account.began_read(rows, len(READERS["source"]))):
            return
        receipt = self.tracker.issue(Position("p", self.tracker.rows_issued + rows), rows)
        packet = Packet(batch_of(rows), [Segment(rows, (receipt,))])
        source.sums += Counter(read=rows, emitted=rows)
        self.branch_off("source", packet)

    @rule(rows=ROWS)
    def reject(self, rows: int) -> None:
        source = self.workers["source"]
        if not self.refused(lambda: source.account.rejected(rows)):
            source.sums += Counter(read=rows, dead=rows)

    def branch_off(self, name: str, packet: Packet) -> None:
        worker = self.workers[name]
        readers = READERS[name]
        copies = [packet, *(packet.hold() for _ in readers[1:])]
        worker.to_send += zip(readers, copies, strict=True)
        worker.sums["copied"] += len(packet) * (len(readers) - 1)

    @precondition(lambda self: any(worker.to_send for worker in self.workers.values()))
    @rule(which=PICK, pick=PICK, rows=ROWS)
    def send(self, which: int, pick: int, rows: int) -> None:
        """A channel takes some rows, or all."""
        able = [worker for worker in self.workers.values() if worker.to_send]
        worker = able[which % len(able)]
        reader, packet = worker.to_send.pop(pick % len(worker.to_send))
        if rows < len(packet):
            packet, rest = packet.split(rows)
            worker.to_send.append((reader, rest))
        ChannelAccount(worker.account, reader).sent(len(packet))
        worker.sums["sent"] += len(packet)
        self.queues[reader].append(packet)

    def able_to_take(self) -> list[str]:
        idle = [name for name, worker in self.workers.items() if name == "buffer" or not worker.kept]
        return [name for name in idle if self.queues[name] and not self.workers[name].to_send]

    @precondition(lambda self: self.able_to_take())
    @rule(which=PICK)
    def take(self, which: int) -> None:
        able = self.able_to_take()
        name = able[which % len(able)]
        worker = self.workers[name]
        packet = self.queues[name].pop(0)
        ChannelAccount(worker.account, name).took(packet)
        worker.sums["entered"] += len(packet)
        worker.kept.append(packet)

    # A transform makes rows of what it has

    @precondition(lambda self: any(self.workers[name].kept for name in ("transform", "buffer")))
    @rule(name=WORKING, rows=ROWS, read_by_nobody=st.booleans())
    def make(self, name: str, rows: int, read_by_nobody: bool) -> None:
        worker = self.workers[name]
        if not worker.kept or worker.to_send:
            return
        branches = 0 if read_by_nobody else len(READERS[name])
        if self.refused(lambda: worker.account.emit(rows, branches)) or read_by_nobody:
            return
        worker.made += rows
        worker.sums["emitted"] += rows
        receipts = dict.fromkeys(receipt for packet in worker.kept for receipt in packet.receipts())
        self.branch_off(name, derive(batch_of(rows), receipts))

    @precondition(lambda self: self.workers["transform"].kept)
    @rule(dead=st.integers(0, 2), dropped=st.one_of(st.none(), st.integers(0, 3)), gives_up=st.booleans())
    def finish(self, dead: int, dropped: int | None, gives_up: bool) -> None:
        worker = self.workers["transform"]
        if worker.to_send:
            return
        [packet] = worker.kept
        if gives_up and not worker.made:
            if not self.refused(lambda: worker.account.lose(packet)):
                worker.sums["dead"] += len(packet)
                worker.kept.clear()
            return
        dead = min(dead, len(packet))
        if self.refused(lambda: worker.account.finish(packet, dead=dead, dropped=dropped)):
            return
        came, went = len(packet), worker.made + dead
        filtered = max(came - went, dropped or 0, 0)
        worker.sums += Counter(dead=dead, filtered=filtered, added=went + filtered - came)
        worker.made = 0
        worker.kept.clear()

    @precondition(lambda self: self.workers["buffer"].kept)
    @rule(dead=st.integers(0, 1))
    def keep(self, dead: int) -> None:
        worker = self.workers["buffer"]
        if not worker.to_send and not self.refused(lambda: worker.account.keep(dead)):
            worker.sums["dead"] += dead

    @precondition(lambda self: self.workers["buffer"].kept)
    @rule(pick=PICK)
    def release(self, pick: int) -> None:
        worker = self.workers["buffer"]
        packet = worker.kept[pick % len(worker.kept)]
        if not worker.to_send and not self.refused(lambda: worker.account.release(packet)):
            worker.sums["released"] += len(packet)
            worker.kept.remove(packet)

    @precondition(lambda self: self.workers["sink"].kept)
    @rule(fails=st.booleans())
    def deliver(self, fails: bool) -> None:
        """Or give up, where the sink fails for good."""
        worker = self.workers["sink"]
        [packet] = worker.kept
        if not self.refused(lambda: (worker.account.lose if fails else worker.account.deliver)(packet)):
            worker.sums["dead" if fails else "delivered"] += len(packet)
            worker.kept.clear()

    @rule(which=st.integers(0, 80))
    def freeze(self, which: int) -> None:
        if which == 80:
            self.ledger.freeze()
            self.frozen = True

    def refused(self, settle: Any) -> bool:
        """Do it; or see that a closed ledger lets nobody do it, and that nothing is settled then."""
        if not self.frozen:
            settle()
            return False
        before = self.tracker.rows_unsettled
        with pytest.raises(Frozen):
            settle()
        assert self.tracker.rows_unsettled == before
        return True

    # What is so after every step

    @invariant()
    def the_books_are_right(self) -> None:
        for name, worker in getattr(self, "workers", {}).items():
            self.balances(name)
            seen = worker.account.counts()
            names = ["entered", "read", "emitted", "sent", "copied", "dead", "delivered"]
            assert {name: getattr(seen, name) for name in names} == {name: worker.sums[name] for name in names}
            self.holds_what_it_has(name, worker)
        if hasattr(self, "workers"):
            self.nothing_is_between_the_books()

    def balances(self, name: str) -> None:
        seen = self.ledger.counts(name)
        into = seen.entered + seen.read + seen.added + seen.copied
        assert into == seen.sent + seen.filtered + seen.dead + seen.delivered + seen.held, f"{name}: {seen}"

    def holds_what_it_has(self, name: str, worker: Worker) -> None:
        seen = worker.account.counts()
        in_hand = sum(map(len, worker.kept))
        to_send = sum(len(packet) for _, packet in worker.to_send)
        made = 0 if name == "buffer" else worker.made
        assert worker.account.open == in_hand
        assert seen.held == max(0, in_hand - made) + to_send
        if name == "buffer":
            more = worker.sums["emitted"] + worker.sums["dead"] - worker.sums["released"]
            assert (seen.added, seen.filtered) == (max(0, more), max(0, -more))
        elif not worker.made:
            assert (seen.added, seen.filtered) == (worker.sums["added"], worker.sums["filtered"])

    def nothing_is_between_the_books(self) -> None:
        """What was sent to a stage is in front of it, or it has taken it."""
        for name, queue in self.queues.items():
            taken = self.ledger.counts(name).entered
            assert self.ledger.sent_to(name) == taken + sum(map(len, queue))


def batch_of(rows: int) -> Batch:
    return Batch.from_rows([{"n": n} for n in range(rows)])


TestLedger: Any = LedgerModel.TestCase
TestLedger.settings = examples(100, steps=50)
