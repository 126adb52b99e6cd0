"""The drain barrier and the sequencer against models: a number of workers, and a set of numbers.

Whoever waits does so in a thread of its own. After every step the model says who must have gone on, and that is waited
for; who must still wait is looked at after that, and again after every later step.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from etlcore.runtime.barrier import DrainBarrier, Sequencer
from etlcore.runtime.channel import Abandoned
from tests.runtime.effort import examples
from tests.runtime.waiting import Waiting

PATIENCE = 60.0


class BarrierModel(RuleBasedStateMachine):
    patience = PATIENCE

    @initialize(parties=st.integers(1, 4))
    def build(self, parties: int) -> None:
        self.barrier = DrainBarrier(parties)
        self.missing = parties
        self.arrived = 0
        """Workers that have arrived and do not wait yet."""
        self.waiting: list[Waiting] = []
        self.abandoned = False

    def teardown(self) -> None:
        if hasattr(self, "barrier"):
            self.barrier.abandon()

    @precondition(lambda self: self.missing)
    @rule()
    def arrive(self) -> None:
        self.missing -= 1
        self.arrived += 1
        assert self.barrier.arrive() == (self.missing == 0), "the last one is told so, and nobody else"

    @precondition(lambda self: self.arrived)
    @rule()
    def wait(self) -> None:
        self.arrived -= 1
        self.waiting.append(Waiting(self.barrier.wait))

    @rule(which=st.integers(0, 9))
    def abandon(self, which: int) -> None:
        if which == 9:
            self.barrier.abandon()
            self.abandoned = True

    @invariant()
    def nobody_passes_before_everybody_has_arrived(self) -> None:
        waiting = getattr(self, "waiting", [])
        if not waiting:
            return
        if self.missing and not self.abandoned:
            assert not any(call.ended(0) for call in waiting)
            return
        for call in waiting:
            assert call.ended(self.patience), "a worker waits for ever"
            assert call.result is None
            assert isinstance(call.error, Abandoned) if self.abandoned else call.error is None
        waiting.clear()


class SequencerModel(RuleBasedStateMachine):
    patience = PATIENCE

    @initialize()
    def build(self) -> None:
        self.sequencer = Sequencer()
        self.taken = 0
        self.working: list[int] = []
        """Numbers that were taken and neither wait for their turn nor are done."""
        self.waiting: dict[int, Waiting] = {}
        self.turn: int | None = None
        """The number whose turn has come, and that is not done."""
        self.done: set[int] = set()
        self.abandoned = False

    def teardown(self) -> None:
        if hasattr(self, "sequencer"):
            self.sequencer.abandon()

    def first(self) -> int:
        """The first number that is not done."""
        return next(number for number in range(self.taken + 1) if number not in self.done)

    @precondition(lambda self: len(self.working) + len(self.waiting) < 5)
    @rule()
    def take(self) -> None:
        self.working.append(self.taken)
        self.taken += 1

    @precondition(lambda self: self.working)
    @rule(pick=st.integers(0, 11))
    def wait_turn(self, pick: int) -> None:
        number = self.working.pop(pick % len(self.working))
        self.waiting[number] = Waiting(lambda: self.sequencer.wait_turn(number))

    @precondition(lambda self: self.turn is not None)
    @rule()
    def hand_over(self) -> None:
        number, self.turn = self.turn, None
        assert number is not None
        self.done.add(number)
        self.sequencer.done(number)

    @precondition(lambda self: self.working)
    @rule(pick=st.integers(0, 11))
    def fail(self, pick: int) -> None:
        """It will never be handed over, and nobody needs to wait for it."""
        number = self.working.pop(pick % len(self.working))
        self.done.add(number)
        self.sequencer.done(number)

    @rule(which=st.integers(0, 19))
    def abandon(self, which: int) -> None:
        if which == 19:
            self.sequencer.abandon()
            self.abandoned = True

    @invariant()
    def only_the_first_that_is_not_done_has_its_turn(self) -> None:
        waiting = getattr(self, "waiting", {})
        for number in sorted(waiting):
            call = waiting[number]
            if not self.abandoned and number != self.first():
                assert not call.ended(0), f"{number} went ahead of {self.first()}"
                continue
            assert call.ended(self.patience), f"{number} waits for ever"
            del waiting[number]
            if self.abandoned:
                assert isinstance(call.error, Abandoned)
                self.done.add(number)
                self.sequencer.done(number)  # as a worker does on its way out
            else:
                assert call.error is None
                self.turn = number


TestBarrier: Any = BarrierModel.TestCase
TestBarrier.settings = examples(80, steps=15)
TestSequencer: Any = SequencerModel.TestCase
TestSequencer.settings = examples(80, steps=30)


def test_more_workers_than_the_stage_has_are_a_bug() -> None:
    barrier = DrainBarrier(1)
    assert barrier.arrive()
    with pytest.raises(RuntimeError, match="more workers arrived"):
        barrier.arrive()
