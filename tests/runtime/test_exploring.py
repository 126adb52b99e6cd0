"""The enumeration itself: complete where it says so, and no larger than it must be."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.runtime.exploring import Order, every_run, every_trace
from tests.runtime.scheduling import Deadlock, Scheduler

Program = list[list[tuple[str, int]]]
"""For each worker what it does: lock and unlock a lock, set a flag, look at a flag, or wait for one."""


def _random_program(seed: int) -> Program:
    rng = random.Random(seed)
    verbs = ["lock", "lock", "set", "look", "nested", "wait"]
    shape = rng.choice([(1, 1, 1), (2, 2), (1, 2), (3, 1)])
    program = [[(rng.choice(verbs), rng.randrange(2)) for _ in range(acts)] for acts in shape]
    for flag in (0, 1):
        if not any(("set", flag) in worker for worker in program):
            program = [[act for act in worker if act != ("wait", flag)] for worker in program]
    return program


def _outcome(program: Program, seen: set[object]) -> Callable[[Scheduler], list[int]]:
    """Runs a program and adds what could be seen of the run to ``seen``: the order of what depends on each other."""

    def scenario(scheduler: Scheduler) -> list[int]:
        locks = [scheduler.lock(), scheduler.lock()]
        flags = [scheduler.flag(), scheduler.flag()]
        orders: list[list[int]] = [[], []]
        looks: list[tuple[int, int, bool]] = []

        def work(number: int) -> None:
            for verb, at in program[number]:
                if verb == "lock":
                    with locks[at]:
                        orders[at].append(number)
                elif verb == "nested":
                    with locks[0]:
                        orders[0].append(number)
                        with locks[1]:
                            orders[1].append(number)
                elif verb == "set":
                    flags[at].set()
                elif verb == "wait":
                    flags[at].wait()
                else:
                    looks.append((number, at, flags[at].is_set()))

        def main() -> None:
            workers = [scheduler.start(str(n), lambda n=n: work(n)) for n in range(len(program))]  # type: ignore[misc]
            for worker in workers:
                worker.join()
            seen.add((tuple(map(tuple, orders)), tuple(sorted(looks))))

        try:
            scheduler.run(main)
        except Deadlock:
            seen.add("deadlock")
        return []

    return scenario


@pytest.mark.parametrize("seed", range(10))
def test_one_run_of_each_trace_sees_all_that_all_runs_see(seed: int) -> None:
    everything: set[object] = set()
    reduced: set[object] = set()
    program = _random_program(seed)
    runs = every_run(_outcome(program, everything))
    assert every_trace(_outcome(program, reduced)) <= runs
    assert reduced == everything


def test_the_reduction_runs_independent_workers_once() -> None:
    seen: set[object] = set()
    assert every_trace(_outcome([[("lock", 0)], [("lock", 1)], [("set", 0)]], seen)) == 1
    seen.clear()
    assert every_trace(_outcome([[("lock", 0)], [("lock", 0)], [("lock", 0)]], seen)) < 10
    assert len(seen) == 6


def test_a_bound_on_preemptions_bounds_the_runs() -> None:
    program = [[("lock", 0), ("lock", 0)], [("lock", 0), ("lock", 0)]]
    found = []
    for preemptions in (0, 1, 2, None):
        seen: set[object] = set()
        found.append((every_run(_outcome(program, seen), preemptions=preemptions), len(seen)))
    runs, orders = zip(*found, strict=True)
    assert list(runs) == sorted(set(runs))
    assert orders[0] < orders[1] <= orders[2] <= orders[3] == 6


def test_happens_before_knows_locks_flags_notifications_and_starts() -> None:
    def scenario(scheduler: Scheduler) -> list[int]:
        lock, flag = scheduler.lock(), scheduler.flag()

        def child() -> None:
            scheduler.note("started")
            flag.wait()
            scheduler.note("after the flag")

        def main() -> None:
            scheduler.note("before the start")
            worker = scheduler.start("child", child)
            scheduler.note("beside")
            with lock:
                pass
            scheduler.note("before the flag")
            flag.set()
            worker.join()

        scheduler.run(main)
        order = Order(scheduler.history)
        notes = {note.what: note for note in scheduler.notes}
        assert order.before(notes["before the start"], notes["started"])
        assert order.before(notes["before the flag"], notes["after the flag"])
        assert not order.before(notes["beside"], notes["started"])
        assert not order.before(notes["started"], notes["beside"])
        return []

    assert every_trace(scenario) >= 1
