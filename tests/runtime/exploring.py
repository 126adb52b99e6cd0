"""Enumerates the interleavings of a scenario: all within a number of preemptions, or one of each equivalent kind.

`every_run` goes through the choices of a scheduler depth first. With a bound on preemptions it is complete for bugs
that need no more of them; without, it is complete, and only for very small things.

`every_trace` leaves out what cannot matter. Two operations depend on each other when they are on the same lock or
flag and one of them changes it; exchanging neighbours that do not depend on each other changes nothing that anybody
could see. So of all runs that differ only in that (a *trace*) one is enough. It finds them by looking for races in
each run and turning each of them round (dynamic partial-order reduction: Flanagan and Godefroid, POPL 2005; with
sleep sets: Godefroid, 1996). What is to hold in every run must then be asserted on *happens-before*
(`Order`), which is the same for all runs of a trace, and not on the order in one of them.

That is sound as long as workers share nothing but what they lock. The runtime reads some fields without a lock
(whether a worker has ended, whether a stage has failed): the seeded runs, which may switch at any line, cover those.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from tests.runtime.scheduling import Listed, Note, Scheduler, Step, Task

Scenario = Callable[[Scheduler], None]


def every_run(scenario: Scenario, *, preemptions: int | None = None, limit: int = 100_000) -> int:
    """Run the scenario once for every list of choices; returns how many. ``scenario`` must call `Scheduler.run`."""
    prefix: list[int] | None = []
    count = 0
    while prefix is not None:
        assert count < limit, f"more than {limit:,} runs"
        scheduler = Scheduler(Listed(prefix))
        scenario(scheduler)
        count += 1
        prefix = _next(scheduler, preemptions)
    return count


def _next(scheduler: Scheduler, preemptions: int | None) -> list[int] | None:
    points = scheduler.points
    used = [0]
    for point in points:
        used.append(used[-1] + (point.chosen > 0 and not point.forced))
    for index in range(len(points) - 1, -1, -1):
        point = points[index]
        allowed = preemptions is None or used[index] + (not point.forced) <= preemptions
        if allowed and point.chosen + 1 < len(point.options):
            return [earlier.chosen for earlier in points[:index]] + [point.chosen + 1]
    return None


class Order:
    """Which operations and notes of a run happened before which others, in every run of the same trace."""

    def __init__(self, history: Sequence[Step], independent: Collection[int] = ()) -> None:
        self.races: list[tuple[int, int]] = []
        """Pairs of steps on the same thing that could have come the other way round."""
        self._clocks: dict[tuple[int, int], dict[int, int]] = {}
        now: dict[int, dict[int, int]] = {}
        written: dict[int, tuple[int, Step, dict[int, int]]] = {}
        read: dict[int, list[tuple[int, Step, dict[int, int]]]] = {}
        for index, step in enumerate(history):
            clock = dict(now.get(step.task, {}))
            if step.after is not None:
                _join(clock, self._clocks.get(step.after, {}))
                clock[step.after[0]] = max(clock.get(step.after[0], 0), step.after[1])
            if step.thing >= 0 and step.thing not in independent:
                before = [written[step.thing]] if step.thing in written else []
                before += read.get(step.thing, []) if step.writes else []
                for earlier, other, then in before:
                    if other.task != step.task and clock.get(other.task, 0) < then[other.task]:
                        self.races.append((earlier, index))
                for _, _, then in before:
                    _join(clock, then)
            clock[step.task] = clock.get(step.task, 0) + 1
            now[step.task] = clock
            self._clocks[step.task, clock[step.task]] = clock
            if step.thing >= 0 and step.thing not in independent:
                entry = (index, step, clock)
                if step.writes:
                    written[step.thing], read[step.thing] = entry, []
                else:
                    read.setdefault(step.thing, []).append(entry)

    def before(self, first: Note, second: Note) -> bool:
        """``first`` was written down before ``second`` in every run of this trace."""
        if first.task == second.task:
            return first.steps <= second.steps
        return self._clocks.get((second.task, second.steps), {}).get(first.task, 0) > first.steps


def _join(clock: dict[int, int], other: dict[int, int]) -> None:
    for task, count in other.items():
        if clock.get(task, 0) < count:
            clock[task] = count


@dataclass(slots=True)
class _Node:
    """A choice on the way to the run at hand."""

    options: tuple[Step, ...]
    asleep: dict[int, Step]
    """Workers whose next step was explored from here or before, and is independent of everything since."""
    chosen: int = 0
    """The worker that went on."""
    at: int = 0
    done: set[int] = field(default_factory=set)
    todo: set[int] = field(default_factory=set)


class _Guide:
    """Chooses along a path of nodes, and beyond its end makes new ones."""

    def __init__(self, path: list[_Node], dependent: Callable[[Step, Step], bool]) -> None:
        self.path = path
        self.scheduler: Scheduler | None = None
        self.redundant = False
        """All that could go on was explored elsewhere."""
        self._depth = 0
        self._dependent = dependent
        self._asleep: dict[int, Step] = {}
        self._seen = 0

    def choose(self, options: Sequence[Task], forced: bool) -> int:
        assert self.scheduler is not None
        if self.redundant:
            return 0
        history = self.scheduler.history
        self._wake(history[self._seen :])
        self._seen = len(history)
        steps = tuple(Step(task.number, task.thing, task.writes) for task in options)
        if self._depth == len(self.path):
            fresh = next((step.task for step in steps if step.task not in self._asleep), None)
            if fresh is None:
                self.redundant = True
                return 0
            self.path.append(_Node(steps, dict(self._asleep), fresh, len(history), {fresh}))
        node = self.path[self._depth]
        assert [step.task for step in steps] == [step.task for step in node.options], "the scenario is not repeatable"
        self._depth += 1
        self._asleep = {
            **node.asleep,
            **{step.task: step for step in steps if step.task in node.done and step.task != node.chosen},
        }
        return next(index for index, step in enumerate(steps) if step.task == node.chosen)

    def _wake(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self._asleep = {
                task: asleep
                for task, asleep in self._asleep.items()
                if task != step.task and not self._dependent(asleep, step)
            }


def every_trace(scenario: Callable[[Scheduler], Collection[int]], *, limit: int = 100_000) -> int:
    """Run the scenario once for every trace (and a few times more); returns how many runs that took.

    ``scenario`` must call `Scheduler.run` and return the numbers of things whose operations depend on nothing: a lock
    around a log, say, where the order of two entries is not what is asserted.
    """
    path: list[_Node] = []
    count = 0
    independent: Collection[int] = ()

    def dependent(one: Step, other: Step) -> bool:
        if one.thing != other.thing or one.thing < 0 or one.thing in independent:
            return False
        return one.writes or other.writes

    while True:
        assert count < limit, f"more than {limit:,} runs"
        guide = _Guide(path, dependent)
        guide.scheduler = scheduler = Scheduler(guide)
        independent = scenario(scheduler)
        count += 1
        _turn_round(path, scheduler.history, Order(scheduler.history, independent))
        while path and not path[-1].todo - path[-1].done - set(path[-1].asleep):
            path.pop()
        if not path:
            return count
        last = path[-1]
        last.chosen = min(last.todo - last.done - set(last.asleep))
        last.done.add(last.chosen)


def _turn_round(path: list[_Node], history: Sequence[Step], order: Order) -> None:
    """For each race, let the later of the two go first the next time."""
    nodes = {node.at: node for node in path}
    for earlier, later in order.races:
        node = nodes.get(earlier)
        if node is None:
            continue  # nobody else could have gone on there
        wanted = history[later].task
        able = {step.task for step in node.options}
        node.todo |= {wanted} if wanted in able else able
