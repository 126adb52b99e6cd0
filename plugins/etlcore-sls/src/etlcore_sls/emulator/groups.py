"""Consumer groups: who consumes which shard, and how far each shard is consumed.

Each shard of a logstore has a lease in each group. A lease moves through five states:

    wait ──► not_alloc ──► already_alloc ◄──► transfer
                                │
                                └──► over (readonly, and its checkpoint is its end)

- wait: the group is ordered and an ancestor of the shard is not over yet
- already_alloc: one consumer holds it, and a heartbeat of that consumer is answered with it
- transfer: chosen to move to another consumer; it moves when the holder's heartbeat no longer names it, or when the
  holder times out; if the next consumer goes away first, the holder keeps it

This is the model that aliyun-log-consumer-java's README describes; it is plain data and a clock handed in, so that
every transition can be tested as a table. What it leaves open (when shards are moved, which, and when an empty readonly
shard is over) is assumed; README.md lists it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from etlcore_sls.emulator import errors


class LeaseState(StrEnum):
    WAIT = "wait"
    NOT_ALLOC = "not_alloc"
    ALREADY_ALLOC = "already_alloc"
    TRANSFER = "transfer"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class ShardFacts:
    """What a group needs to know about a shard: can it still grow, where does it end, and where did it come from."""

    end: int
    readonly: bool = False
    parents: tuple[int, ...] = ()


@dataclass(slots=True)
class Lease:
    """One shard in one group. ``ordered`` is the group's order at the time when the group first saw the shard."""

    shard: int
    ordered: bool = False
    state: LeaseState = LeaseState.NOT_ALLOC
    owner: str = ""
    next_owner: str = ""
    checkpoint: int | None = None
    updated: int = 0
    writer: str = ""

    @property
    def counts_for(self) -> str:
        """The consumer whose load this lease is part of; empty when nobody's."""
        if self.state is LeaseState.TRANSFER:
            return self.next_owner
        return self.owner if self.state is LeaseState.ALREADY_ALLOC else ""


@dataclass(slots=True)
class Consumer:
    """A member of a group: when it was last heard of, and the shards that it said it holds."""

    name: str
    last_heartbeat: float
    held: frozenset[int] = frozenset()


Notify = Callable[..., None]


def _ignore(_kind: str, **_fields: Any) -> None:
    """Nobody is listening."""


