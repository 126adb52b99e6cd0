"""The contract of a sink, as checks."""

from __future__ import annotations

import copy
import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from etlcore.batch import Batch, Row
from etlcore.state import StateStore
from etlcore.testing import data
from etlcore.testing.checks import Broken, NotApplicable, check
from etlcore.testing.common import CLOSE, ComponentContract, Scene, differences, named, wait_until
from etlcore.testing.faults import Fault, Watch, raise_fault
from etlcore.testing.parts import feed
from etlcore.testing.runs import PIPELINE, ChildFault, Commands, Ended, Killed

_LATER = "test_a_later_run_adds_to_what_is_stored"
_EXACT = "test_rows_and_positions_are_written_in_one_transaction"
_EMPTY = "test_a_run_without_rows_ends_well"
_PROMISES = "What a component promises"
_REFUSE = {"retries": 0, "wait": "1ms", "then": "dead_letter"}
_AGAIN = {"retries": 3, "wait": "1ms", "then": "stop"}
_SIZE = 10  # rows of a batch


class SinkContract(ComponentContract):
    """Subclass it as ``class Test…(SinkContract)``; write ``component``, ``options`` and ``stored``."""

    kind = "sink"
    first_run = "test_every_row_is_stored_once"
    key: ClassVar[str] = "id"
    """The column that tells rows apart; it must be found again in what `stored` gives."""
    text: ClassVar[str | None] = "text"
    """A column that takes any text and gives it back; None when there is none."""
    huge: ClassVar[int] = 20_000
    """Rows of a batch that counts as huge."""
    kills: ClassVar[int] = 2
    """How often a process is killed for a check."""
    worked: ClassVar[bool] = False
    """`stored` has given rows once."""

    def row(self, number: int) -> Row:
        """A row that the sink takes; two numbers never have the same ``key``."""
        return {"id": number, "text": f"row {number}"}

    def stored(self, options: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """All rows that are durable now, read back without the sink's own code."""
        raise NotImplementedError(
            f"{type(self).__name__} must define stored(options), which reads back what is durable; for a sink that "
            'cannot be read back: exempt = SinkContract.reading_back("the reason")'
        )

    # -- runs ------------------------------------------------------------------------------------------------------

    def _identity(self, row: Mapping[str, Any]) -> str:
        return str(row.get(self.key))

    def _sent(self, batches: Sequence[Batch]) -> Counter[str]:
        return Counter(self._identity(row) for batch in batches for row in batch.rows)

    def _stored(self, scene: Scene) -> Sequence[Mapping[str, Any]]:
        try:
            return self.stored(scene.options)
        except Exception as error:
            if not self.worked:  # the author's own mistake, as a rule
                raise
            raise Broken(f"stored(options) raised {type(error).__name__}: {error}") from error

    def _found(self, scene: Scene) -> Counter[str]:
        return Counter(self._identity(row) for row in self._stored(scene))

    def _batches(self, count: int = 5, first: int = 0) -> list[Batch]:
        return data.batches(self.row, count, _SIZE, first)

    def _write(
        self,
        scene: Scene,
        batches: Sequence[Batch],
        watch: Watch | None = None,
        *,
        source: str = "feed",
        commands: Commands | None = None,
        workers: int | None = None,
        on_error: Any = None,
    ) -> Ended:
        stages = {source: {"source": "feed"}, "out": self.stage(scene, workers=workers, on_error=on_error)}
        return self.run(scene, stages, {"feed": feed(batches, self._is_transactional())}, watch, commands)

    def _writes(self, scene: Scene, batches: Sequence[Batch], watch: Watch | None = None, **more: Any) -> None:
        """As `_write`, of a run that must go well."""
        ended = self._write(scene, batches, watch, **more)
        if ended.trouble:
            raise Broken(ended.trouble)

    def plain_run(self, scene: Scene, watch: Watch) -> Ended:
        return self._write(scene, self._batches(2), watch)

    def _is_transactional(self) -> bool:
        return bool(self.component_class().transactional)

    def _kill(self, fault: ChildFault) -> tuple[Scene, list[Batch], Killed]:
        """Write in a process that is killed at a moment."""
        scene, batches = self.scene(), self._batches()
        stages = {"feed": {"source": "feed"}, "out": self.stage(scene)}
        rows = [batch.rows for batch in batches]
        killed = self.run_killed(scene, stages, fault, key=self.key, rows=rows, lockstep=self._is_transactional())
        return scene, batches, killed

    # -- checks ----------------------------------------------------------------------------------------------------

    @check("the rows of every write that returned are stored, once each", "A sink", reads_back=True)
    def test_every_row_is_stored_once(self) -> None:
        scene, batches = self.scene(), self._batches()
        self._writes(scene, batches)
        if wrong := differences(self._sent(batches), self._found(scene), twice=False):
            raise Broken(f"{sum(map(len, batches))} rows were written; {wrong}")
        type(self).worked = True

    @check("write returns only when all rows are durable", "A sink", reads_back=True)
    def test_write_returns_only_when_rows_are_durable(self) -> None:
        for number in self.random.sample([1, 2, 3], min(3, self.kills)):
            scene, _, killed = self._kill(ChildFault("write", number, "after"))
            wrote = [entry for entry in killed.journal if entry["method"] == "write"]
            owed = Counter(one for entry in wrote for one in entry["what"])
            if missing := owed - self._found(scene):
                raise Broken(
                    f"the process was killed (kill -9) the moment write returned for batch {number}; of the "
                    f"{owed.total()} rows whose write had returned, {missing.total()} were not there: {named(missing)}"
                )

    @check("what is stored stays, and later runs add to it", "A sink", reads_back=True)
    def test_a_later_run_adds_to_what_is_stored(self) -> None:
        scene, first, second = self.scene(), self._batches(2), self._batches(2, first=1000)
        self._writes(scene, first)
        self._writes(scene, second, source="later")
        if wrong := differences(self._sent([*first, *second]), self._found(scene), twice=False):
            raise Broken(f"after a second run, with other rows; {wrong}")

    @check("rows and positions are written in one transaction, or neither is", "A sink", reads_back=True)
    def test_rows_and_positions_are_written_in_one_transaction(self) -> None:
        if not self._is_transactional():
            raise NotApplicable("it is no TransactionalSink")
        for fault, scene, batches in self._killed_inside():
            self._writes(scene, batches)  # with the positions that the sink has
            if wrong := differences(self._sent(batches), self._found(scene), twice=False):
                raise Broken(f"killed {_inside(fault)}, and run again from the sink's positions; {wrong}")

    @check("positions that a write does not name keep their values", "A sink", reads_back=True, after=(_EXACT,))
    def test_positions_that_are_not_named_keep_their_values(self) -> None:
        if not self._is_transactional():
            raise NotApplicable("it is no TransactionalSink")
        scene, ones, others = self.scene(), self._batches(2), self._batches(2, first=1000)
        more = [*ones, *self._batches(1, first=2000)]
        for first in (ones, more, more):  # the second run writes positions of one source alone; the third, none
            ended = self._write_two(scene, first, others)
            shutil.rmtree(scene.state)  # what the sink has is all that counts
            if ended.trouble:
                raise Broken(ended.trouble)
        if wrong := differences(self._sent([*more, *others]), self._found(scene), twice=False):
            raise Broken(f"two sources, one of which had nothing new in the second run of three; {wrong}")

    @check("positions are kept also when they come without rows", "A sink", reads_back=True, after=(_EXACT,))
    def test_positions_without_rows_are_kept(self) -> None:
        if not self._is_transactional():
            raise NotApplicable("it is no TransactionalSink")
        scene, rows = self.scene(), self._batches(2)
        nothing = [Batch.from_rows([]), Batch.from_rows([])]
        self._writes(scene, [*rows, *nothing])
        shutil.rmtree(scene.state)
        self._writes(scene, [*rows, *self._batches(2, first=1000)])  # what is behind these positions now is not read
        if wrong := differences(self._sent(rows), self._found(scene), twice=False):
            raise Broken(f"the last positions came without rows, and the next run did not start behind them; {wrong}")

    @check("after a kill at any moment of a write the sink can be opened and written to", "A sink", reads_back=True)
    def test_a_kill_within_a_write_can_be_recovered_from(self) -> None:
        if _EXACT in self.failed_checks:
            raise NotApplicable(f"{_EXACT} fails")
        for fault, scene, batches in self._killed_inside():
            shutil.rmtree(scene.state)  # all rows come again: this is not about what was durable
            ended = self._write(scene, batches)
            if ended.trouble:
                raise Broken(f"killed {_inside(fault)}; the next run: {ended.trouble}")
            if wrong := differences(self._sent(batches), self._found(scene), twice=True):
                raise Broken(f"killed {_inside(fault)}, and all rows written again; {wrong}")

    @check("a stop at any moment ends the run in time, with what was written stored", "A sink", reads_back=True)
    def test_a_stop_at_any_moment_loses_nothing(self) -> None:
        for moment in ("before", "after"):
            scene, batches, commands = self.scene(), self._batches(), Commands()
            number = self.random.randint(1, 3)
            watch = Watch((Fault("write", number, moment, commands.stop_and_wait),))
            ended = self._write(scene, batches, watch, commands=commands)
            said = f"stopped {moment} write {number}"
            if ended.trouble:
                raise Broken(f"{said}: {ended.trouble}")
            wrote = [call.batch for call in watch.returned("write") if call.batch is not None]
            if wrong := differences(self._sent(wrote), self._found(scene), twice=False):
                raise Broken(f"{said}; {wrong}")

    @check("what a stuck write left behind is written by the next run", "A sink", reads_back=True, after=(_LATER,))
    def test_a_stuck_write_is_made_again_by_the_next_run(self) -> None:
        scene, batches, commands, free = self.scene(), self._batches(3), Commands(), threading.Event()

        def stuck() -> None:
            commands.stop()
            commands.stop()  # a second signal abandons what is left
            free.wait(self.patience)

        watch = Watch((Fault("write", 2, "before", stuck),))
        self._write(scene, batches, watch, commands=commands)
        free.set()
        wait_until(lambda: bool(watch.returned("close")), self.patience)
        self._writes(scene, batches)
        if wrong := differences(self._sent(batches), self._found(scene), twice=not self._is_transactional()):
            raise Broken(f"the second write was stuck, the run was abandoned, and a further run ended well; {wrong}")

    @check("write may be called again with the same rows, on the same instance", "Components", reads_back=True)
    def test_write_can_be_called_again_with_the_same_rows(self) -> None:
        moments = ("before",) if self._is_transactional() else ("before", "after")
        for moment in moments:
            scene, batches = self.scene(), self._batches(3)
            faults = tuple(Fault("write", number, moment, raise_fault) for number in (1, 4))  # type: ignore[arg-type]
            self._writes(scene, batches, Watch(faults), on_error=_AGAIN)
            if wrong := differences(self._sent(batches), self._found(scene), twice=True):
                raise Broken(f"an exception came {moment} a write, and it was called again; {wrong}")

    @check("an idempotent sink has the same after rows were written twice", _PROMISES, reads_back=True)
    def test_an_idempotent_sink_stores_repeated_rows_once(self) -> None:
        if not self.component_class().idempotent:
            raise NotApplicable("it does not promise idempotent = True")
        scene, batches = self.scene(), self._batches(3)
        watch = Watch((Fault("write", 2, "after", raise_fault),))
        self._writes(scene, batches, watch, on_error=_AGAIN)
        self._writes(scene, batches, source="again")
        if wrong := differences(self._sent(batches), self._found(scene), twice=False):
            raise Broken(f"it says idempotent = True; the rows were written again, and {wrong}")

    @check("batches are immutable: other branches of the graph may hold the same one", "A transform")
    def test_rows_that_were_handed_in_are_not_changed(self) -> None:
        batches = self._batches(2)
        before = copy.deepcopy([batch.rows for batch in batches])
        self._write(self.scene(), batches)
        for batch, rows in zip(batches, before, strict=True):
            for now, then in zip(batch.rows, rows, strict=True):
                if now != then:
                    raise Broken(f"the row {then} was handed in; after write it was {now}")

    @check("open and close work also when no row comes", "Components", after=(CLOSE,))
    def test_a_run_without_rows_ends_well(self) -> None:
        ended = self._write(self.scene(), [])
        if ended.trouble:
            raise Broken(f"a run without rows: {ended.trouble}")

    @check(
        "workers share no state: each writes its rows, or open refuses them",
        "Components",
        reads_back=True,
        after=(_EMPTY,),
    )
    def test_several_workers_store_every_row(self) -> None:
        if self._is_transactional():
            raise NotApplicable("a transactional sink has one worker")
        scene, batches, both = self.scene(), self._batches(8), threading.Event()

        def wait() -> None:
            both.wait(self.patience)

        at_once = (
            Fault("write", 1, "before", wait),
            Fault("write", 2, "before", both.set),
        )
        ended = self._write(scene, batches, Watch(at_once), workers=3)
        if any(failure.during == "open" for failure in ended.report.failures):
            return
        if ended.trouble:
            raise Broken(f"with three workers: {ended.trouble}")
        if wrong := differences(self._sent(batches), self._found(scene), twice=False):
            raise Broken(f"with three workers; {wrong}")

    # -- checks of what rows may hold ------------------------------------------------------------------------------

    @check("a batch of very many rows is stored whole", "A sink", reads_back=True)
    def test_a_huge_batch_is_stored_whole(self) -> None:
        scene, batches = self.scene(), data.batches(self.row, 1, self.huge)
        self._writes(scene, batches)
        if wrong := differences(self._sent(batches), self._found(scene), twice=False):
            raise Broken(f"a batch of {self.huge:,} rows was written; {wrong}")

    @check("text of any script is stored as it is, or the row is refused", "A sink", reads_back=True)
    def test_any_text_is_stored_as_it_is(self) -> None:
        if self.text is None:
            raise NotApplicable("no column takes any text")
        rows = [{**self.row(number), self.text: text} for number, text in enumerate(data.TEXTS)]
        self._check_kept([Batch.from_rows(rows)])

    @check("a row with nulls is stored, or refused", "A sink", reads_back=True)
    def test_rows_with_nulls_are_stored_or_refused(self) -> None:
        self._check_kept(data.nulls(self.row))

    @check("columns may come and go from row to row: each row is stored whole, or refused", "A sink", reads_back=True)
    def test_rows_of_changing_shapes_are_stored_or_refused(self) -> None:
        self._check_kept(data.shapes(self.row))

    @check("values of any Arrow type are stored, or their rows refused: never left out", "A sink", reads_back=True)
    def test_every_arrow_type_is_stored_or_refused(self) -> None:
        kinds = dict(data.typed(self.row))
        if not self._check_types(kinds):
            for kind, batch in kinds.items():  # a transactional sink that refuses one type stops the run
                self._check_types({kind: batch})

    def _check_types(self, kinds: Mapping[str, Batch]) -> bool:
        """Write batches of some types; False when a transactional sink refused them altogether."""
        scene = self.scene()
        ended = self._write(scene, list(kinds.values()), on_error=_REFUSE)
        if ended.report.failures and self._is_transactional():
            return False
        if ended.trouble:
            raise Broken(ended.trouble)
        found = self._found(scene) + self._refused(scene)
        lost = [kind for kind, batch in kinds.items() if self._sent([batch]) - found]
        if lost:
            raise Broken(f"neither stored nor refused: rows with a column of {', '.join(lost)}")
        return True

    def _check_kept(self, batches: Sequence[Batch]) -> None:
        """Write rows, each of which may be refused; what is stored has the texts of its row."""
        scene = self.scene()
        sent = {self._identity(row): dict(row) for batch in batches for row in batch.rows}
        ended = self._write(scene, batches, on_error=_REFUSE)
        if ended.trouble:
            if self._is_transactional() and ended.report.failures:
                return
            raise Broken(ended.trouble)
        if lost := Counter(sent.keys()) - self._found(scene) - self._refused(scene):
            raise Broken(f"neither stored nor refused: {named(repr(sent[one]) for one in lost)}")
        for row in self._stored(scene):
            for column, value in sent[self._identity(row)].items():
                if isinstance(value, str) and row.get(column) != value:
                    raise Broken(f"{column} was {value!r:.200}; what is stored is {row.get(column)!r:.200}")
                if value is None and row.get(column) == "None":
                    raise Broken(f"{column} was null; what is stored is the text None")

    def _refused(self, scene: Scene) -> Counter[str]:
        with StateStore(scene.state) as store:
            return Counter(self._identity(letter.row) for letter in store.dead_letters(PIPELINE))

    def _write_two(self, scene: Scene, ones: Sequence[Batch], others: Sequence[Batch]) -> Ended:
        stages = {
            "one": {"source": "one"},
            "other": {"source": "other"},
            "out": {**self.stage(scene), "from": ["one", "other"]},
        }
        return self.run(scene, stages, {"one": feed(ones, True), "other": feed(others, True)})

    def _killed_inside(self) -> Iterator[tuple[ChildFault, Scene, list[Batch]]]:
        """Scenes whose process was killed at some moment inside a write, drawn from all there are."""
        for number in range(self.kills):  # spread over the write
            part = (number + self.random.random()) / self.kills
            fault = ChildFault("write", 3, "inside", part)
            scene, batches, _ = self._kill(fault)
            yield fault, scene, batches


def _inside(fault: ChildFault) -> str:
    return f"within write {fault.number}, after {fault.part:.0%} of the calls in it"
