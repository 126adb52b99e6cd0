"""What the workers of one stage share: the channel in front of them, their barrier, and where their rows go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from etlcore.runtime.barrier import DrainBarrier, Sequencer
from etlcore.runtime.breaker import Breaker
from etlcore.runtime.channel import Channel, NoReceivers, Sender
from etlcore.runtime.concurrency import Primitives
from etlcore.runtime.ledger import Account, ChannelAccount, Ledger
from etlcore.runtime.packet import Packet
from etlcore.spec.model import Stage

if TYPE_CHECKING:
    from etlcore.runtime.run import Run


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a stage stopped the run."""

    stage: str
    worker: int
    during: str
    """What the component was doing: ``open``, ``read``, ``process``, ``write``, ``flush``, ``commit``, ``close``."""
    error: BaseException
    rows: int = 0
    """Rows the worker had in hand."""


class StageHost:
    """One stage of a run. Its lifecycle, told by `event`:

    *opened* (every worker), *input closed* (the first worker saw the end), *drained* (all workers met at the
    barrier), *flushed*, *output closed*, *closed*; or *failed* instead of all that was still to come.
    """

    def __init__(self, run: Run, stage: Stage, channel: Channel | None, primitives: Primitives) -> None:
        self.run = run
        self.stage = stage
        self.channel = channel
        self.barrier = DrainBarrier(stage.workers, primitives)
        self.sequencer = Sequencer(primitives) if stage.ordered else None
        self.opened = primitives.flag()
        self.failed = False
        self.skipped = False
        """Not opened, because a stage behind it could not be."""
        self.gave_up = False
        """Out of time while it tried again: its workers have left, and their rows are abandoned."""
        self.downstream: list[StageHost] = []
        self.targets: dict[str | None, list[StageHost]] = {}
        self.state = "opening"
        self.trouble: str | None = None
        """Why the stage pauses; None while it does not."""
        self.breaker = Breaker(stage.on_error.breaker, opened=self._paused, closed=self._resumed, primitives=primitives)
        self._lock = primitives.lock()
        self._passed: dict[str, int] = {}

    @property
    def name(self) -> str:
        return self.stage.name

    @property
    def ledger(self) -> Ledger:
        return self.run.ledger

    def reached(self, point: str, *, first: bool = False) -> None:
        """A worker has come to a point of the lifecycle; the event is told for the last worker (or the first)."""
        with self._lock:
            count = self._passed[point] = self._passed.get(point, 0) + 1
        if count == (1 if first else self.stage.workers):
            if point in ("opened", "closed") or not self.failed:
                self.run.event(self.name, point)
            self.state = _STATES.get(point, self.state) if not self.failed else "failed"
            if point == "opened":
                self.opened.set()

    def fail(self, failure: Failure) -> None:
        """A worker cannot go on: the stage takes nothing more, and the run stops."""
        with self._lock:
            already, self.failed = self.failed, True
            self.state = "failed"
        self.release_waiting()
        self.opened.set()
        if not already:
            self.run.event(self.name, "failed")
        self.run.failed(failure)

    def _paused(self, error: Exception) -> None:
        self.trouble = f"{type(error).__name__}: {error}"
        self.run.event(self.name, "paused")
        self.run.log.warning(
            "%s pauses after %s failures in a row, and tries again until it works: %s",
            self.name,
            self.stage.on_error.breaker,
            self.trouble,
        )

    def _resumed(self) -> None:
        self.trouble = None
        self.run.event(self.name, "resumed")
        self.run.log.warning("%s works again", self.name)

    def give_up(self, why: str) -> None:
        """A stop has no time left for further attempts: the stage takes nothing more, its rows are abandoned."""
        with self._lock:
            already, self.gave_up = self.gave_up, True
        self.release_waiting()
        if not already:
            self.run.event(self.name, "gave up")
            self.run.log.warning("%s gives up, because the stop has little time left: %s", self.name, why)

    def skip(self) -> None:
        """A stage behind this one could not be opened, so there is no use in opening this one."""
        self.skipped = True
        self.release_waiting()
        self.opened.set()

    def release_waiting(self) -> None:
        """Wake the stage's workers wherever they wait for each other or for rows; senders learn that nobody takes."""
        if self.channel is not None:
            self.channel.break_off()
        self.barrier.abandon()
        if self.sequencer is not None:
            self.sequencer.abandon()

    def abandon(self) -> None:
        """The run is over, whatever is still under way."""
        if self.channel is not None:
            self.channel.abandon()
        self.barrier.abandon()
        if self.sequencer is not None:
            self.sequencer.abandon()
        self.opened.set()


_STATES = {
    "opened": "running",
    "input closed": "draining",
    "drained": "flushing",
    "output closed": "drained",
    "closed": "done",
}


@dataclass(frozen=True, slots=True)
class _Branch:
    sender: Sender
    account: ChannelAccount


class Output:
    """One worker's way out: a sender into every channel behind its stage."""

    def __init__(self, account: Account, owner: StageHost) -> None:
        self._account = account
        self._run = owner.run
        self._branches: dict[str | None, list[_Branch]] = {}
        for port, hosts in owner.targets.items():
            for host in hosts:
                assert host.channel is not None, "a source has no input"
                branch = _Branch(host.channel.sender(), ChannelAccount(account, host.name))
                self._branches.setdefault(port, []).append(branch)

    def branches(self, port: str | None = None) -> int:
        """How many stages read an output."""
        return len(self._branches.get(port, ()))

    def emit(self, packet: Packet, port: str | None = None) -> None:
        """Hand a packet to every stage that reads ``port``; blocks while one of them is full.

        Rows for an output that nobody reads are filtered. Raises Abandoned.
        """
        branches = self._branches.get(port, ())
        self._account.emit(len(packet), len(branches))
        if not branches:
            packet.settle()
            return
        for branch, copy in self._copies(packet, branches):
            _send(branch, copy)

    def hand_over(self, packet: Packet, waiting: Callable[[], None]) -> None:
        """What a source read, to every stage behind it; ``waiting`` is called now and then while they are full."""
        for branch, copy in self._copies(packet, self._branches[None]):
            rest: Packet | None = copy
            while rest is not None:
                rest = _send(branch, rest, timeout=_PATIENCE)
                if rest is not None:
                    waiting()

    def wait_room(self) -> int:
        """How many rows all branches of the main output would take now; waits a little while there is no room."""
        return min(branch.sender.wait_room(_PATIENCE) for branch in self._branches[None])

    def close(self) -> None:
        """This worker sends nothing more: the last one of all senders ends the input of the stage behind.

        Not so in a run that is being abandoned: there the stage behind must not take it for the end of its input,
        and is told by its own channel.
        """
        if self._run.abandoned_because is not None:
            return
        for branches in self._branches.values():
            for branch in branches:
                branch.sender.close()

    @staticmethod
    def _copies(packet: Packet, branches: list[_Branch] | tuple[()]) -> list[tuple[_Branch, Packet]]:
        # All holds are taken before the first branch can settle anything.
        copies = [packet.hold() for _ in branches[1:]]
        return list(zip(branches, [packet, *copies], strict=True))


_PATIENCE = 0.2  # seconds a source waits for room before it looks after its commits


def _send(branch: _Branch, packet: Packet, timeout: float | None = None) -> Packet | None:
    try:
        return branch.sender.send(packet, branch.account, timeout)
    except NoReceivers as gone:
        # The stage behind has failed. The rows stay unsettled; the other branches are still served.
        branch.sender.refuse(gone.rest, branch.account)
        return None
