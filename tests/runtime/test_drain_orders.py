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
from etlcore.runtime.run import Run
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
    "two workers": Plan((_SOURCE, Do("k", "sink", ("s",), workers=2)), rows=1, batch=1, endless=True),
}


def drains(plan: Plan, store: StateStore) -> Callable[[Scheduler], Collection[int]]:
    """A scenario for `every_trace`: run the plan, and explore from where its rows are through, or from the first."""

    def scenario(scheduler: Scheduler) -> Collection[int]:
        lab = Lab(plan, scheduler, store, "drain")
        independent: list[int] = []

        def main() -> None:
            scheduler.exploring = False
            pipeline = plan.pipeline("drain", store.directory, lab)
            run = lab.run = Run(pipeline, store, primitives=scheduler, on_event=scheduler.note)
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
        in_order(plan, scheduler, Order(scheduler.history, independent))
        return independent

    return scenario


def in_order(plan: Plan, scheduler: Scheduler, order: Order) -> None:
    """Each event of the drain happens before those that must follow it, whatever the ordering."""
    place: dict[tuple[str, str], Note] = {(note.what.stage, note.what.what): note for note in scheduler.notes}

    def before(first: tuple[str, str], second: tuple[str, str]) -> None:
        assert order.before(place[first], place[second]), f"{second} may come before {first}"

    for do in plan.stages:
        points = [point for point in LIFECYCLE[1:] if (do.name, point) in place]
        for first, second in pairwise(points):
            before((do.name, first), (do.name, second))
        for upstream in inputs_of(do):
            before((upstream, "output closed"), (do.name, "input closed"))
            before((upstream, "output closed"), (do.name, "drained"))


@pytest.mark.parametrize("name", DRAINS)
def test_every_ordering_drains_in_topological_order(name: str, store: StateStore) -> None:
    runs = every_trace(drains(DRAINS[name], store))
    assert runs > 10, "nothing was enumerated"
