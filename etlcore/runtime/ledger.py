"""Who holds which rows, and how each row ended: the counts behind the live view, the drain report and its balance.

Every worker has an `Account`. Rows enter it when a channel hands them over, and leave it when the next channel takes
what was made of them or when they are settled. Rows are counted as copies: what goes to three branches is one row
emitted and two copied. At every moment, and so also in the report,

    entered + read + added + copied = sent + filtered + dead + delivered + held

holds for a worker (``entered`` is 0 for a source, ``read`` for all others); ``held`` is what a report calls
*abandoned* when the run ends before the rows do.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from etlcore.runtime.concurrency import THREADS, Lock, Primitives
from etlcore.runtime.packet import Packet


class Frozen(Exception):
    """The ledger is closed: the run has abandoned these rows already, so they must not be settled any more."""


@dataclass(slots=True)
class Counts:
    """Rows of one worker, or the sum over several."""

    entered: int = 0
    read: int = 0
    emitted: int = 0
    sent: int = 0
    filtered: int = 0
    added: int = 0
    copied: int = 0
    dead: int = 0
    delivered: int = 0
    held: int = 0
    batches: int = 0

    def __iadd__(self, other: Counts) -> Counts:
        for field in fields(Counts):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))
        return self


class Account:
    """The counts of one worker. Changed by that worker alone: under a channel's lock or under the ledger's."""

    __slots__ = (
        "_batches",
        "_consumed",
        "_dead",
        "_delivered",
        "_emitted",
        "_ledger",
        "_ports",
        "_settled_added",
        "_settled_filtered",
        "_to_send",
        "_unfinished",
        "buffers",
        "copied",
        "read",
        "sent_to",
        "since",
        "taken",
    )

    def __init__(self, ledger: Ledger, *, buffers: bool = False) -> None:
        self._ledger = ledger
        self.buffers = buffers
        self.taken = 0
        """Rows that came out of the channel."""
        self.read = 0
        """Rows that a source read."""
        self.copied = 0
        self.since: float | None = None
        """Since when the worker has been busy with what it took."""
        self._consumed = 0  # rows taken whose outcome is known
        self._emitted = 0
        self._unfinished = 0  # rows emitted by a `process` that has not returned
        self._to_send = 0  # copies emitted that no channel has taken yet
        self._dead = 0
        self._delivered = 0
        self._settled_filtered = 0
        self._settled_added = 0
        self._batches = 0
        self.sent_to: dict[str, int] = {}
        """Copies that each channel has taken, by the stage it belongs to."""

    # Called by channels, under their lock.

    def took(self, packet: Packet) -> None:
        self.taken += len(packet)
        self.since = self._ledger.now()

    def put(self, rows: int, stage: str) -> None:
        self._to_send -= rows
        self.sent_to[stage] = self.sent_to.get(stage, 0) + rows

    @property
    def sent(self) -> int:
        return sum(list(self.sent_to.values()))

    # Called by the worker.

    def began_read(self, rows: int, branches: int) -> None:
        """A source has read ``rows`` rows and is about to send them to ``branches`` channels."""
        with self._ledger.settling():
            self.read += rows
            self._consumed += rows
            self._emitted += rows
            self._copy(rows, branches)
            self._batches += 1

    def rejected(self, rows: int) -> None:
        """A source has read rows that it cannot make anything of; they are dead letters on disk."""
        with self._ledger.settling():
            self.read += rows
            self._consumed += rows
            self._dead += rows

    def emit(self, rows: int, branches: int) -> None:
        """A transform has made ``rows`` rows and is about to send them to ``branches`` channels."""
        with self._ledger.settling():
            self._emitted += rows
            self._unfinished += rows
            if branches:
                self._copy(rows, branches)
            else:  # an output that nobody reads
                self._emitted -= rows
                self._unfinished -= rows

    def _copy(self, rows: int, branches: int) -> None:
        self.copied += rows * (branches - 1)
        self._to_send += rows * branches

    def finish(self, packet: Packet, *, dead: int = 0, dropped: int | None = None) -> None:
        """A transform is done with a packet: ``dead`` of its rows are dead letters, ``dropped`` were filtered.

        Where ``dropped`` is not known, it is what is missing from the output. Settles the packet.
        """
        with self._ledger.settling():
            self._consumed += len(packet)
            self._dead += dead
            surplus = self._unfinished + dead - len(packet)
            filtered = max(0, -surplus, dropped or 0)
            self._settled_filtered += filtered
            self._settled_added += surplus + filtered
            self._unfinished = 0
            self._batches += 1
            self.since = None
            packet.settle()

    def keep(self, dead: int = 0) -> None:
        """A buffering transform has put a packet aside; its outcome is told by `release`."""
        with self._ledger.settling():
            self._dead += dead
            self._unfinished = 0
            self._batches += 1
            self.since = None

    def release(self, packet: Packet) -> None:
        """A buffering transform will make nothing more of a packet. Settles it."""
        with self._ledger.settling():
            self._consumed += len(packet)
            packet.settle()

    def lose(self, packet: Packet) -> None:
        """The rows failed for good; they are dead letters on disk, or dropped on purpose. Settles them."""
        with self._ledger.settling():
            self._consumed += len(packet)
            self._dead += len(packet)
            self.since = None
            packet.settle()

    def deliver(self, packet: Packet) -> None:
        """A sink has written a packet durably. Settles it."""
        with self._ledger.settling():
            self._consumed += len(packet)
            self._delivered += len(packet)
            self._batches += 1
            self.since = None
            packet.settle()

    def counts(self) -> Counts:
        filtered, added = self._settled_filtered, self._settled_added + max(0, self._unfinished - self.open)
        if self.buffers:
            surplus = self._emitted + self._dead - self._consumed
            filtered, added = max(0, -surplus), max(0, surplus)
        return Counts(
            entered=self.taken,
            read=self.read,
            emitted=self._emitted,
            sent=self.sent,
            filtered=filtered,
            added=added,
            copied=self.copied,
            dead=self._dead,
            delivered=self._delivered,
            held=self.held,
            batches=self._batches,
        )

    @property
    def open(self) -> int:
        """Rows taken whose outcome is not known yet."""
        return self.taken + self.read - self._consumed

    @property
    def held(self) -> int:
        """Rows in this worker's hands: taken with nothing made of them yet, and made but not handed over.

        A row that is being handed over is one row, not one taken and one made.
        """
        made = 0 if self.buffers else self._unfinished
        return max(0, self.open - made) + self._to_send


class ChannelAccount:
    """What the channel of one stage tells a worker's account: `etlcore.runtime.channel.Account`."""

    __slots__ = ("_account", "_stage")

    def __init__(self, account: Account, stage: str) -> None:
        self._account = account
        self._stage = stage

    def sent(self, rows: int) -> None:
        self._account.put(rows, self._stage)

    def took(self, packet: Packet) -> None:
        self._account.took(packet)


