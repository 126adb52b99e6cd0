"""The worker of a sink: a packet is delivered once `write` has returned."""

from __future__ import annotations

from etlcore.components import Sink
from etlcore.runtime.attempts import Attempts
from etlcore.runtime.channel import EndOfChannel, Receiver
from etlcore.runtime.context import WorkerContext
from etlcore.runtime.host import StageHost
from etlcore.runtime.ledger import Account, ChannelAccount
from etlcore.runtime.packet import Packet
from etlcore.runtime.worker import StageWorker


class SinkWorker(StageWorker):
    component: Sink

    def __init__(
        self, host: StageHost, component: Sink, context: WorkerContext, account: Account, receiver: Receiver
    ) -> None:
        super().__init__(host, component, context, account)
        self._receiver = receiver
        self._taking = ChannelAccount(account, host.name)
        self._attempts = Attempts(self, self._write, self._delivered)

    def work(self) -> None:
        take = self.host.stage.take
        while not self.host.failed:
            self.doing = "wait for rows"
            try:
                _, packet = self._receiver.receive(take, self._taking)
            except EndOfChannel:
                break
            self._attempts.run(packet)
        self.host.reached("input closed", first=True)
        self.host.reached("drained")
        self.doing = "wait at the barrier"
        self.host.barrier.arrive()
        self.host.barrier.wait()

    def _write(self, packet: Packet) -> None:
        self.doing = "write"
        self.component.write(packet.batch)

    def _delivered(self, packet: Packet, _: None) -> None:
        self.account.deliver(packet)

    def leave(self) -> None:
        self._receiver.close()
