"""What becomes of rows whose stage raises: tried again, narrowed down to the bad ones, kept waiting, or given up.

    attempt ──ok──────────────────────────────────────────────► settled
       │ raises
       ├─ retries left ──► wait (longer each time) ──► attempt
       ├─ breaker: so many failures in a row ──► the stage pauses, and tries again until it works
       ├─ then: stop ──► the stage fails, and the run stops
       └─ then: dead_letter, drop ──► halves, and halves of halves, until single rows are left that fail

An attempt settles nothing before it has succeeded as a whole. Waiting is cut short when a stop has little time left;
the rows are abandoned then, never given up.
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable
from typing import Generic, TypeVar

from etlcore.components import RetryAfter, RowsFailed
from etlcore.runtime.channel import Abandoned
from etlcore.runtime.ledger import Frozen
from etlcore.runtime.packet import Packet
from etlcore.runtime.worker import StageWorker

T = TypeVar("T")

_GIVEN_UP_AT_ONCE = (Abandoned, Frozen)


class Attempts(Generic[T]):
    """One worker's attempts. ``attempt(packet)`` does the work and raises, or ``complete(packet, made)`` settles it."""

    def __init__(
        self,
        worker: StageWorker,
        attempt: Callable[[Packet], T],
        complete: Callable[[Packet, T], None],
        *,
        one_transaction: bool = False,
    ) -> None:
        """``one_transaction``: a packet cannot be narrowed down, because its rows must be written together."""
        self._worker = worker
        self._host = worker.host
        self._policy = worker.host.stage.on_error
        self._attempt = attempt
        self._complete = complete
        self._whole = one_transaction
        self._may_be_partial = worker.host.stage.kind == "sink" and not one_transaction

    def run(self, packet: Packet) -> None:
        """See a packet through. Raises what the last attempt raised where the policy is to stop the run."""
        left, error = self._try(packet, self._policy.retries)
        if left is None:
            return
        assert error is not None
        if self._policy.then == "stop" or self._whole:
            raise error
        self._narrow(left, error)

    def _narrow(self, packet: Packet, error: Exception) -> None:
        """Find the rows that fail, so that they do not take their neighbours along."""
        if isinstance(error, RowsFailed) and self._may_be_partial:
            self.lose(packet, error)
            return
        if len(packet) == 1:
            self._lose(packet, error, [f"{type(error).__name__}: {error}"])
            return
        for part in packet.split(len(packet) // 2):
            left, again = self._try(part, retries=0)
            if left is not None:
                assert again is not None
                self._narrow(left, again)

    def _try(self, packet: Packet, retries: int) -> tuple[Packet | None, Exception | None]:
        """Attempt a packet; gives what is left of it when the retries are used up, and the last error."""
        failures = 0
        while True:
            try:
                made = self._attempt(packet)
            except _GIVEN_UP_AT_ONCE:
                raise
            except RetryAfter as later:
                self._host.run.attempted()
                self._wait(later.seconds, later)
                continue
            except Exception as error:  # noqa: BLE001 - foreign code; the policy says what becomes of it
                self._host.run.attempted()
                failures += 1
                if isinstance(error, RowsFailed) and self._may_be_partial:
                    packet, others = divide(packet, error)
                    if others is not None:
                        self._worker.account.deliver(others)
                    if others is not None or error.final:  # it is the rows, and not the system behind
                        self._host.breaker.succeeded()
                    if error.final:
                        return packet, error
                if self._host.breaker.failed(error):
                    self._wait(self._policy.longest_wait if failures > 1 else self._policy.wait, error)
                elif failures <= retries:
                    self._worker.context.metrics.count("retries")
                    self._wait(self._backoff(failures), error)
                else:
                    return packet, error
            else:
                self._host.breaker.succeeded()
                self._complete(packet, made)
                return None, None

    def _backoff(self, failures: int) -> float:
        longest: float = min(self._policy.longest_wait, self._policy.wait * 2 ** min(failures - 1, 30))
        return longest * random.uniform(0.5, 1.0)  # so that many workers do not come back at the same moment

    def _wait(self, seconds: float, error: Exception) -> None:
        before, self._worker.doing = self._worker.doing, "wait to try again"
        if not self._host.run.patience(seconds):
            self._host.give_up(f"{type(error).__name__}: {error}")
            raise Abandoned
        self._worker.doing = before

    def lose(self, packet: Packet, error: RowsFailed) -> None:
        """Give up rows that a sink has named, each with its reason."""
        self._lose(packet, error, [error.reasons[index] for index in sorted(error.reasons)])

    def _lose(self, packet: Packet, error: Exception, reasons: list[str]) -> None:
        """These rows will not succeed: put them where the policy says, and settle them."""
        worker = self._worker
        run = worker.host.run
        if self._policy.then == "dead_letter":
            before, worker.doing = worker.doing, "write dead letters"
            positions = [receipt.position for receipt in packet.receipts() if receipt.position is not None]
            trace = None if isinstance(error, RowsFailed) else "".join(traceback.format_exception(error))
            run.bury(worker.host.name, list(zip(packet.batch.rows, reasons, strict=True)), positions, trace)
            worker.doing = before
        else:
            run.drop(worker.host.name, reasons)
        worker.account.lose(packet)


def divide(packet: Packet, error: RowsFailed) -> tuple[Packet, Packet | None]:
    """A packet's failed rows and the others, if any; the holds go over to the two. The error then counts anew.

    Raises ValueError when the error names rows that are not there.
    """
    odd = [index for index in error.reasons if not hasattr(index, "__index__")]
    bad = sorted(index for index in error.reasons if hasattr(index, "__index__"))
    if odd or not bad or bad[0] < 0 or bad[-1] >= len(packet):
        raise ValueError(f"RowsFailed names the rows {odd or bad}, and the batch has {len(packet)} rows") from error
    good = [index for index in range(len(packet)) if index not in error.reasons]
    failed = packet.take(bad)
    others = packet.take(good) if good else None
    packet.settle()
    error.reasons = {new: error.reasons[old] for new, old in enumerate(bad)}
    return failed, others