class ConsumerGroup:
    """One group. Not thread-safe: the service calls it under its lock.

    ``notify(kind, **fields)`` is told of every transition, for the event log.
    """

    def __init__(self, name: str, timeout: float, order: bool, notify: Notify = _ignore) -> None:
        self.name = name
        self.timeout = timeout
        self.order = order
        self.consumers: dict[str, Consumer] = {}
        self.leases: dict[int, Lease] = {}
        self.changed: set[int] = set()  # leases whose lasting part changed since the service last looked
        self._notify = notify

    def notify_with(self, notify: Notify) -> None:
        """Tell someone else of the transitions from now on."""
        self._notify = notify

    # --- what clients do ---------------------------------------------------------------------------------------------

    def heartbeat(self, name: str, held: Iterable[int], shards: Mapping[int, ShardFacts], now: float) -> list[int]:
        """A consumer reports what it holds and is told what it should hold.

        Raises NotExistConsumerWithBody when an unknown (or timed out) consumer names shards.
        """
        reported = frozenset(held)
        self.refresh(shards, now)
        consumer = self.consumers.get(name)
        if consumer is None:
            if reported:
                raise errors.consumer_unknown_with_shards(name)
            consumer = self.consumers[name] = Consumer(name, now)
            self._notify("consumer_joined", consumer=name)
        consumer.last_heartbeat = now
        consumer.held = reported
        for lease in self._sorted_leases():
            if lease.state is LeaseState.TRANSFER and lease.owner == name and lease.shard not in reported:
                self._hand_over(lease)
        self._balance()
        return [
            lease.shard
            for lease in self._sorted_leases()
            if lease.state is LeaseState.ALREADY_ALLOC and lease.owner == name
        ]

    def write_checkpoint(
        self, shard: int, value: int, consumer: str, force: bool, shards: Mapping[int, ShardFacts], now: float
    ) -> None:
        """Set how far a shard is consumed. Unless forced, only the shard's holder may.

        Raises ShardNotExist, ConsumerNotExist or ConsumerNotMatch.
        """
        self.refresh(shards, now)
        lease = self.leases.get(shard)
        if lease is None:
            raise errors.shard_missing(shard)
        if not force:
            if consumer not in self.consumers:
                raise errors.consumer_missing(consumer)
            if lease.owner != consumer:
                raise errors.consumer_not_match(consumer, shard, lease.owner)
        lease.checkpoint = value
        lease.updated = int(now * 1_000_000)
        lease.writer = consumer
        self.changed.add(shard)
        self.refresh(shards, now)

    def evict(self, name: str) -> bool:
        """Take a consumer out of the group, as its timeout would. False when it is not in the group."""
        if name not in self.consumers:
            return False
        self._remove(name, "consumer_evicted")
        self._balance()
        return True

    def refresh(self, shards: Mapping[int, ShardFacts], now: float) -> None:
        """Bring the leases up to date: consumers that timed out, shards that came, went or were finished."""
        for consumer in list(self.consumers.values()):
            if now - consumer.last_heartbeat > self.timeout:
                self._remove(consumer.name, "consumer_expired")
        self._match_shards(shards)
        for lease in self._sorted_leases():
            self._settle_state(lease, shards)
        self._balance()

    # --- shards ------------------------------------------------------------------------------------------------------

    def _sorted_leases(self) -> list[Lease]:
        return [self.leases[shard] for shard in sorted(self.leases)]

    def _match_shards(self, shards: Mapping[int, ShardFacts]) -> None:
        for shard in [shard for shard in self.leases if shard not in shards]:
            del self.leases[shard]
        for shard in sorted(shards):
            if shard not in self.leases:
                self.leases[shard] = Lease(shard, ordered=self.order)
                self.changed.add(shard)

    def _settle_state(self, lease: Lease, shards: Mapping[int, ShardFacts]) -> None:
        facts = shards[lease.shard]
        finished = facts.readonly and lease.checkpoint is not None and lease.checkpoint >= facts.end
        if finished:
            if lease.state is not LeaseState.OVER:
                lease.state, lease.next_owner = LeaseState.OVER, ""
                self._notify("over", shard=lease.shard, consumer=lease.owner)
            return
        if lease.state is LeaseState.OVER:
            lease.owner = ""
            lease.state = LeaseState.NOT_ALLOC
            self._notify("revived", shard=lease.shard)
        if lease.state in (LeaseState.WAIT, LeaseState.NOT_ALLOC):
            waiting = lease.ordered and self._unfinished_ancestor(lease.shard, shards)
            lease.state = LeaseState.WAIT if waiting else LeaseState.NOT_ALLOC

    def _unfinished_ancestor(self, shard: int, shards: Mapping[int, ShardFacts]) -> bool:
        for parent in shards[shard].parents:
            lease = self.leases.get(parent)
            if lease is None:
                continue
            if lease.state is not LeaseState.OVER or self._unfinished_ancestor(parent, shards):
                return True
        return False

    # --- consumers ---------------------------------------------------------------------------------------------------

    def _remove(self, name: str, kind: str) -> None:
        del self.consumers[name]
        self._notify(kind, consumer=name)
        for lease in self._sorted_leases():
            if lease.state is LeaseState.TRANSFER and lease.next_owner == name:
                lease.state, lease.next_owner = LeaseState.ALREADY_ALLOC, ""
                self._notify("transfer_cancelled", shard=lease.shard, consumer=lease.owner)
            if lease.owner != name:
                continue
            if lease.state is LeaseState.TRANSFER:
                self._hand_over(lease)
                continue
            lease.owner = ""
            if lease.state is LeaseState.ALREADY_ALLOC:
                lease.state = LeaseState.NOT_ALLOC
                self._notify("released", shard=lease.shard, consumer=name)

    def _hand_over(self, lease: Lease) -> None:
        self._notify("released", shard=lease.shard, consumer=lease.owner)
        lease.owner, lease.next_owner, lease.state = lease.next_owner, "", LeaseState.ALREADY_ALLOC
        self._notify("assigned", shard=lease.shard, consumer=lease.owner)

    # --- balance -----------------------------------------------------------------------------------------------------

    def loads(self) -> dict[str, int]:
        """How many shards each consumer has, or is about to have."""
        loads = dict.fromkeys(self.consumers, 0)
        for lease in self.leases.values():
            if lease.counts_for:
                loads[lease.counts_for] += 1
        return loads

    def _balance(self) -> None:
        """Give out what nobody has, then move shards until no two loads differ by more than one."""
        if not self.consumers:
            return
        loads = self.loads()
        for lease in self._sorted_leases():
            if lease.state is LeaseState.NOT_ALLOC:
                lease.owner = min(loads, key=lambda name: loads[name])
                lease.state = LeaseState.ALREADY_ALLOC
                loads[lease.owner] += 1
                self._notify("assigned", shard=lease.shard, consumer=lease.owner)
        while max(loads.values()) - min(loads.values()) > 1:
            lease = self._movable(loads)
            taker = min(loads, key=lambda name: loads[name])
            loads[lease.counts_for] -= 1
            loads[taker] += 1
            self._move(lease, taker)

    def _movable(self, loads: dict[str, int]) -> Lease:
        """The shard to take from the busiest: rather one that is still on its way than one in work, then the newest."""
        heaviest = max(loads.values())
        candidates = [
            lease for lease in self.leases.values() if lease.counts_for and loads[lease.counts_for] == heaviest
        ]
        return max(candidates, key=lambda lease: (lease.state is LeaseState.TRANSFER, lease.shard))

    def _move(self, lease: Lease, taker: str) -> None:
        if lease.owner == taker:
            lease.state, lease.next_owner = LeaseState.ALREADY_ALLOC, ""
            self._notify("transfer_cancelled", shard=lease.shard, consumer=taker)
        else:
            lease.state, lease.next_owner = LeaseState.TRANSFER, taker
            self._notify("transfer", shard=lease.shard, consumer=lease.owner, next=taker)