class Ledger:
    """All accounts of a run, by stage, and the lock that makes a settlement one step."""

    def __init__(self, primitives: Primitives = THREADS) -> None:
        self.now = primitives.now
        self._lock = primitives.lock()
        self._frozen = False
        self._stages: dict[str, list[Account]] = {}

    def account(self, stage: str, *, buffers: bool = False) -> Account:
        account = Account(self, buffers=buffers)
        self._stages.setdefault(stage, []).append(account)
        return account

    def settling(self) -> _Settling:
        """Guards one settlement; raises Frozen on entry once the ledger is closed."""
        return _Settling(self, self._lock)

    def freeze(self) -> None:
        """Close the books. Whoever settles from now on is told `Frozen`, and the rows stay abandoned."""
        with self._lock:
            self._frozen = True

    @property
    def frozen(self) -> bool:
        return self._frozen

    def counts(self, stage: str) -> Counts:
        """The sum over a stage's workers. Exact once the channels are abandoned and the ledger is frozen, or the
        workers have ended; before that, a picture good enough to look at."""
        total = Counts()
        for account in self._stages.get(stage, ()):
            total += account.counts()
        return total

    def open_rows(self) -> int:
        """Rows that some worker took and did not finish; what it made of them may be further down already."""
        return sum(account.open for accounts in self._stages.values() for account in accounts)

    def sent_to(self, stage: str) -> int:
        """Copies that the channel of ``stage`` has taken, as its senders counted them."""
        return sum(a.sent_to.get(stage, 0) for accounts in self._stages.values() for a in accounts)

    def settled_rows(self) -> int:
        """A number that rises with every settlement anywhere: the sign that the run still moves."""
        return sum(a._consumed + a.sent for accounts in self._stages.values() for a in accounts)


class _Settling:
    __slots__ = ("_ledger", "_lock")

    def __init__(self, ledger: Ledger, lock: Lock) -> None:
        self._ledger = ledger
        self._lock = lock

    def __enter__(self) -> None:
        self._lock.__enter__()
        if self._ledger._frozen:
            self._lock.__exit__(None, None, None)
            raise Frozen

    def __exit__(self, *exc: object) -> None:
        self._lock.__exit__(None, None, None)
