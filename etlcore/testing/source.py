"""The contract of a source, as checks."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from etlcore.batch import Batch, Position, Row
from etlcore.components import Source
from etlcore.testing.checks import Broken, NotApplicable, check
from etlcore.testing.common import ComponentContract, Scene, differences, named, wait_until
from etlcore.testing.faults import COMMIT_OF_ROWS, Fault, InjectedFault, Watch, raise_fault
from etlcore.testing.parts import appended, keeper
from etlcore.testing.runs import Beside, ChildFault, Commands, Ended

_JSON = "test_positions_are_plain_json"
_FORWARD = "test_positions_never_run_backwards"
_REST = "test_reading_from_a_committed_position_gives_the_rest"
_FAILED = "test_what_a_failing_sink_left_is_read_again"
_AHEAD = 0.3  # seconds for a source to read on while the sink is at work
_QUEUE = {"rows": 7}  # so that a source with marks is stopped in the middle of its batches


class SourceContract(ComponentContract):
    """Subclass it as ``class Test…(SourceContract)``; write ``component``, ``options`` and ``expected``."""

    kind = "source"
    first_run = "test_every_row_is_read_once"
    endless: ClassVar[bool] = False
    """It never ends by itself: the kit stops it once all expected rows have come."""
    heartbeat: ClassVar[float] = 5.0
    """Seconds that the kit waits for a sign of life; a source owes one a second, and machines may be slow."""
    workers: ClassVar[int] = 2
    """How many workers share the rows, in the check of that."""

    def expected(self, options: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """The rows that the source gives with these options, in any order."""
        raise NotImplementedError(
            f"{type(self).__name__} must define expected(options): the rows that the source gives"
        )

    def more(self, options: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """Add data to what the source reads, and give the rows that it adds. Optional."""
        raise NotImplementedError

    def identity(self, row: Mapping[str, Any]) -> str:
        """What tells rows apart and is the same in `expected`; the whole row, unless the author says otherwise."""
        return json.dumps(row, sort_keys=True, default=str)

    def order(self, value: Any) -> Any:
        """A sort key for positions of one partition; None where they cannot be compared."""
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    # -- runs ------------------------------------------------------------------------------------------------------

    def _expected(self, scene: Scene) -> Counter[str]:
        return Counter(self.identity(row) for row in self.expected(scene.options))

    def _read(
        self,
        scene: Scene,
        watch: Watch | None = None,
        *,
        until: Callable[[Counter[str]], bool] | None = None,
        commands: Commands | None = None,
        seen: Callable[[list[Row]], None] = lambda rows: None,
        workers: int | None = None,
        queue: Mapping[str, int] | None = None,
    ) -> tuple[Counter[str], Ended]:
        """Run the source; stop when ``until`` is true of what has come. Gives the rows that came to a sink."""
        stopping = Commands() if commands is None else commands
        found: Counter[str] = Counter()

        def take(rows: list[Row]) -> None:
            seen(rows)
            found.update(self.identity(row) for row in rows)
            if until is not None and until(found):
                stopping.stop_once()

        stages = {"in": self.stage(scene, workers=workers), "out": {"sink": "keep", "queue": queue or {"rows": 20_000}}}
        ended = self.run(scene, stages, {"keep": keeper(take)}, watch, stopping)
        return found, ended

    def _read_all(
        self, scene: Scene, wanted: Counter[str], watch: Watch | None = None, **more: Any
    ) -> tuple[Counter[str], Ended]:
        """Run the source to its end; or one that has none, until all that is wanted has come."""
        if self.endless and not wanted:
            return self._read_idle(scene, watch, **more)
        return self._read(scene, watch, until=_has(wanted) if self.endless else None, **more)

    def _read_idle(self, scene: Scene, watch: Watch | None, **more: Any) -> tuple[Counter[str], Ended]:
        """Run a source that should have nothing to give, until it has said so."""
        given, commands = watch or Watch(), Commands()

        def wait(over: threading.Event) -> bool:
            return wait_until(lambda: _idle(given) > 1 or over.is_set(), self.heartbeat)

        with Beside(wait, commands.stop_once):
            return self._read(scene, given, commands=commands, **more)

    def plain_run(self, scene: Scene, watch: Watch) -> Ended:
        return self._read_all(scene, self._expected(scene), watch)[1]

    def _must_be_replayable(self) -> None:
        if not self.component_class().replayable:
            raise NotApplicable("it says replayable = False")

    # -- checks ----------------------------------------------------------------------------------------------------

    @check("read gives every row, once each", "A source", reads_back=True)
    def test_every_row_is_read_once(self) -> None:
        scene = self.scene()
        wanted = self._expected(scene)
        found, ended = self._read_all(scene, wanted)
        wrong = differences(wanted, found, twice=False)
        if ended.trouble or wrong:
            raise Broken("; ".join(filter(None, (wrong, ended.trouble))))

    @check("positions are plain JSON: what is kept comes back as it was", "A source")
    def test_positions_are_plain_json(self) -> None:
        for position in _positions(self._steps()):
            try:
                back = json.loads(json.dumps(position.value))
            except (TypeError, ValueError) as error:
                raise Broken(f"the position of {position.partition!r} is {position.value!r:.200}: {error}") from None
            if back != position.value:
                raise Broken(
                    f"the position {position.value!r:.200} of {position.partition!r} comes back as {back!r:.200}"
                )

    @check("positions of one partition are yielded in order", "A source")
    def test_positions_never_run_backwards(self) -> None:
        last: dict[str, Any] = {}
        left: dict[str, list[Any]] = defaultdict(list)
        for position in _positions(self._steps()):
            partition, value = position.partition, position.value
            if partition in last and value != last[partition]:
                before, now = self.order(last[partition]), self.order(value)
                back = now < before if before is not None and now is not None else value in left[partition]
                if back:
                    raise Broken(
                        f"partition {partition!r}: the position {value!r:.100} came after {last[partition]!r:.100}"
                    )
                left[partition].append(last[partition])
            last[partition] = value

    @check("read yields at least once a second, None when there is nothing yet", "A source")
    def test_read_yields_at_least_once_a_second(self) -> None:
        late = self._late_to_yield()
        if late and (again := self._late_to_yield()):  # once may be the machine's doing
            raise Broken(again)

    def _late_to_yield(self) -> str:
        """What took the source too long in a run; empty when nothing did."""
        scene = self.scene()
        wanted, watch, commands = self._expected(scene), Watch(), Commands()
        if not self.endless:
            self._read(scene, watch)
        else:
            came = threading.Event()

            def wait(over: threading.Event) -> bool:
                wait_until(lambda: came.is_set() or over.is_set(), self.patience)
                return wait_until(lambda: _idle(watch) > 1 or over.is_set(), 2 * self.heartbeat)

            def all_there(found: Counter[str]) -> bool:
                if not wanted - found:
                    came.set()
                return False

            with Beside(wait, commands.stop_once) as beside:
                self._read(scene, watch, commands=commands, until=all_there)
            if not beside.result:
                return (
                    f"all rows had come, and within {2 * self.heartbeat:g} s read did not yield None: a stop would "
                    "have to wait for it"
                )
        slow = max((step.seconds for step in watch.steps), default=0.0)
        return f"read took {slow:.1f} s to yield" if slow > self.heartbeat else ""

    @check("read ends when its generator is closed, at whichever yield", "A source")
    def test_a_stop_at_any_yield_ends_the_source(self) -> None:
        steps = self._steps_with_rows()
        for number in {1, self.random.randint(1, steps), steps}:
            scene, commands = self.scene(), Commands()
            watch = Watch((Fault("read", number, "after", commands.stop_and_wait),))
            # One that never ends is stopped in any case, also when it yields less often this time.
            until = _has(self._expected(scene)) if self.endless else None
            _, ended = self._read(scene, watch, commands=commands, until=until)
            if ended.trouble:
                raise Broken(f"stopped at yield {number}: {ended.trouble}")

    @check(
        "reading starts behind the committed positions, with the first row that is not in",
        "A source",
        reads_back=True,
        after=(_JSON, _FORWARD),
    )
    def test_reading_from_a_committed_position_gives_the_rest(self) -> None:
        self._must_be_replayable()
        total = self._expected(self.scene()).total()
        for cut in {max(1, total // 3), self.random.randint(1, max(1, total))}:
            scene = self.scene()
            wanted = self._expected(scene)
            first, ended = self._read(scene, until=lambda found, cut=cut: found.total() >= cut, queue=_QUEUE)  # type: ignore[misc]
            rest, again = self._read_all(scene, wanted - first)
            if wrong := differences(wanted, first + rest, twice=False):
                raise Broken(
                    f"stopped after {first.total()} rows, all delivered and committed; "
                    f"the next run gave {rest.total()}; {wrong}"
                )
            if again.trouble:
                raise Broken(f"the run that went on: {again.trouble}")
            del ended

    @check("what is added later is read by a later run, and nothing else", "A source", reads_back=True, after=(_REST,))
    def test_a_later_run_reads_what_was_added(self) -> None:
        self._must_be_replayable()
        scene = self.scene()
        self._read_all(scene, self._expected(scene))
        try:
            added = Counter(self.identity(row) for row in self.more(scene.options))
        except NotImplementedError:
            raise NotApplicable("the author defines no more(options)") from None
        found, ended = self._read_all(scene, added)
        wrong = differences(added, found, twice=False)
        if wrong or ended.trouble:
            raise Broken("; ".join(filter(None, (f"{added.total()} rows were added", wrong, ended.trouble))))

    @check("rows whose delivery failed are given again", "A source", reads_back=True, after=(_REST,))
    def test_what_a_failing_sink_left_is_read_again(self) -> None:
        def fail(rows: list[Row]) -> None:
            raise InjectedFault

        self._check_given_again(fail, "the sink failed")

    @check("rows that a stuck sink left are given again", "A source", reads_back=True, after=(_FAILED,))
    def test_what_a_stuck_sink_left_is_read_again(self) -> None:
        free, commands = threading.Event(), Commands()

        def stick(rows: list[Row]) -> None:
            commands.stop()
            commands.stop()
            free.wait(self.patience)
            raise InjectedFault

        self._check_given_again(stick, "the sink was stuck", commands, free)

    def _check_given_again(
        self,
        spoil: Callable[[list[Row]], None],
        said: str,
        commands: Commands | None = None,
        free: threading.Event | None = None,
    ) -> None:
        self._must_be_replayable()
        scene = self.scene()
        wanted = self._expected(scene)
        written = 0

        def second(rows: list[Row]) -> None:
            nonlocal written
            written += 1
            if written == 2 or len(wanted) < 3:
                wait_until(lambda: len(watch.steps) >= 4, _AHEAD)
                spoil(rows)

        watch = Watch()
        first, _ = self._read(scene, watch, seen=second, commands=commands, queue=_QUEUE)
        if free is not None:
            free.set()
            wait_until(lambda: bool(watch.returned("close")), self.patience)
        rest, ended = self._read_all(scene, wanted - first)
        if wrong := differences(wanted, first + rest, twice=True):
            raise Broken(f"{said}, after {first.total()} rows; the next run gave {rest.total()}; {wrong}")
        if ended.trouble:
            raise Broken(ended.trouble)

    @check("a sink that is slow makes the source wait, and nothing else", "A source", reads_back=True)
    def test_a_slow_sink_changes_nothing(self) -> None:
        scene = self.scene()
        wanted = self._expected(scene)
        pauses = iter([0.005] * 50)
        found, ended = self._read_all(scene, wanted, seen=lambda rows: time.sleep(next(pauses, 0.0)), queue={"rows": 3})
        wrong = differences(wanted, found, twice=False)
        if wrong or ended.trouble:
            raise Broken("; ".join(filter(None, (wrong, ended.trouble))))

    @check("workers share the rows, or open refuses them", "Components", reads_back=True)
    def test_several_workers_share_the_rows(self) -> None:
        scene = self.scene()
        wanted = self._expected(scene)
        found, ended = self._read_all(scene, wanted, workers=self.workers)
        if any(failure.during == "open" for failure in ended.report.failures):
            return
        wrong = differences(wanted, found, twice=False)
        if wrong or ended.trouble:
            raise Broken(f"{self.workers} workers: " + "; ".join(filter(None, (wrong, ended.trouble))))

    @check(
        "after a kill the next run gives every row that was not delivered",
        "A source",
        reads_back=True,
        after=(_FAILED,),
    )
    def test_a_kill_loses_nothing(self) -> None:
        self._must_be_replayable()
        scene = self.scene()
        wanted = self._expected(scene)
        fault = ChildFault("read", self.random.randint(1, self._steps_with_rows()), "after")
        self._kill(scene, fault)
        before = Counter(self.identity(row) for row in appended(scene.directory / "out"))
        rest, ended = self._read_all(scene, wanted - before)
        if wrong := differences(wanted, before + rest, twice=True):
            raise Broken(
                f"killed (kill -9) after yield {fault.number}, with {before.total()} rows delivered; the next run gave "
                f"{rest.total()}; {wrong}"
            )
        if ended.trouble:
            raise Broken(ended.trouble)

    @check("commit makes positions durable before it returns", "A source", reads_back=True, after=(_REST,))
    def test_commit_returns_only_when_positions_are_durable(self) -> None:
        if self.component_class().commit is Source.commit:
            raise NotApplicable("it leaves its positions to etlcore")
        scene = self.scene()
        wanted = self._expected(scene)
        killed = self._kill(scene, ChildFault(COMMIT_OF_ROWS, 1, "after"))
        committed = {}
        for entry in killed:
            if entry["method"] == "commit":
                committed.update(entry["what"])
        before = self._before(killed, committed)
        found, _ = self._read_all(scene, wanted - before)
        if again := before & found:
            raise Broken(
                f"killed (kill -9) the moment commit returned for {committed!r:.200}; the next run gave rows again "
                f"that are before it: {named(again)}"
            )

    @check("a commit that raised is made again", "A source", after=(_REST,))
    def test_a_commit_that_raised_is_made_again(self) -> None:
        if self.component_class().commit is Source.commit:
            raise NotApplicable("it leaves its positions to etlcore")
        for moment in ("before", "after"):
            scene = self.scene()
            wanted = self._expected(scene)
            watch = Watch((Fault("commit", 1, moment, raise_fault),))
            found, ended = self._read_all(scene, wanted, watch)
            again, _ = self._read_all(scene, wanted - found)
            if ended.trouble or again:
                wrong = f"the next run gave rows again: {named(again)}" if again else ended.trouble
                raise Broken(f"an exception came {moment} the first commit: {wrong}")

    def _before(self, journal: Iterable[Mapping[str, Any]], committed: Mapping[str, Any]) -> Counter[str]:
        """The rows that stand before the positions that were committed."""
        found: Counter[str] = Counter()
        waiting: dict[str, Counter[str]] = defaultdict(Counter)
        for entry in journal:
            for mark in entry.get("marks", ()):
                partition = mark["partition"]
                waiting[partition].update(self.identity(row) for row in mark["rows"])
                if partition in committed and committed[partition] == mark["value"]:
                    found += waiting.pop(partition)
        return found

    def _kill(self, scene: Scene, fault: ChildFault) -> list[dict[str, Any]]:
        stages = {"in": self.stage(scene), "out": {"sink": "keep", "queue": _QUEUE}}
        return self.run_killed(scene, stages, fault).journal

    def _steps_with_rows(self) -> int:
        """How many times `read` yields before the last row has come; at least one."""
        batches = self._steps()
        return max((number for number, batch in enumerate(batches, 1) if batch is not None and len(batch)), default=1)

    def _steps(self) -> list[Batch | None]:
        """What `read` yields, in a run of its own."""
        watch = Watch()
        self.plain_run(self.scene(), watch)
        return [step.batch for step in watch.steps]


def _has(wanted: Counter[str]) -> Callable[[Counter[str]], bool]:
    """Whether all that is wanted has come."""
    return lambda found: not wanted - found


def _positions(steps: Iterable[Batch | None]) -> Iterator[Position]:
    for batch in steps:
        for _, position in batch.marks if batch is not None else ():
            yield position


def _idle(watch: Watch) -> int:
    """How many signs of life came at the end, with nothing in them."""
    count = 0
    for step in reversed(watch.steps):
        if step.batch is not None and len(step.batch):
            break
        count += 1
    return count
