"""A test of the models: what they model is broken on purpose, and they must notice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from etlcore.batch import Batch
from etlcore.runtime import keys
from etlcore.runtime.barrier import DrainBarrier, Sequencer
from etlcore.runtime.channel import Channel, EndOfChannel, NoReceivers, Sender
from etlcore.runtime.ledger import Account, Ledger
from etlcore.runtime.packet import Packet, Segment
from etlcore.runtime.receipts import Receipt, Tracker
from etlcore.spec.model import Take
from tests.runtime import test_channel_model, test_receipts_model
from tests.runtime.effort import one_failure
from tests.runtime.test_barrier_model import BarrierModel, SequencerModel
from tests.runtime.test_channel_model import ChannelModel, ColumnChannelModel
from tests.runtime.test_ledger_model import LedgerModel
from tests.runtime.test_receipts_model import ReceiptsModel, VouchedModel

Patch = pytest.MonkeyPatch
Model = type[RuleBasedStateMachine]

NOTICED = (AssertionError, EndOfChannel, pytest.fail.Exception)
"""What a model raises; the last where it misses an exception."""

MUTATIONS: dict[str, tuple[Model, Callable[[Patch], None]]] = {}


def mutation(model: Model) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    def add(apply: Callable[[Patch], None]) -> Callable[[Patch], None]:
        MUTATIONS[apply.__name__.replace("_", " ")] = model, apply
        return apply

    return add


# The channel


@mutation(ChannelModel)
def a_channel_takes_one_row_too_many(patch: Patch) -> None:
    room = Channel._room
    patch.setattr(Channel, "_room", lambda self: room(self) or int(self._rows == self._bounds.rows))


@mutation(ChannelModel)
def a_channel_does_not_count_bytes(patch: Patch) -> None:
    patch.setattr(Channel, "_room", lambda self: self._bounds.rows - self._rows)


@mutation(ColumnChannelModel)
def bytes_stay_when_rows_leave(patch: Patch) -> None:
    def leave(self: Channel, lane: Any, packet: Packet) -> None:
        lane.rows -= len(packet)
        self._rows -= len(packet)

    patch.setattr(Channel, "_leave", leave)


@mutation(ChannelModel)
def a_channel_ends_one_sender_early(patch: Patch) -> None:
    def check_open(self: Channel) -> None:
        self._check_abandoned()
        if self._senders <= 1:
            raise EndOfChannel

    patch.setattr(Channel, "_check_open", check_open)


@mutation(ChannelModel)
def a_sender_that_closes_twice_counts_twice(patch: Patch) -> None:
    def close(self: Sender) -> None:
        self._closed = True
        self._channel._sender_left()

    patch.setattr(Sender, "close", close)


@mutation(ChannelModel)
def what_is_queued_is_lost_when_the_last_sender_leaves(patch: Patch) -> None:
    receive = Channel._receive

    def forgetful(self: Channel, *args: Any) -> Any:
        if self._senders == 0:
            raise EndOfChannel
        return receive(self, *args)

    patch.setattr(Channel, "_receive", forgetful)


@mutation(ChannelModel)
def a_waiting_sender_is_not_told_of_room(patch: Patch) -> None:
    take = Channel._take

    def silent(self: Channel, *args: Any) -> Any:
        waking = self._has_room.notify_all
        self._has_room.notify_all = lambda: setattr(self._has_room, "notify_all", waking)  # type: ignore[method-assign]
        return take(self, *args)

    patch.setattr(Channel, "_take", silent)


@mutation(ChannelModel)
def a_waiting_sender_is_not_told_that_nobody_receives(patch: Patch) -> None:
    def left(self: Channel, lane: Any) -> None:
        with self._lock:
            self._receivers -= 1

    patch.setattr(Channel, "_receiver_left", left)


@mutation(ChannelModel)
def a_waiting_receiver_is_not_told_of_the_end(patch: Patch) -> None:
    def left(self: Channel) -> None:
        with self._lock:
            self._senders -= 1

    patch.setattr(Channel, "_sender_left", left)


@mutation(ChannelModel)
def a_sender_gets_back_all_of_its_rows(patch: Patch) -> None:
    send = Channel._send

    def generous(self: Channel, packet: Packet, *args: Any) -> Any:
        try:
            return send(self, packet, *args)
        except NoReceivers:
            raise NoReceivers(packet) from None

    patch.setattr(Channel, "_send", generous)


@mutation(ChannelModel)
def one_more_row_than_asked_for(patch: Patch) -> None:
    take = Channel._take
    patch.setattr(
        Channel,
        "_take",
        lambda self, lane, asked: take(
            self, lane, asked if asked.rows is None else Take(asked.rows + 1, asked.bytes, asked.seconds)
        ),
    )


@mutation(ChannelModel)
def the_last_row_comes_first(patch: Patch) -> None:
    def take(self: Channel, lane: Any, asked: object) -> Packet:
        packet, _ = lane.packets.pop()
        self._leave(lane, packet)
        return packet  # type: ignore[no-any-return]

    patch.setattr(Channel, "_take", take)


@mutation(ChannelModel)
def refused_rows_are_nobodys(patch: Patch) -> None:
    patch.setattr(Channel, "_refuse", lambda self, packet, account: None)


@mutation(ChannelModel)
def a_lane_takes_the_keys_of_another(patch: Patch) -> None:
    honest = keys.lane_of
    patch.setattr(keys, "lane_of", lambda value, lanes: (honest(value, lanes) + (value == 3)) % lanes)
    patch.setattr(test_channel_model, "lane_of", honest)


# Receipts


@mutation(ReceiptsModel)
def the_watermark_skips_a_gap(patch: Patch) -> None:
    def finish(self: Tracker, receipt: Receipt) -> None:
        self.rows_settled += receipt.rows
        if receipt.position is not None and receipt in self._open[receipt.position.partition]:
            self._open[receipt.position.partition].remove(receipt)
            self._advance(receipt)

    patch.setattr(Tracker, "_finish", finish)


@mutation(ReceiptsModel)
def what_was_read_is_committed(patch: Patch) -> None:
    patch.setattr(Tracker, "advanced", lambda self: dict(self._last))


@mutation(ReceiptsModel)
def a_commit_takes_what_came_in_the_meantime_for_committed(patch: Patch) -> None:
    def committed(self: Tracker, positions: dict[str, Any]) -> None:
        for partition in positions:
            self._reached[partition] = self._advanced.pop(partition, None)

    patch.setattr(Tracker, "committed", committed)


@mutation(ReceiptsModel)
def a_lost_partition_is_still_committed(patch: Patch) -> None:
    patch.setattr(Tracker, "forget", lambda self, partition: None)


@mutation(ReceiptsModel)
def a_frozen_tracker_still_counts(patch: Patch) -> None:
    def settle(self: Tracker, receipt: Receipt) -> None:
        with self._changed:
            receipt._holds -= 1
            if receipt._holds == 0:
                self._finish(receipt)

    patch.setattr(Tracker, "_settle", settle)


@mutation(ReceiptsModel)
def splitting_takes_no_hold(patch: Patch) -> None:
    split = Packet.split

    def without(self: Packet, rows: int) -> tuple[Packet, Packet]:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(Receipt, "hold", lambda self, times=1: None)
            return split(self, rows)

    patch.setattr(Packet, "split", without)


@mutation(ReceiptsModel)
def joining_forgets_the_receipts_of_the_second(patch: Patch) -> None:
    def join(packets: list[Packet]) -> Packet:
        first, *others = packets
        for packet in others:
            packet.settle()
        rows = sum(map(len, packets)) - sum(segment.rows for segment in first.segments[:-1])
        last = Segment(rows, first.segments[-1].receipts)
        return Packet(Batch.concat([packet.batch for packet in packets]), [*first.segments[:-1], last])

    patch.setattr(Packet, "join", staticmethod(join))


@mutation(ReceiptsModel)
def fan_out_takes_no_hold(patch: Patch) -> None:
    patch.setattr(Packet, "hold", lambda self: Packet(self.batch, self.segments))


@mutation(ReceiptsModel)
def dealing_out_by_key_keeps_the_whole_packets_holds(patch: Patch) -> None:
    route_by_key = keys.route_by_key

    def keeping(column: str, lanes: int) -> Any:
        def route(packet: Packet) -> Any:
            return route_by_key(column, lanes)(packet.hold())

        return route

    patch.setattr(test_receipts_model, "route_by_key", keeping)


@mutation(ReceiptsModel)
def what_is_made_inherits_only_the_first_receipt(patch: Patch) -> None:
    receipts = Packet.receipts
    patch.setattr(Packet, "receipts", lambda self: dict(list(receipts(self).items())[:1]))


@mutation(ReceiptsModel)
def taken_rows_stand_for_the_position_before(patch: Patch) -> None:
    def take(self: Packet, indices: list[int]) -> Packet:
        segments = [Segment(len(indices), self.segments[0].receipts)]
        for receipt in self.segments[0].receipts:
            receipt.hold()
        return Packet(self.batch.take(indices), segments)

    patch.setattr(Packet, "take", take)


@mutation(VouchedModel)
def nobody_waits_for_the_sinks_word(patch: Patch) -> None:
    def advance(self: Tracker, receipt: Receipt) -> None:
        assert receipt.position is not None
        self._advanced[receipt.position.partition] = receipt.position.value

    patch.setattr(Tracker, "_advance", advance)


@mutation(VouchedModel)
def a_part_reaches_one_position_too_far(patch: Patch) -> None:
    reach = Tracker.reach

    def further(self: Tracker, holds: Any) -> Any:
        found = reach(self, holds)
        for line in found:
            line.limit = min(line.limit + 1, len(line.receipts))
        return found

    patch.setattr(Tracker, "reach", further)


# The barrier and the sequencer


@mutation(BarrierModel)
def the_barrier_lets_through_one_worker_early(patch: Patch) -> None:
    def wait(self: DrainBarrier) -> None:
        with self._changed:
            while self._missing > 1 and not self._abandoned:
                self._changed.wait()

    patch.setattr(DrainBarrier, "wait", wait)


@mutation(BarrierModel)
def the_last_to_arrive_wakes_nobody(patch: Patch) -> None:
    def arrive(self: DrainBarrier) -> bool:
        with self._changed:
            self._missing -= 1
            return self._missing == 0

    patch.setattr(DrainBarrier, "arrive", arrive)


@mutation(BarrierModel)
def an_abandoned_barrier_is_passed(patch: Patch) -> None:
    wait = DrainBarrier.wait

    def quietly(self: DrainBarrier) -> None:
        try:
            wait(self)
        except Exception:  # noqa: BLE001 - that is what is wrong with it
            return

    patch.setattr(DrainBarrier, "wait", quietly)


@mutation(SequencerModel)
def the_sequencer_is_off_by_one(patch: Patch) -> None:
    def wait_turn(self: Sequencer, number: int) -> None:
        with self._changed:
            while self._next < number - 1 and not self._abandoned:
                self._changed.wait()

    patch.setattr(Sequencer, "wait_turn", wait_turn)


@mutation(SequencerModel)
def what_is_done_out_of_turn_is_forgotten(patch: Patch) -> None:
    def done(self: Sequencer, number: int) -> None:
        with self._changed:
            if number == self._next:
                self._next += 1
            self._changed.notify_all()

    patch.setattr(Sequencer, "done", done)


# The ledger


@mutation(LedgerModel)
def a_copy_is_not_counted(patch: Patch) -> None:
    def copy(self: Account, rows: int, branches: int) -> None:
        self._to_send += rows * branches

    patch.setattr(Account, "_copy", copy)


@mutation(LedgerModel)
def a_row_that_is_handed_over_is_held_twice(patch: Patch) -> None:
    patch.setattr(Account, "held", property(lambda self: self.open + self._to_send))


@mutation(LedgerModel)
def dead_rows_count_as_filtered_too(patch: Patch) -> None:
    finish = Account.finish

    def twice(self: Account, packet: Packet, *, dead: int = 0, dropped: int | None = None) -> None:
        finish(self, packet, dead=dead, dropped=dropped)
        self._settled_filtered += dead

    patch.setattr(Account, "finish", twice)


@mutation(LedgerModel)
def a_closed_ledger_settles(patch: Patch) -> None:
    patch.setattr(Ledger, "freeze", lambda self: None)


@mutation(LedgerModel)
def what_is_lost_counts_as_delivered(patch: Patch) -> None:
    patch.setattr(Account, "lose", Account.deliver)


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_model_notices(name: str, monkeypatch: Patch) -> None:
    model, apply = MUTATIONS[name]
    if hasattr(model, "patience"):
        monkeypatch.setattr(model, "patience", 0.3)  # it is to fail, and may do so soon
    apply(monkeypatch)
    with pytest.raises(NOTICED):
        run_state_machine_as_test(model, settings=one_failure(2000, 40))
