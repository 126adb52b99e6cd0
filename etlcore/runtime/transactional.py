"""The worker of a transactional sink: rows and source positions go into one transaction, and so count exactly once.

A position may be written together with rows only when nothing before it is still under way anywhere: then a run that
starts from the sink's positions repeats no row and misses none. The worker keeps packets until that holds, which it
reads off the receipts: all that still holds them is what the worker itself keeps. While it does, the sources read no
further than `Run.most_unsettled` rows ahead, so that what is kept stays bounded.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from etlcore.batch import Batch
from etlcore.components import RowsFailed, TransactionalSink
from etlcore.runtime.attempts import Attempts, divide
from etlcore.runtime.channel import EndOfChannel, Receiver
from etlcore.runtime.context import WorkerContext
from etlcore.runtime.host import StageHost
from etlcore.runtime.ledger import Account, ChannelAccount
from etlcore.runtime.packet import Packet
from etlcore.runtime.receipts import Receipt
from etlcore.runtime.worker import StageWorker

_LOOK = 0.05  # seconds between two looks at what the other branches have settled, at the end
_ROWS = 10_000  # kept rows that are worth a transaction before the interval is over


class TransactionalSinkWorker(StageWorker):
    component: TransactionalSink

    def __init__(
        self,
        host: StageHost,
        component: TransactionalSink,
        context: WorkerContext,
        account: Account,
        receiver: Receiver,
    ) -> None:
        super().__init__(host, component, context, account)
        self._receiver = receiver
        self._taking = ChannelAccount(account, host.name)
        self._kept: list[Packet] = []
        self._positions: dict[str, Any] = {}
        """For the transaction under way: ``{"stage/partition": position}``."""
        self._interval = host.run.pipeline.commit_interval
        self._current: Packet | None = None
        """What is left of the transaction's rows; None when all of them were bad."""
        self._attempts = Attempts(self, self._write, self._written, one_transaction=True)

    def opened(self) -> None:
        """The sink's positions are where the sources start from."""
        self.doing = "read positions"
        self.host.run.start_from(dict(self.component.positions()))

    def work(self) -> None:
        take = self.host.stage.take
        now = self.host.run.primitives.now
        due = now() + self._interval
        while not self.host.failed:
            self.doing = "wait for rows"
            try:
                taken = self._receiver.poll(take, self._taking, max(0.0, due - now()))
            except EndOfChannel:
                break
            if taken is not None:
                self._kept.append(taken[1])
            if now() >= due or sum(map(len, self._kept)) >= _ROWS:
                self._transact()
                due = now() + self._interval
        self._finish()

    def _finish(self) -> None:
        """The input is over: wait for what other branches still hold, and write the rest."""
        self.host.reached("input closed", first=True)
        run = self.host.run
        while self._kept and not self.host.failed:
            last_look = run.only_this_is_left(self)
            if not self._transact() and last_look:
                break  # another branch has failed with the rest: it is read again, as a whole
            if self._kept:
                self.doing = "wait for other branches"
                run.pause(_LOOK)
                run.check_abandoned()
        self.host.reached("drained")
        self.doing = "wait at the barrier"
        self.host.barrier.arrive()
        self.host.barrier.wait()

    def _transact(self) -> bool:
        """Write what can be written now, in one transaction; False when there is nothing."""
        chosen, self._positions = self._complete()
        if not chosen:
            return False
        gone = set(map(id, chosen))
        self._kept = [packet for packet in self._kept if id(packet) not in gone]
        self._current = Packet.join(chosen)
        self._attempts.run(self._current)
        return True

    def _complete(self) -> tuple[list[Packet], dict[str, Any]]:
        """The kept packets behind which nothing is missing, and the positions that they complete."""
        chosen = self._kept
        while True:
            holds: Counter[Receipt] = Counter()
            for packet in chosen:
                for segment in packet.segments:
                    holds.update(segment.receipts)
            positions: dict[str, Any] = {}
            covered: set[Receipt] = set()
            for source in self.host.run.sources():
                reached = source.tracker.covered(holds, covered)
                positions.update({f"{source.host.name}/{name}": value for name, value in reached.items()})
            left = [packet for packet in chosen if covered.issuperset(packet.receipts())]
            if len(left) == len(chosen):
                return chosen, positions
            chosen = left

    def _write(self, _: Packet) -> None:
        """One attempt at the transaction. Rows that the sink names as bad are given up, and the others tried again."""
        while True:
            packet = self._current
            self.doing = "write"
            try:
                self.component.write(Batch.from_rows([]) if packet is None else packet.batch, self._positions)
                return
            except RowsFailed as failed:
                if packet is None or self.host.stage.on_error.then == "stop":
                    raise
                bad, self._current = divide(packet, failed)
                self._attempts.lose(bad, failed)

    def _written(self, _: Packet, __: None) -> None:
        if self._current is not None:
            self.account.deliver(self._current)

    def leave(self) -> None:
        self._receiver.close()
