"""Every ordering of a small graph's drain: one source, two transforms joined into one sink, and a second sink.

Nothing here is left to chance. Each scenario is run once for every trace (see `tests.runtime.exploring`), and what is
asserted is that one event *happens before* another in that trace: so it holds in every ordering, not in those seen.

The locks of the run's log of events, of the ledger and of the tracker count as independent: two entries in the log may
stand either way unless something else orders them, which is what is asserted; the ledger's accounts are one for each
worker and nothing is frozen here; and what the tracker counts decides only when the source itself ends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from itertools import pairwise

import pytest

from etlcore.runtime.report import make_report
from etlcore.runtime.run import Event, Run
from etlcore.state import StateStore
from tests.runtime.exploring import Order, every_trace
from tests.runtime.lab import LIFECYCLE, Lab, inputs_of
from tests.runtime.plans import diamond
from tests.runtime.scheduling import Note, Scheduler
from tests.runtime.stages import Do, Plan

_SOURCE = Do("s", "source")
_FLUSHING = tuple(replace(do, buffers=5) if do.name == "a" else do for do in diamond())

DRAINS = {
    "the diamond": Plan(diamond(), rows=2, batch=2, endless=True),
    "the diamond, with a row that comes out of the flush": Plan(_FLUSHING, rows=1, batch=1, endless=True),
    "a chain, with its only row on the way": Plan(
        (_SOURCE, Do("t", "transform", ("s",)), Do("k", "sink", ("t",))), rows=1, batch=1
    ),
    "two workers of a sink": Plan((_SOURCE, Do("k", "sink", ("s",), workers=2)), rows=1, batch=1, endless=True),
    "two workers, up to their flush": Plan(
        (_SOURCE, Do("t", "transform", ("s",), workers=2)), rows=1, batch=1, endless=True
    ),
}


_END = {"two workers, up to their flush": ("t", "flushed")}
"""Nothing is enumerated beyond this event."""


def drains(name: str, store: StateStore) -> Callable[[Scheduler], Collection[int]]:
    """A scenario for `every_trace`: run the plan, and explore from where its rows are through, or from the first."""
    plan = DRAINS[name]

    def scenario(scheduler: Scheduler) -> Collection[int]:
        lab = Lab(plan, scheduler, store, "drain")
        independent: list[int] = []

        def told(event: Event) -> None:
            if scheduler.exploring:
                scheduler.note(event)
            if (event.stage, event.what) == _END.get(name):
                scheduler.exploring = False

        def main() -> None:
            scheduler.exploring = False
            pipeline = plan.pipeline("drain", store.directory, lab)
            run = lab.run = Run(pipeline, store, primitives=scheduler, on_event=told)
            independent.extend([scheduler.thing(run._lock), scheduler.thing(run.ledger._lock)])
            independent.extend(scheduler.thing(source.tracker._changed) for source in run.sources())
            lab.gate = None if plan.endless else scheduler.flag()
            run.start()
            scheduler.sleep(1)  # until nobody has anything left to do
            scheduler.exploring = True
            if lab.gate is None:
                run.stop("enough")
            else:
                lab.gate.set()
            run.join(100)
            assert run.done
            lab.check(make_report(run, []))

        scheduler.run(main)
        in_order(plan, scheduler, Order(scheduler.history, independent), whole=name not in _END)
        return independent

    return scenario


def in_order(plan: Plan, scheduler: Scheduler, order: Order, *, whole: bool) -> None:
    """Each event of the drain happens before those that must follow it, whatever the ordering."""
    told = [note for note in scheduler.notes if isinstance(note.what, Event)]
    place: dict[tuple[str, str], Note] = {(note.what.stage, note.what.what): note for note in told}

    def before(first: tuple[str, str], second: tuple[str, str]) -> None:
        assert order.before(place[first], place[second]), f"{second} may come before {first}"

    for do in plan.stages:
        points = [point for point in LIFECYCLE[1:] if (do.name, point) in place]
        if whole:
            left_out = {"source": {"flushed"}, "sink": {"flushed", "output closed"}}.get(do.kind, set())
            assert set(points) == set(LIFECYCLE[1:]) - left_out
        for first, second in pairwise(points):
            before((do.name, first), (do.name, second))
        for upstream in inputs_of(do):
            before((upstream, "output closed"), (do.name, "input closed"))
            before((upstream, "output closed"), (do.name, "drained"))
    for note in scheduler.notes:
        if isinstance(note.what, tuple):
            stage, _, worker = note.what
            drained = order.before(place[stage, "drained"], note)
            assert drained, f"worker {worker} of {stage} may be flushed before all of its workers have drained"


@pytest.mark.parametrize("name", DRAINS)
def test_every_ordering_drains_in_topological_order(name: str, store: StateStore) -> None:
    runs = every_trace(drains(name, store))
    assert runs > 10, "nothing was enumerated"
