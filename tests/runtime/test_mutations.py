"""A test of the tests: the runtime is broken on purpose, and the oracle must notice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from etlcore.batch import Batch
from etlcore.runtime import attempts, keys
from etlcore.runtime.barrier import DrainBarrier, Sequencer
from etlcore.runtime.channel import Channel, EndOfChannel, Sender
from etlcore.runtime.host import Output
from etlcore.runtime.ledger import Account, ChannelAccount, Ledger
from etlcore.runtime.packet import Packet, Segment
from etlcore.runtime.receipts import Receipt, Tracker
from etlcore.runtime.sink import SinkWorker
from etlcore.runtime.transactional import TransactionalSinkWorker
from etlcore.runtime.transform import TransformWorker
from etlcore.runtime.worker import StageWorker
from etlcore.spec.model import OnError, Queue, Take
from etlcore.state import StateStore
from tests.runtime.exploring import every_trace
from tests.runtime.lab import run_seed
from tests.runtime.plans import PLANS
from tests.runtime.stages import Do, Plan
from tests.runtime.test_drain_orders import drains

Patch = pytest.MonkeyPatch
SEEDS = 40


@dataclass(frozen=True)
class Mutation:
    """A way to break the runtime, and a plan whose run it must spoil within a few seeds."""

    apply: Callable[[Patch], None]
    plan: Plan
    options: dict[str, Any] = field(default_factory=dict)


MUTATIONS: dict[str, Mutation] = {}


def mutation(plan: Plan, **options: Any) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    def add(apply: Callable[[Patch], None]) -> Callable[[Patch], None]:
        MUTATIONS[apply.__name__.replace("_", " ")] = Mutation(apply, plan, options)
        return apply

    return add


def _chain(*middle: Do, sink: dict[str, Any] | None = None, **plan: Any) -> Plan:
    stages = [Do("s", "source"), *middle]
    stages.append(Do("k", "sink", (stages[-1].name,), **(sink or {})))
    return Plan(tuple(stages), **plan)


_FAN_OUT = Plan(
    (Do("s", "source"), Do("j", "sink", ("s",), queue=Queue(rows=3)), Do("k", "sink", ("s",), slow=1.0)), marks=1
)


@mutation(PLANS["chain"])
def what_was_queued_is_committed(patch: Patch) -> None:
    patch.setattr(Tracker, "advanced", lambda self: dict(self._last))


@mutation(_chain(Do("t", "transform", ("s",), workers=3), sink={"take": Take(rows=1), "slow": 1.0}, marks=1, batch=1))
def the_watermark_skips_a_gap(patch: Patch) -> None:
    def finish(self: Tracker, receipt: Receipt) -> None:
        self.rows_settled += receipt.rows
        if receipt.position is not None:
            self._advanced[receipt.position.partition] = receipt.position.value
        self._changed.notify_all()

    patch.setattr(Tracker, "_finish", finish)


@mutation(_chain(sink={"fails": "p0/5"}))
def a_sink_that_raises_settles(patch: Patch) -> None:
    write = SinkWorker._write

    def settling(self: SinkWorker, packet: Packet) -> None:
        try:
            write(self, packet)
        except Exception:
            self.account.deliver(packet)
            raise

    patch.setattr(SinkWorker, "_write", settling)


@mutation(_chain(Do("t", "transform", ("s",), fails="p0/5"), marks=2), again=True)
def a_transform_that_raises_settles(patch: Patch) -> None:
    handle = TransformWorker._handle

    def settling(self: TransformWorker, number: int, packet: Packet) -> None:
        try:
            handle(self, number, packet)
        except Exception:
            self.account.finish(packet)
            raise

    patch.setattr(TransformWorker, "_handle", settling)


@mutation(_chain(sink={"take": Take(rows=6), "slow": 1.0}, marks=1))
def joining_drops_the_receipts_of_the_second(patch: Patch) -> None:
    def join(packets: Sequence[Packet]) -> Packet:
        rows = sum(map(len, packets))
        return Packet(Batch.concat([p.batch for p in packets]), [Segment(rows, packets[0].segments[0].receipts)])

    patch.setattr(Packet, "join", staticmethod(join))


@mutation(_chain(sink={"queue": Queue(rows=3)}))
def splitting_takes_no_hold(patch: Patch) -> None:
    split = Packet.split

    def without(self: Packet, rows: int) -> tuple[Packet, Packet]:
        with patch.context() as inner:
            inner.setattr(Receipt, "hold", lambda self, times=1: None)
            return split(self, rows)

    patch.setattr(Packet, "split", without)


@mutation(_FAN_OUT)
def fan_out_takes_no_hold(patch: Patch) -> None:
    patch.setattr(Packet, "hold", lambda self: Packet(self.batch, self.segments))


@mutation(_FAN_OUT)
def fan_out_forgets_a_branch(patch: Patch) -> None:
    copies = Output._copies
    patch.setattr(Output, "_copies", staticmethod(lambda packet, branches: copies(packet, branches[:1])))


@mutation(PLANS["diamond"])
def a_channel_closes_one_sender_early(patch: Patch) -> None:
    def check_open(self: Channel) -> None:
        self._check_abandoned()
        if self._senders <= 1:
            raise EndOfChannel

    patch.setattr(Channel, "_check_open", check_open)


@mutation(PLANS["chain"])
def a_channel_that_closes_forgets_its_queue(patch: Patch) -> None:
    receive = Channel._receive

    def forgetful(self: Channel, *args: Any) -> Any:
        if self._senders == 0:
            raise EndOfChannel
        return receive(self, *args)

    patch.setattr(Channel, "_receive", forgetful)


@mutation(PLANS["queues of one row"])
def nobody_is_told_of_room(patch: Patch) -> None:
    take = Channel._take

    def silent(self: Channel, *args: Any) -> Any:
        patch.setattr(self._has_room, "notify_all", lambda: None)
        return take(self, *args)

    patch.setattr(Channel, "_take", silent)


@mutation(PLANS["queues of one row"])
def a_channel_does_not_keep_its_bound(patch: Patch) -> None:
    patch.setattr(Channel, "_room", lambda self: 10)


@mutation(PLANS["a buffer"])
def the_flush_is_lost(patch: Patch) -> None:
    made = TransformWorker._made
    patch.setattr(
        TransformWorker,
        "_made",
        lambda self, result, method: iter(()) if method == "flush" else made(self, result, method),
    )


@mutation(PLANS["a buffer"])
def the_output_closes_before_the_flush(patch: Patch) -> None:
    drain = TransformWorker._drain

    def early(self: TransformWorker) -> None:
        self._output.close()
        drain(self)

    patch.setattr(TransformWorker, "_drain", early)


@mutation(PLANS["a buffer"])
def what_a_buffer_keeps_is_settled(patch: Patch) -> None:
    keep = Account.keep

    def settling(self: Account, dead: int = 0) -> None:
        keep(self, dead)

    patch.setattr(Account, "keep", settling)
    handle = TransformWorker._complete

    def complete(self: TransformWorker, packet: Packet, made: Any) -> None:
        packet.settle()
        for segment in packet.segments:  # so that settling it again does no harm
            for receipt in segment.receipts:
                receipt._holds += 1
        handle(self, packet, made)

    patch.setattr(TransformWorker, "_complete", complete)


@mutation(PLANS["chain"])
def a_delivered_row_counts_twice(patch: Patch) -> None:
    deliver = Account.deliver

    def twice(self: Account, packet: Packet) -> None:
        deliver(self, packet)
        self._delivered += 1

    patch.setattr(Account, "deliver", twice)


@mutation(PLANS["chain"])
def a_row_that_is_taken_counts_twice(patch: Patch) -> None:
    took = ChannelAccount.took

    def twice(self: ChannelAccount, packet: Packet) -> None:
        took(self, packet)
        self._account.taken += 1

    patch.setattr(ChannelAccount, "took", twice)


@mutation(PLANS["ordered"])
def the_sequencer_is_off_by_one(patch: Patch) -> None:
    def wait_turn(self: Sequencer, number: int) -> None:
        with self._changed:
            while self._next < number - 1:
                self._changed.wait()

    patch.setattr(Sequencer, "wait_turn", wait_turn)


@mutation(PLANS["keyed"])
def keys_are_dealt_out_in_turn(patch: Patch) -> None:
    counter = iter(range(10**9))
    patch.setattr(keys, "lane_of", lambda value, lanes: next(counter) % lanes)


@mutation(PLANS["diamond"])
def a_dead_letter_is_settled_before_it_is_on_disk(patch: Patch) -> None:
    patch.setattr(TransformWorker, "_bury", lambda self, packets: len(self.context.rejected))


@mutation(_chain(sink={"slow": 0.05}, rows=1), stops=2, aborts=True)
def the_ledger_is_never_frozen(patch: Patch) -> None:
    patch.setattr(Ledger, "freeze", lambda self: None)


@mutation(_chain(sink={"fails": "p0/3", "queue": Queue(rows=1)}, marks=1, partitions=2))
def rows_for_a_stage_that_failed_are_settled(patch: Patch) -> None:
    refuse = Sender.refuse

    def settling(self: Sender, packet: Packet, *args: Any) -> None:
        refuse(self, packet, *args)
        packet.settle()

    patch.setattr(Sender, "refuse", settling)


_EXACT = _chain(
    sink={"transactional": True, "on_error": OnError("dead_letter"), "bad": 4, "names_rows": True, "slow": 0.5},
    marks=1,
    rows=14,  # so that the last one is no bad one: then it would not matter on which side of the position it is
    commit_interval=0.01,
)


def _positions_moved(patch: Patch, by: int) -> None:
    positions = TransactionalSinkWorker._positions
    moved = lambda self: {name: at + by for name, at in positions(self).items()}  # noqa: E731
    patch.setattr(TransactionalSinkWorker, "_positions", moved)


@mutation(_EXACT, stops=2, aborts=True, again=True)
def a_transaction_passes_one_row_too_many(patch: Patch) -> None:
    _positions_moved(patch, 1)


@mutation(_EXACT, stops=2, aborts=True, again=True)
def a_transaction_leaves_its_last_row_before_it(patch: Patch) -> None:
    _positions_moved(patch, -1)


@mutation(PLANS["chain"])
def a_source_is_opened_first(patch: Patch) -> None:
    patch.setattr(StageWorker, "_await_downstream", lambda self: True)


@mutation(_chain(sink={"on_error": OnError("drop"), "bad": 4}, marks=1))
def good_rows_are_given_up_with_the_bad(patch: Patch) -> None:
    def narrow(self: Any, packet: Packet, error: Exception) -> None:
        self._lose(packet, error, [str(error)] * len(packet))

    patch.setattr(attempts.Attempts, "_narrow", narrow)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("etlcore")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


def _spoiled(plan: Plan, store: StateStore, options: dict[str, Any]) -> bool:
    """The oracle objects to a run of one of the seeds."""
    for seed in range(SEEDS):
        try:
            run_seed(plan, seed, store, **options)
        except AssertionError:
            return True
    return False


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_oracle_notices(name: str, store: StateStore, monkeypatch: Patch) -> None:
    broken = MUTATIONS[name]
    for seed in range(3):
        run_seed(broken.plan, seed, store, name="whole", **broken.options)
    broken.apply(monkeypatch)
    assert _spoiled(broken.plan, store, broken.options), f"nobody noticed that {name}"


def test_every_ordering_includes_the_one_in_which_the_barrier_lets_a_worker_through_early(
    store: StateStore, monkeypatch: Patch
) -> None:
    def wait(self: DrainBarrier) -> None:
        with self._changed:
            while self._missing > 1:
                self._changed.wait()

    monkeypatch.setattr(DrainBarrier, "wait", wait)
    with pytest.raises(AssertionError, match="may be flushed before"):
        every_trace(drains("two workers, up to their flush", store), limit=2000)


def test_every_ordering_includes_the_one_in_which_a_channel_closes_early(store: StateStore, monkeypatch: Patch) -> None:
    MUTATIONS["a channel closes one sender early"].apply(monkeypatch)
    with pytest.raises(AssertionError, match=r"may come before|was told before|came to .* without"):
        every_trace(drains("the diamond", store), limit=2000)
