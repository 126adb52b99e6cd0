"""A scheduler that decides at every lock, wait and flag who goes on: the runtime's `Primitives` for tests.

Every worker is a real thread, but only one of them ever runs; all others stand at a gate. Before each operation on a
lock, condition or flag the running worker asks a *chooser* who goes on. So a run is a function of its choices: a seed
(`Seeded`) makes thousands of different ones, a list (`Listed`) repeats one exactly, and `tests.runtime.exploring`
enumerates them. Time is virtual: it stands still while anybody can run, and then jumps to the next timeout.

What goes wrong is raised by `Scheduler.run`: whatever the main function raised, or `Deadlock`, which names every
worker, what it waits for and where. The error carries the choices, and `Listed(choices)` replays it.
"""

from __future__ import annotations

import random
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

_STEPS = 200_000  # operations of one run; more is a livelock
_TIME = 20_000.0  # virtual seconds of one run; more is a deadlock in which somebody keeps looking at the clock
_REAL = 60.0  # real seconds that one worker may go on without any operation: it blocks in something real
_HERE = str(Path(__file__).resolve())


class Deadlock(AssertionError):
    """Nobody can go on."""


class _Killed(BaseException):
    """Unwinds the workers that are left when a run is over."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation that was carried out: enough to tell which operations depend on each other."""

    task: int
    thing: int
    """The number of the lock, flag or worker, in the order in which they were made; -1 for nothing at all."""
    writes: bool
    after: tuple[int, int] | None = None
    """It was not possible before this worker had carried out so many operations: who started, notified or set."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a test wrote down, and after which operation of its worker."""

    task: int
    steps: int
    """How many operations the worker had carried out before."""
    what: Any


@dataclass(slots=True)
class Point:
    """A place where several could have gone on."""

    options: tuple[Step, ...]
    """What each of them would have done next; the one that was running is first if it could go on."""
    chosen: int
    """The index of the one that went on."""
    forced: bool
    """The one that was running could not go on."""
    at: int
    """How many operations had been carried out: the index in the history of the one that was chosen."""


class Chooser(Protocol):
    def choose(self, options: Sequence[Task], forced: bool) -> int:
        """The index of who goes on; unless ``forced``, index 0 is the one that is running."""
        ...


