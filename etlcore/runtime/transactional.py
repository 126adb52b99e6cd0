"""The worker of a transactional sink: rows and source positions go into one transaction, and so count exactly once.

A position may be written together with rows only when nothing before it is still under way anywhere: then a run that
starts from the sink's positions repeats no row and misses none. The worker keeps packets until that holds, which it
reads off the receipts: all that still holds them is what the worker itself keeps. While it does, the sources read no
further than `Feed.most_rows` rows ahead, so that what is kept stays bounded.

Rows may also end on the way, filtered or as dead letters. The positions behind those are written as well, with the next
rows or alone, and only what the sink has is committed by the sources: their own record is never ahead of the sink's.
"""

from __future__ import annotations

from typing import Any

from etlcore.batch import Batch
from etlcore.components import RowsFailed, TransactionalSink
from etlcore.runtime.attempts import Attempts, divide
from etlcore.runtime.channel import EndOfChannel, Receiver
from etlcore.runtime.context import WorkerContext
from etlcore.runtime.feed import Feed
from etlcore.runtime.host import StageHost
from etlcore.runtime.kept import Choice, Kept
from etlcore.runtime.ledger import Account, ChannelAccount
from etlcore.runtime.packet import Packet
from etlcore.runtime.worker import StageWorker

_LOOK = 0.05  # seconds between two looks at what others have settled, while that is all there is to wait for
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
        feed: Feed,
    ) -> None:
        super().__init__(host, component, context, account)
        self._receiver = receiver
        self._taking = ChannelAccount(account, host.name)
        self._feed = feed
        self._kept = Kept()
        self._pace = _Pace(host.run.pipeline.commit_interval, feed, host.run.primitives.now())
        self._choice = Choice()
        """What the transaction under way is made of."""
        self._current: Packet | None = None
        """What is left of its rows; None when there are none, or all of them were bad."""
        self._attempts = Attempts(self, self._write, self._written, one_transaction=True)

    def opened(self) -> None:
        """The sink's positions are where the sources start from."""
        self.doing = "read positions"
        # Another sink of this pipeline may keep the positions of its own sources in the same place.
        there = {stage.name for stage in self.host.run.pipeline.stages}
        loaded = self._feed.load(self.component.positions())
        strange = [stage for stage in loaded if _in_a_file(stage) and stage not in there]
        if strange and all(map(_in_a_file, self._feed.sources)):
            self.context.log.warning(
                "it holds positions of %s, which is no source of this pipeline (any more): if the source was renamed, "
                "name it as before, or it is read again from where it starts",
                ", ".join(strange),
            )

    def work(self) -> None:
        take = self.host.stage.take
        now = self.host.run.primitives.now
        while not self.host.failed:
            self.doing = "wait for rows"
            try:
                taken = self._receiver.poll(take, self._taking, self._pace.wait(now()))
            except EndOfChannel:
                break
            if taken is not None:
                self._keep(taken[1])
            if self._pace.due(began := now(), self._kept):
                wrote = self._transact()
                self._pace.looked(began, now(), self._kept, wrote=wrote)
        self._finish()

    def _keep(self, packet: Packet) -> None:
        self._kept.add(packet)
        self._feed.kept_bytes = self._kept.nbytes

    def _finish(self) -> None:
        """The input is over: wait for what other stages still hold, and write the rest."""
        self.host.reached("input closed", first=True)
        run = self.host.run
        while not self.host.failed:
            last_look = run.only_this_is_left(self, self._feed.stages)
            wrote = self._transact()
            if self._feed.settled() or (last_look and not wrote):
                break  # all is in; or a stage has failed with the rest, which is read again as a whole
            self.doing = "wait for other stages"
            run.pause(_LOOK)
            run.check_abandoned()
        self.host.reached("drained")
        self.doing = "wait at the barrier"
        self.host.barrier.arrive()
        self.host.barrier.wait()

    def _transact(self) -> bool:
        """Write what can be written now, in one transaction; False when there is nothing."""
        self._choice = self._kept.take([worker.tracker for worker in self._feed.workers])
        if not self._choice:
            return False
        self._current = Packet.join(self._choice.packets) if self._choice.packets else None
        self._attempts.run(_NOTHING if self._current is None else self._current)
        return True

    def _write(self, _: Packet) -> None:
        """One attempt at the transaction. Rows that the sink names as bad are given up, and the others tried again."""
        while True:
            packet = self._current
            self.doing = "write"
            try:
                self.component.write((_NOTHING if packet is None else packet).batch, self._positions())
                return
            except RowsFailed as failed:
                if packet is None or self.host.stage.on_error.then == "stop":
                    raise
                bad, self._current = divide(packet, failed)
                self._attempts.lose(bad, failed)

    def _positions(self) -> dict[str, Any]:
        """The positions of the transaction, as the sink keeps them."""
        return {
            f"{worker.host.name}/{partition}": position
            for worker, positions in zip(self._feed.workers, self._choice.positions, strict=True)
            for partition, position in positions.items()
        }

    def _written(self, _: Packet, __: None) -> None:
        self._feed.stored(self._choice.positions)
        self._feed.kept_bytes = self._kept.nbytes
        if self._current is not None:
            self.account.deliver(self._current)

    def leave(self) -> None:
        self._receiver.close()


class _Pace:
    """When to look whether there is something to write: every interval, and earlier when much is kept.

    A look costs as much as is kept. After one in vain, nothing but looking would be done if the next one did not wait.
    """

    def __init__(self, interval: float, feed: Feed, now: float) -> None:
        self._interval = interval
        self._rows = _ROWS if feed.most_rows is None else max(1, min(_ROWS, feed.most_rows // 2))
        self._bytes = max(1, feed.most_bytes // 2)
        self._more = 0
        """Rows that were kept after the last look: only more than that are worth another one."""
        self._rests = False
        self._next = now + interval

    def wait(self, now: float) -> float:
        """Seconds until a look is due, if nothing else comes."""
        return max(0.0, self._next - now)

    def due(self, now: float, kept: Kept) -> bool:
        return now >= self._next or (not self._rests and kept.rows > self._more and self._is_much(kept, self._more))

    def looked(self, began: float, now: float, kept: Kept, *, wrote: bool) -> None:
        """A look has been taken, and a transaction made if there was something for it."""
        much = self._is_much(kept)
        self._rests = much and not wrote
        self._more = kept.rows if much else 0
        self._next = now + (min(self._interval, max(_LOOK, 10 * (now - began))) if much else self._interval)

    def _is_much(self, kept: Kept, before: int = 0) -> bool:
        return kept.rows - before >= self._rows or kept.nbytes >= self._bytes


_NOTHING = Packet(Batch.from_rows([]), ())


def _in_a_file(stage: str) -> bool:
    """The name of a source in a pipeline file; those in front of dead letters that are replayed have spaces in it."""
    return " " not in stage
