"""The worker of a source: reads, hands over what has a position as a whole, commits what has been delivered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etlcore.batch import Batch, Position
from etlcore.components import Source
from etlcore.runtime.channel import Abandoned
from etlcore.runtime.context import WorkerContext
from etlcore.runtime.feed import Feed
from etlcore.runtime.host import Output, StageHost
from etlcore.runtime.ledger import Account, Frozen
from etlcore.runtime.packet import Packet, Segment
from etlcore.runtime.receipts import Tracker
from etlcore.runtime.worker import StageWorker

_RETRY_COMMIT = 1.0  # seconds between two attempts at the last commit
_PACE = 0.02  # seconds between two looks at whether a transactional sink has come nearer
_LOOK = 0.5  # seconds between two looks at whether anybody is left to settle what was read


Mark = tuple[int, Position | None]
"""Rows of a batch before the number are in once the position is committed."""


class SourceWorker(StageWorker):
    """Read and commit happen on one thread, never at once: a commit comes between two steps of `Source.read`."""

    component: Source

    def __init__(
        self, host: StageHost, component: Source, context: WorkerContext, account: Account, output: Output
    ) -> None:
        super().__init__(host, component, context, account)
        self._output = output
        self._feed = host.run.feeds.get(host.name)
        self.tracker = Tracker(host.run.primitives, vouched=self._feed is not None)
        self.at_end = False
        """The source ended by itself: everything it had to give was read."""
        self._interval = host.run.pipeline.commit_interval
        self._next_commit = 0.0
        self._last_error: Exception | None = None
        """Why the last commit failed; None when it did not."""
        self._stores_own = type(component).commit is Source.commit

    def prepare(self) -> None:
        if self._feed is None:
            return
        self.context.positions = start = self._feed.positions(self.host.name)
        if self._stores_own and self.number == 0:  # after a crash the store may be behind the sink
            self.host.run.store.save_positions(self.context.pipeline, self.host.name, start)

    def work(self) -> None:
        try:
            self._read()
        except (Abandoned, Frozen):
            self._settle()
            return
        except BaseException as error:  # noqa: BLE001 - the run is told at once; what was read is still delivered
            self.fail(error)
        for point in ("input closed", "drained", "output closed"):
            self.host.reached(point)
        self._output.close()
        self._settle()

    def _read(self) -> None:
        if self.host.run.stopping.is_set():
            return
        self.doing = "read"
        self.context.may_reject = True
        reading = self.component.read()
        try:
            for batch in reading:
                self._bury()
                if batch is not None and not self._hand_over(batch):
                    break
                self._commit_when_due()
                if self.context.stopping.is_set():
                    break
                self.doing = "read"
            else:
                self._bury()
                self.at_end = not self.context.stopping.is_set()  # it may have ended because it saw the stop itself
        finally:
            close = getattr(reading, "close", None)
            if close is not None:
                close()

    def _bury(self) -> None:
        """Put on disk what the source itself rejected, before the position behind it can be committed."""
        rejected, self.context.rejected = self.context.rejected, []
        if rejected:
            self.doing = "write dead letters"
            self.host.run.bury(self.host.name, rejected, [])
            self.account.rejected(len(rejected))
            self.tracker.issue(None, len(rejected), holds=0)

    def _hand_over(self, batch: Batch) -> bool:
        """Send a batch on, some whole positions at a time; False when the run was stopped before all were begun.

        A position whose first row is in a channel is finished, also after a stop: half of one could be neither
        committed nor forgotten. What has not been begun is handed back, as if it had never been read.
        """
        if not isinstance(batch, Batch):
            raise TypeError(f"read() must yield batches or None, not {type(batch).__name__}")
        marks: Sequence[Mark] = batch.marks or ((len(batch), None),)
        start = index = 0
        while index < len(marks):
            room = self._await_room(needed=marks[index][0] > start)
            if room is None:
                return False
            begin, first = start, index
            while index < len(marks) and (marks[index][0] - begin <= room or start == begin):
                start = marks[index][0]
                index += 1
            self._send(batch, begin, start, marks[first:index])
        return True

    def _send(self, batch: Batch, begin: int, end: int, marks: Sequence[Mark]) -> None:
        if self._feed is None:
            packet = self._issue(batch, begin, end, marks)
        else:
            with self._feed.lock:
                packet = self._issue(*self._without_stale(self._feed, batch, begin, end, marks))
        if packet is not None:
            self._output.hand_over(packet, self._commit_when_due)

    def _issue(self, batch: Batch, begin: int, end: int, marks: Sequence[Mark]) -> Packet | None:
        """The rows from ``begin`` to ``end`` with their receipts; None when there are no rows."""
        if end > begin:
            self.account.began_read(end - begin, self._output.branches())
        segments: list[Segment] = []
        before = begin
        for mark, position in marks:
            rows = mark - before
            before = mark
            receipt = self.tracker.issue(position, rows, holds=1 if rows else 0)
            if rows:
                segments.append(Segment(rows, (receipt,)))
        if not segments:
            return None
        return Packet(batch if (begin, end) == (0, len(batch)) else batch.slice(begin, end), segments)

    def _without_stale(
        self, feed: Feed, batch: Batch, begin: int, end: int, marks: Sequence[Mark]
    ) -> tuple[Batch, int, int, Sequence[Mark]]:
        """Leaves out what another worker reads by now: that one gives it again."""
        if not any(feed.is_stale(self, position) for _, position in marks):
            return batch, begin, end, marks
        rows: list[int] = []
        left: list[Mark] = []
        before = begin
        for mark, position in marks:
            if not feed.is_stale(self, position):
                rows.extend(range(before, mark))
                left.append((len(rows), position))
            before = mark
        return batch.take(rows), 0, len(rows), left

    def _await_room(self, needed: bool) -> int | None:
        """Wait for room in every channel behind; None when the run is stopped first."""
        run = self.host.run
        self.doing = "wait for room"
        while not self.context.stopping.is_set():
            room = self._output.wait_room() if needed else 1
            if not self._may_read_ahead():
                run.pause(_PACE)
            elif room > 0 and not self.context.stopping.is_set():  # room that the drain has made is not for new rows
                return room
            self._commit_when_due()
        return None

    def _may_read_ahead(self) -> bool:
        return self._feed is None or self._feed.may_read(self.tracker.rows_unsettled)

    def _settle(self) -> None:
        """After the last row: commit as the rest is delivered, until all is settled or nobody is left to settle it."""
        self.doing = "wait for what was read to be settled"
        run = self.host.run
        while not (self.tracker.wait_settled(min(self._interval, _LOOK)) or self.tracker.frozen or run.nobody_left()):
            self._commit_when_due()
        while not self._commit() and not self.tracker.frozen:
            run.pause(_RETRY_COMMIT)
        if self._last_error is not None and self.tracker.advanced():
            self.doing = "commit"
            self.fail(self._last_error)

    def _commit_when_due(self) -> None:
        now = self.host.run.primitives.now()
        if now >= self._next_commit:
            self._next_commit = now + self._interval
            self._commit()

    def _commit(self) -> bool:
        """Make the watermarks durable. A commit that fails loses nothing: it is tried again, and said once."""
        positions = self.tracker.advanced()
        if not positions:
            return True
        before, self.doing = self.doing, "commit"
        try:
            if self._stores_own:
                self.host.run.store.save_positions(self.context.pipeline, self.host.name, positions)
            else:
                self.component.commit(positions)
        except Exception as error:  # noqa: BLE001 - foreign code; told to the operator, and to the report at the end
            if self._last_error is None:
                self.context.log.warning("positions could not be committed, will try again: %s", error)
            self._last_error = error
            return False
        if self._last_error is not None:
            self._last_error = None
            self.context.log.info("positions are committed again")
        self.tracker.committed(positions)
        self.doing = before
        return True

    def standing(self) -> dict[str, dict[str, Any]]:
        return self.tracker.standing()

    def leave(self) -> None:
        self._output.close()