class Seeded:
    """Chooses by a seed: how often to switch, and how fast each worker is, differ from seed to seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._stay = self._random.choice([0.0, 0.5, 0.9, 0.97])
        self._spread = self._random.choice([0, 1, 2])  # from equally fast to a hundred times slower
        self._speed: dict[int, float] = {}

    def choose(self, options: Sequence[Task], forced: bool) -> int:
        if not forced and self._random.random() < self._stay:
            return 0
        weights = [
            self._speed.setdefault(task.number, 10 ** self._random.uniform(-self._spread, 0)) for task in options
        ]
        return self._random.choices(range(len(options)), weights)[0]


class Listed:
    """Makes the listed choices, and then stays with whoever is running for as long as that is possible."""

    def __init__(self, choices: Sequence[int]) -> None:
        self._choices = iter(choices)

    def choose(self, options: Sequence[Task], forced: bool) -> int:
        return next(self._choices, 0)


@dataclass(eq=False, slots=True)
class Task:
    """One worker under the scheduler."""

    number: int
    name: str
    can_go: Callable[[], bool]
    waits_for: Callable[[], str] = str
    thing: int = -1
    """What its next operation is on."""
    writes: bool = True
    deadline: float | None = None
    woken: bool = True
    """Not waiting on a condition, or notified."""
    ended: bool = False
    steps: int = 0
    after: tuple[int, int] | None = None
    """Who made its next operation possible: see `Step`."""
    thread: threading.Thread | None = None
    gate: threading.Lock = field(default_factory=threading.Lock)


class Scheduler:
    """`etlcore.runtime.concurrency.Primitives` under the control of a chooser; good for one `run`.

    ``surprises``: the chooser may also let a timeout fire early, and wake who waits on a condition for no reason.
    ``lines``: there is a choice before every line of `etlcore.runtime`, and not only at its locks.
    """

    def __init__(
        self, chooser: Chooser, *, surprises: float = 0.0, lines: bool = False, steps: int = _STEPS, seed: int = 0
    ) -> None:
        self.chooser = chooser
        self.points: list[Point] = []
        self.history: list[Step] = []
        self.notes: list[Note] = []
        self.exploring = True
        """While False, nobody is preempted and nothing is recorded: a prelude that is the same in every run."""
        self.tasks: list[Task] = []
        self._steps = steps
        self._surprise = random.Random(seed)
        self._surprises = surprises
        self._lines = lines
        self._things: list[str] = []
        self._time = 0.0
        self._current: Task | None = None
        self._over = threading.Event()
        self._dying = False
        self._error: BaseException | None = None
        self._moves = 0

    # Primitives

    def lock(self) -> _Lock:
        return _Lock(self, self._thing("lock"))

    def condition(self, lock: Any = None) -> _Condition:
        return _Condition(self, lock if lock is not None else _Lock(self, self._thing("condition")))

    def flag(self) -> _Flag:
        return _Flag(self, self._thing("flag"))

    def start(self, name: str, target: Callable[[], None]) -> _Worker:
        self.point()
        return _Worker(self, self._make(name, target))

    def now(self) -> float:
        return self._time

    # For tests

    def run(self, main: Callable[[], None]) -> None:
        """Run ``main`` and everything it starts, until it returns; raises what went wrong."""
        first = self._make("main", main)
        self._current = first
        first.gate.release()
        seen = -1
        while not self._over.wait(_REAL):
            if seen == self._moves:
                raise AssertionError(
                    f"{self._current and self._current.name} blocks in something real\n{self._table()}"
                )
            seen = self._moves
        for task in self.tasks:
            if task.thread is not None:
                task.thread.join()
        if self._error is not None:
            self._error.add_note(f"replay with Listed({self.choices()})")
            raise self._error

    def choices(self) -> list[int]:
        """What was chosen; `Listed` replays it."""
        chosen = [point.chosen for point in self.points]
        while chosen and chosen[-1] == 0:
            chosen.pop()
        return chosen

    def point(self) -> None:
        """Let somebody else go on here, if the chooser wants it."""
        self._operate(-1, _always, str)

    def sleep(self, seconds: float) -> None:
        """Wait for virtual time to pass: until nobody else can do anything before that."""
        until = self._time + seconds
        self._operate(-1, lambda: self._time >= until, lambda: f"{until:g} s on the clock", deadline=until)

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds that the other workers bring about."""
        self._operate(-1, holds, lambda: "something to happen")

    def note(self, what: Any) -> None:
        """Write something down, at this place of the history."""
        task = self._me()
        self.notes.append(Note(task.number, task.steps, what))

    def thing(self, primitive: Any) -> int:
        """The number under which operations on a lock, condition or flag stand in the history."""
        number: int = primitive._lock.number if isinstance(primitive, _Condition) else primitive.number
        return number

    # The heart

    def _make(self, name: str, target: Callable[[], None]) -> Task:
        task = Task(len(self.tasks), name, _always, thing=self._thing(f"worker {name}"))
        if self._current is not None:
            task.after = self._here()
        task.gate.acquire()
        task.thread = threading.Thread(target=self._live, args=(task, target), name=name, daemon=True)
        self.tasks.append(task)
        task.thread.start()
        return task

    def _live(self, task: Task, target: Callable[[], None]) -> None:
        task.gate.acquire()
        try:
            if not self._dying:
                self._record(task)
                if self._lines:
                    sys.settrace(self._trace)
                target()
        except _Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by `run`
            self._error = self._error or error
            self._dying = True
        finally:
            sys.settrace(None)
            task.ended = True
            if task.number == 0:
                self._dying = True
            self._pass_on(task)

    def _pass_on(self, task: Task) -> None:
        """This worker has ended: somebody else goes on, or everything is over."""
        successor: Task | None = None
        if not self._dying:
            try:
                successor = self._choose(task)
            except Deadlock as error:
                self._error = self._error or error
                self._dying = True
        if self._dying:
            successor = next((other for other in self.tasks if not other.ended), None)
        self._current = successor
        if successor is None:
            self._over.set()
        else:
            successor.gate.release()

    def _me(self) -> Task:
        task = self._current
        assert task is not None, "the primitives of a scheduler are used outside of its run"
        return task

    def _operate(
        self,
        thing: int,
        can_go: Callable[[], bool],
        waits_for: Callable[[], str],
        *,
        writes: bool = True,
        deadline: float | None = None,
    ) -> None:
        """The running worker is about to do something: let the chooser say who goes on, and come back when it may."""
        if self._current is None:
            return  # still being built, before `run`
        if self._dying:
            raise _Killed
        me = self._me()
        me.thing, me.can_go, me.waits_for, me.writes, me.deadline = thing, can_go, waits_for, writes, deadline
        try:
            successor = self._choose(me)
        except Deadlock as error:
            self._error = error
            self._dying = True
            raise _Killed from None
        if successor is not me:
            self._current = successor
            successor.gate.release()
            me.gate.acquire()
            if self._dying:
                raise _Killed
        self._record(me)

    def _here(self) -> tuple[int, int]:
        """The running worker, and how many operations it has carried out."""
        task = self._me()
        return task.number, task.steps

    def _record(self, task: Task) -> None:
        if self.exploring:
            self.history.append(Step(task.number, task.thing, task.writes, task.after))
            task.steps += 1
        task.after = None
        task.deadline = None
        task.can_go = _always

    def _choose(self, me: Task) -> Task:
        self._moves += 1
        if self._moves > self._steps:
            raise Deadlock(f"no end after {self._steps:,} operations\n{self._table()}")
        if self.exploring and self._surprises and self._surprise.random() < self._surprises:
            self._surprise_somebody()
        while True:
            options = [task for task in self.tasks if not task.ended and task.can_go()]
            if options:
                break
            self._let_time_pass()
        forced = me not in options
        if not forced:
            options.remove(me)
            options.insert(0, me)
        if len(options) == 1 or not self.exploring:
            return options[0]
        chosen = self.chooser.choose(options, forced)
        steps = tuple(Step(t.number, t.thing, t.writes) for t in options)
        self.points.append(Point(steps, chosen, forced, len(self.history)))
        return options[chosen]

    def _let_time_pass(self) -> None:
        ends = [task.deadline for task in self.tasks if not task.ended and task.deadline is not None]
        ahead = [end for end in ends if end > self._time]
        if not ahead or min(ahead) > _TIME:
            raise Deadlock(f"nobody can go on\n{self._table()}")
        self._time = min(ahead)

    def _surprise_somebody(self) -> None:
        waiting = [task for task in self.tasks if not task.ended and (task.deadline is not None or not task.woken)]
        if waiting:
            task = self._surprise.choice(waiting)
            if task.deadline is None:
                task.woken = True
            else:
                self._time = max(self._time, task.deadline)

    def _thing(self, kind: str) -> int:
        """A number for a lock or flag, and where it was made: what a deadlock says of it."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename == _HERE:
            frame = frame.f_back
        owner = "" if frame is None else f" of {_owner(frame)}"
        self._things.append(f"the {kind}{owner}")
        return len(self._things) - 1

    def _table(self) -> str:
        frames = sys._current_frames()
        lines = []
        for task in self.tasks:
            if not task.ended:
                frame = frames.get(task.thread.ident or -1) if task.thread is not None else None
                lines.append(f"  {task.name} waits for {task.waits_for()}{_place(frame)}")
        return "\n".join(lines)

    def _trace(self, frame: FrameType, event: str, arg: object) -> Any:
        if "/etlcore/runtime/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            self.point()
        return self._trace

    def name_of(self, number: int) -> str:
        return self._things[number]


class _Lock:
    def __init__(self, scheduler: Scheduler, number: int) -> None:
        self._scheduler = scheduler
        self.number = number
        self.owner: Task | None = None

    def free(self) -> bool:
        return self.owner is None

    def __enter__(self) -> None:
        scheduler = self._scheduler
        if self.owner is not None and self.owner is scheduler._current and not scheduler._dying:
            raise AssertionError(f"{self.owner.name} locks {scheduler.name_of(self.number)} twice")
        scheduler._operate(self.number, self.free, self.described)
        self.owner = scheduler._current

    def __exit__(self, *exc: object) -> None:
        self.owner = None
        if not self._scheduler._dying and self._scheduler._lines:
            self._scheduler.point()

    def described(self) -> str:
        held = f", which {self.owner.name} holds" if self.owner is not None else ""
        return self._scheduler.name_of(self.number) + held


class _Condition:
    def __init__(self, scheduler: Scheduler, lock: _Lock) -> None:
        self._scheduler = scheduler
        self._lock = lock
        self._waiters: list[Task] = []

    def __enter__(self) -> None:
        self._lock.__enter__()

    def __exit__(self, *exc: object) -> None:
        self._lock.__exit__(*exc)

    def wait(self, timeout: float | None = None) -> bool:
        scheduler, lock = self._scheduler, self._lock
        if scheduler._dying:
            raise _Killed
        me = scheduler._me()
        assert lock.owner is me, "wait needs the lock"
        lock.owner = None
        me.woken = False
        self._waiters.append(me)
        deadline = None if timeout is None else scheduler._time + max(0.0, timeout)

        def can_go() -> bool:
            return lock.owner is None and (me.woken or (deadline is not None and scheduler._time >= deadline))

        try:
            name = scheduler.name_of(lock.number)
            scheduler._operate(lock.number, can_go, lambda: f"a change under {name}", deadline=deadline)
        finally:
            self._waiters.remove(me)
            notified, me.woken = me.woken, True
        lock.owner = me
        return notified

    def notify_all(self) -> None:
        assert self._scheduler._dying or self._lock.owner is self._scheduler._current, "notify needs the lock"
        for task in self._waiters:
            if not task.woken:
                task.woken, task.after = True, self._scheduler._here()


class _Flag:
    def __init__(self, scheduler: Scheduler, number: int) -> None:
        self._scheduler = scheduler
        self.number = number
        self._set = False
        self._setter: tuple[int, int] | None = None

    def is_set(self) -> bool:
        self._scheduler._operate(self.number, _always, str, writes=False)
        return self._set

    def set(self) -> None:
        self._scheduler._operate(self.number, _always, str)
        if not self._set and self._scheduler._current is not None:
            self._setter = self._scheduler._here()
        self._set = True

    def wait(self, timeout: float | None = None) -> bool:
        scheduler = self._scheduler
        if scheduler._dying:
            raise _Killed
        me = scheduler._me()
        deadline = None if timeout is None else scheduler._time + max(0.0, timeout)

        def can_go() -> bool:
            if self._set and timeout is None:
                me.after = self._setter
            return self._set or (deadline is not None and scheduler._time >= deadline)

        name = scheduler.name_of(self.number)
        scheduler._operate(self.number, can_go, lambda: name, writes=False, deadline=deadline)
        return self._set


class _Worker:
    def __init__(self, scheduler: Scheduler, task: Task) -> None:
        self._scheduler = scheduler
        self._task = task

    def alive(self) -> bool:
        return not self._task.ended

    def join(self, timeout: float | None = None) -> None:
        scheduler, task = self._scheduler, self._task
        deadline = None if timeout is None else scheduler._time + max(0.0, timeout)
        scheduler._operate(
            -1,
            lambda: task.ended or (deadline is not None and scheduler._time >= deadline),
            lambda: f"the end of {task.name}",
            deadline=deadline,
        )

    def stack(self) -> list[str]:
        frame = sys._current_frames().get(self._task.thread.ident or -1) if self._task.thread else None
        return [] if frame is None or self._task.ended else [line.rstrip() for line in traceback.format_stack(frame)]


def _always() -> bool:
    return True


def _owner(frame: FrameType) -> str:
    owner = frame.f_locals.get("self")
    name = getattr(owner, "name", "") if owner is not None else ""
    kind = type(owner).__name__ if owner is not None else frame.f_code.co_name
    return f"{kind} {name}".strip()


def _place(frame: FrameType | None) -> str:
    while frame is not None and frame.f_code.co_filename in (_HERE, threading.__file__):
        frame = frame.f_back
    if frame is None:
        return ""
    return f", at {Path(frame.f_code.co_filename).name}:{frame.f_lineno} in {frame.f_code.co_name}"


@contextmanager
def scheduled(seed: int, **options: Any) -> Iterator[Scheduler]:
    """A scheduler for one seed; a failure inside says which seed it was."""
    scheduler = Scheduler(Seeded(seed), seed=seed, **options)
    try:
        yield scheduler
    except BaseException as error:
        error.add_note(f"seed {seed}, {options or 'no options'}")
        raise
