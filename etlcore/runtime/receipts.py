"""Receipts tie every batch to the source positions it came from; the tracker turns settled ones into watermarks.

A source's position is committed only when every receipt before it is settled. A receipt is held once for each
segment of a packet (see `etlcore.runtime.packet`) that carries it; it is settled when the last hold is given back.
Nothing here settles by default: a hold that nobody gives back keeps the watermark where it is, for ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from etlcore.batch import Position
from etlcore.runtime.concurrency import THREADS, Primitives


class Receipt:
    """The proof that the rows up to one position of one partition have come to their end, once it is settled."""

    __slots__ = ("_forgotten", "_holds", "_tracker", "position", "rows")

    def __init__(self, tracker: Tracker, position: Position | None, rows: int, holds: int) -> None:
        self._tracker = tracker
        self._holds = holds
        self._forgotten = False
        self.position = position
        self.rows = rows

    def hold(self, times: int = 1) -> None:
        """One more packet carries this receipt. Raises RuntimeError when it is settled already: a bug."""
        with self._tracker._changed:
            if self._holds <= 0:
                raise RuntimeError(f"a settled receipt cannot be held again: {self.position}")
            self._holds += times

    def settle(self) -> None:
        """Give one hold back. Raises RuntimeError when there is none: a bug."""
        self._tracker._settle(self)

    @property
    def settled(self) -> bool:
        return self._holds == 0


@dataclass(slots=True)
class Reach:
    """The open receipts of one partition, in order; those before ``limit`` wait for nobody but who asked."""

    partition: str
    receipts: list[Receipt]
    limit: int


class Tracker:
    """All receipts of one source worker, in the order in which they were issued, and the watermarks behind them.

    With ``vouched``, the rows lead to a transactional sink, which keeps the positions itself: a watermark counts as
    `advanced` only once the sink has it and says so (`vouch`). So the source's own record is never ahead of the sink's.

    Safe to use from any worker. `freeze` ends it: what is settled later no longer counts, so that a report and a
    last commit made after it cannot be overtaken by a worker that wakes up late.
    """

    def __init__(self, primitives: Primitives = THREADS, *, vouched: bool = False) -> None:
        self._changed = primitives.condition()
        self._open: dict[str, deque[Receipt]] = {}
        self._needs_voucher = vouched
        self._unvouched: dict[str, Any] = {}
        """Watermarks that the sink does not have yet."""
        self._vouched: dict[str, Any] = {}
        """The last position of each partition that the sink said it has."""
        self._advanced: dict[str, Any] = {}
        self._reached: dict[str, Any] = {}
        self._last: dict[str, Any] = {}
        self._frozen = False
        self.rows_issued = 0
        self.rows_settled = 0
        self.rows_forgotten = 0

    def issue(self, position: Position | None, rows: int, holds: int = 1) -> Receipt:
        """A receipt for ``rows`` rows that end at ``position``; held ``holds`` times, or settled at once when 0.

        Receipts of one partition must be issued in the order of their positions. Rows without a position are
        counted, but move no watermark.
        """
        receipt = Receipt(self, position, rows, holds)
        with self._changed:
            self.rows_issued += rows
            if position is not None:
                self._last[position.partition] = position.value
                self._open.setdefault(position.partition, deque()).append(receipt)
            if holds == 0:
                self._finish(receipt)
        return receipt

    def forget(self, partition: str) -> None:
        """The partition is no longer ours: nothing of what was read from it so far will move a watermark.

        A transactional sink goes by its own positions, whoever the partition belongs to: it still gets them.
        """
        with self._changed:
            for receipt in self._open.get(partition, ()):
                if receipt._holds and not receipt._forgotten:
                    self.rows_forgotten += receipt.rows
                receipt._forgotten = True
                if not self._needs_voucher:
                    receipt.position = None
            if not self._needs_voucher:
                self._open.pop(partition, None)
            for known in (self._advanced, self._reached, self._last, self._unvouched, self._vouched):
                known.pop(partition, None)
            self._changed.notify_all()

    def under_way(self, partition: str) -> bool:
        """Rows of the partition are not settled yet. Forgotten rows count where there is a transactional sink."""
        with self._changed:
            return bool(self._open.get(partition))

    def advanced(self) -> dict[str, Any]:
        """The watermarks that moved since they were last `committed`, as ``{partition: position value}``."""
        with self._changed:
            return dict(self._advanced)

    def committed(self, positions: Mapping[str, Any]) -> None:
        """These watermarks, got from `advanced`, are durable now."""
        with self._changed:
            for partition, value in positions.items():
                if partition in self._advanced:
                    self._reached[partition] = value
                    if self._advanced[partition] == value:
                        del self._advanced[partition]

    def wait_settled(self, timeout: float) -> bool:
        """Wait until every receipt is settled (True), the tracker is frozen, or ``timeout`` seconds have passed.

        Where there is a transactional sink, it must have all watermarks too.
        """
        with self._changed:
            if not self._done and not self._frozen:
                self._changed.wait(timeout)
            return self._done

    @property
    def _done(self) -> bool:
        return self.rows_unsettled == 0 and not self._unvouched

    def reach(self, holds: Mapping[Receipt, int]) -> list[Reach]:
        """How far each partition would come if ``holds`` were given back.

        Whoever asks must own all of them: then nobody else can hold a receipt before the limit again.
        """
        found = []
        with self._changed:
            for partition, waiting in self._open.items():
                receipts = list(waiting)
                stops = (i for i, receipt in enumerate(receipts) if receipt._holds != holds.get(receipt, 0))
                found.append(Reach(partition, receipts, next(stops, len(receipts))))
        return found

    def unvouched(self) -> dict[str, Any]:
        """Watermarks that the transactional sink does not have yet: rows may have ended without coming to it."""
        with self._changed:
            return dict(self._unvouched)

    def vouch(self, positions: Mapping[str, Any]) -> None:
        """The transactional sink has these positions: they may be committed."""
        with self._changed:
            if self._frozen:
                return
            for partition, value in positions.items():
                self._vouched[partition] = value
                if self._unvouched.get(partition) == value:
                    del self._unvouched[partition]
                if partition in self._last:
                    self._advanced[partition] = value
            self._changed.notify_all()

    def nudge(self) -> None:
        """Wake whoever waits in `wait_settled`, to look again."""
        with self._changed:
            self._changed.notify_all()

    def freeze(self) -> None:
        """Count nothing any more: what is not settled by now is abandoned."""
        with self._changed:
            self._frozen = True
            self._changed.notify_all()

    @property
    def frozen(self) -> bool:
        return self._frozen

    @property
    def rows_unsettled(self) -> int:
        """Rows issued whose receipts are not settled: they will be read again (unless their partition is another's)."""
        return self.rows_issued - self.rows_settled

    def standing(self) -> dict[str, dict[str, Any]]:
        """For each partition: the committed position, the last one issued, and the rows that wait in between."""
        with self._changed:
            names = {**dict.fromkeys(self._last), **dict.fromkeys(self._reached)}
            return {
                name: {
                    "committed": self._reached.get(name),
                    "read": self._last.get(name),
                    "uncommitted_rows": sum(r.rows for r in self._open.get(name, ())),
                    "complete": name in self._reached and self._reached[name] == self._last.get(name),
                }
                for name in names
            }

    def _settle(self, receipt: Receipt) -> None:
        with self._changed:
            if receipt._holds <= 0:
                raise RuntimeError(f"a receipt was settled once too often: {receipt.position}")
            if self._frozen:
                return
            receipt._holds -= 1
            if receipt._holds == 0:
                self._finish(receipt)

    def _finish(self, receipt: Receipt) -> None:
        self.rows_settled += receipt.rows
        if receipt.position is not None:
            waiting = self._open[receipt.position.partition]
            while waiting and waiting[0].settled:
                self._advance(waiting.popleft())
        if self.rows_unsettled == 0:
            self._changed.notify_all()

    def _advance(self, receipt: Receipt) -> None:
        """Everything up to this receipt is settled."""
        position = receipt.position
        assert position is not None
        if not self._needs_voucher:
            self._advanced[position.partition] = position.value
        elif not receipt._forgotten:
            if position.partition in self._vouched and self._vouched[position.partition] == position.value:
                self._unvouched.pop(position.partition, None)
            else:
                self._unvouched[position.partition] = position.value
