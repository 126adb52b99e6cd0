"""The worker of a transform: what `process` returns inherits the receipts of what it was given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from etlcore.batch import Batch, Row
from etlcore.components import RowTransform, Transform
from etlcore.runtime.attempts import Attempts
from etlcore.runtime.channel import EndOfChannel, Receiver
from etlcore.runtime.context import WorkerContext
from etlcore.runtime.host import Output, StageHost
from etlcore.runtime.ledger import Account, ChannelAccount
from etlcore.runtime.packet import Packet, derive
from etlcore.runtime.receipts import Receipt
from etlcore.runtime.worker import StageWorker
from etlcore.spec.model import OnError

Made = Iterator[tuple[str | None, Batch]]


class TransformWorker(StageWorker):
    component: Transform

    def __init__(
        self,
        host: StageHost,
        component: Transform,
        context: WorkerContext,
        account: Account,
        receiver: Receiver,
        output: Output,
    ) -> None:
        super().__init__(host, component, context, account)
        self._receiver = receiver
        self._taking = ChannelAccount(account, host.name)
        self._output = output
        self._kept: dict[int, Packet] = {}
        self._ports = frozenset(host.stage.outputs)
        self._number = 0
        self._attempts = None if host.stage.on_error == OnError() else Attempts(self, self._attempt, self._attempted)

    def work(self) -> None:
        take = self.host.stage.take
        while not self.host.failed:
            self.doing = "wait for rows"
            try:
                number, packet = self._receiver.receive(take, self._taking)
            except EndOfChannel:
                break
            self._number = number
            try:
                self._handle(number, packet)
            finally:
                if self.host.sequencer is not None:
                    self.host.sequencer.done(number)
        self._drain()

    def _handle(self, number: int, packet: Packet) -> None:
        if id(packet.batch) in self._kept:
            # The very batch came by two ways; what is kept is known by its batch, so this one needs a batch of its own.
            packet = Packet(packet.batch.slice(0, len(packet)), packet.segments)
        if self._attempts is not None:
            self._attempts.run(packet)
            return
        self.doing = "process"
        self.context.may_reject = True
        made = self._made(self.component.process(packet.batch), "process")
        if self.host.sequencer is not None:
            made = iter(list(made))  # the work is done beside the others; only handing over waits for its turn
            self.doing = "wait for its turn"
            self.host.sequencer.wait_turn(number)
        self._complete(packet, made)

    def _attempt(self, packet: Packet) -> tuple[list[tuple[str | None, Batch]], list[tuple[Row, str]]]:
        """One attempt under an error policy: everything is made before anything is handed over."""
        self.doing = "process"
        self.context.may_reject = True
        try:
            made = list(self._made(self.component.process(packet.batch), "process"))
            return made, self.context.rejected
        finally:
            self.context.may_reject = False
            self.context.rejected = []

    def _attempted(self, packet: Packet, result: tuple[list[tuple[str | None, Batch]], list[tuple[Row, str]]]) -> None:
        made, self.context.rejected = result
        if self.host.sequencer is not None:
            self.doing = "wait for its turn"
            self.host.sequencer.wait_turn(self._number)
        self._complete(packet, iter(made))

    def _complete(self, packet: Packet, made: Made) -> None:
        """Hand over what was made of a packet, and settle it."""
        if self.component.buffers:
            self._kept[id(packet.batch)] = packet
            self._emit_kept(made)
            self.context.may_reject = False
            self.account.keep(self._bury([packet]))
            self._release()
        else:
            receipts = packet.receipts()
            for port, batch in made:
                self._emit(batch, receipts, port)
            self.context.may_reject = False
            dead = self._bury([packet])
            self.account.finish(packet, dead=dead, dropped=self._dropped())

    def _drain(self) -> None:
        self.host.reached("input closed", first=True)
        self.host.reached("drained")
        self.doing = "wait at the barrier"
        self.host.barrier.arrive()
        self.host.barrier.wait()
        self.doing = "flush"
        self.context.may_reject = self.component.buffers
        self._emit_kept(self._made(self.component.flush(), "flush"))
        self.context.may_reject = False
        dead = self._bury(list(self._kept.values()))
        if dead:
            self.account.keep(dead)
        for packet in list(self._kept.values()):
            self.account.release(packet)
        self._kept.clear()
        self.host.reached("flushed")
        self.host.reached("output closed")
        self._output.close()

    def _emit(self, batch: Batch, receipts: Iterable[Receipt], port: str | None) -> None:
        before, self.doing = self.doing, "hand over"
        self._output.emit(derive(batch, receipts), port)
        self.doing = before

    def _emit_kept(self, made: Made) -> None:
        """Outputs of a transform that buffers: each names the batches that it was made of."""
        for port, batch in made:
            if not self.component.buffers:
                raise TypeError(
                    f"{type(self.component).__name__} yields rows from flush() but does not say `buffers = True`"
                )
            receipts: dict[Receipt, None] = {}
            for origin in batch.derived or ():
                packet = self._kept.get(id(origin))
                if packet is None:
                    raise ValueError(f"{type(self.component).__name__}: derived_from() names a batch that is not kept")
                receipts.update(packet.receipts())
            if not receipts:
                raise ValueError(
                    f"{type(self.component).__name__} buffers, so each of its outputs must name the input batches "
                    "that it was made of: batch.derived_from(…)"
                )
            self._emit(batch, receipts, port)

    def _release(self) -> None:
        released, self.context.released = self.context.released, []
        for batch in released:
            packet = self._kept.pop(id(batch), None)
            if packet is None:
                raise ValueError("context.release() names a batch that is not kept (or was released before)")
            self.account.release(packet)

    def _bury(self, packets: list[Packet]) -> int:
        """Put what was rejected on disk; the rows are settled with the packet, after this."""
        rejected, self.context.rejected = self.context.rejected, []
        if rejected:
            before, self.doing = self.doing, "write dead letters"
            positions = [r.position for p in packets for r in p.receipts() if r.position is not None]
            self.host.run.bury(self.host.name, rejected, positions)
            self.doing = before
        return len(rejected)

    def _dropped(self) -> int | None:
        """What a RowTransform counted itself: one row dropped and another doubled is not the same as no change."""
        if isinstance(self.component, RowTransform):
            dropped: int | None = self.component.__dict__.pop("_dropped", None)
            return dropped
        return None

    def _made(self, result: object, method: str) -> Made:
        """What `process` or `flush` gave, as (output, batch) pairs; batches of no rows are left out."""
        if result is None:
            return
        if isinstance(result, Batch):
            if len(result):
                yield None, result
            return
        owner = type(self.component).__name__
        if isinstance(result, dict | str | bytes) or not isinstance(result, Iterable):
            raise TypeError(
                f"{owner}.{method}() returned {type(result).__name__}; "
                "it must return a Batch, an iterable of batches, or None"
            )
        for item in result:
            port, batch = item if isinstance(item, tuple) and len(item) == 2 else (None, item)
            if not isinstance(batch, Batch):
                raise TypeError(f"{owner}.{method}() yielded {type(batch).__name__}; it must yield batches")
            if port is not None and port not in self._ports:
                names = ", ".join(sorted(self._ports)) or "none"
                raise ValueError(f"{owner}.{method}() sent rows to an output {port!r}; its outputs are: {names}")
            if len(batch):
                yield port, batch

    def leave(self) -> None:
        self._receiver.close()
        self._output.close()
