"""The contract of a sink, as checks."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from etlcore.batch import Batch, Row
from etlcore.testing import data
from etlcore.testing.checks import Broken, NotApplicable, check
from etlcore.testing.common import ComponentContract, Scene, differences, named
from etlcore.testing.faults import Fault, Watch, raise_fault
from etlcore.testing.parts import feed
from etlcore.testing.runs import ChildFault, Commands, Ended, Job, Killed, reference, run_process

_DURABLE = "test_write_returns_only_when_rows_are_durable"
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

    def _found(self, scene: Scene) -> Counter[str]:
        return Counter(self._identity(row) for row in self.stored(scene.options))

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
        pause: float = 0.0,
        workers: int | None = None,
        on_error: Any = None,
    ) -> Ended:
        stages = {source: {"source": "feed"}, "out": self.stage(scene, workers=workers, on_error=on_error)}
        return self.run(scene, stages, {"feed": feed(batches, pause)}, watch, commands)

    def _writes(self, scene: Scene, batches: Sequence[Batch], watch: Watch | None = None, **more: Any) -> None:
        """As `_write`, of a run that must go well."""
        ended = self._write(scene, batches, watch, **more)
        if ended.trouble:
            raise Broken(ended.trouble)

    def plain_run(self, scene: Scene, watch: Watch) -> Ended:
        return self._write(scene, self._batches(2), watch)

    def _is_transactional(self) -> bool:
        return bool(self.component_class().transactional)

    def _pause(self) -> float:
        """Seconds between two batches, so that each is written alone: a transaction takes all that has come."""
        return 0.03 if self._is_transactional() else 0.0

    def _kill(self, scene: Scene, fault: ChildFault, batches: Sequence[Batch]) -> Killed:
        """Write in a process that is killed at a moment."""
        component = self.component
        stages = {"feed": {"source": "feed"}, "out": self.stage(scene)}
        from etlcore.testing.runs import write_pipeline

        job = Job(
            component=component if isinstance(component, str) else reference(component),
            kind="sink",
            name=self.name,
            file=write_pipeline(scene.directory, stages, timeout=self.patience),
            state=scene.state,
            journal=scene.directory / "journal",
            fault=fault,
            key=self.key,
            rows=[batch.rows for batch in batches],
            pause=self._pause(),
            out=scene.directory / "out",
        )
        killed = run_process(job, patience=self.patience)
        if killed.code != -9:
            raise Broken(f"the run in a process of its own ended with {killed.code}:\n{killed.stderr}")
        return killed

    # -- checks ----------------------------------------------------------------------------------------------------

    @check("the rows of every write that returned are stored, once each", "A sink", reads_back=True)
    def test_every_row_is_stored_once(self) -> None:
        scene, batches = self.scene(), self._batches()
        self._writes(scene, batches)
        if wrong := differences(self._sent(batches), self._found(scene), twice=False):
            raise Broken(f"{sum(map(len, batches))} rows were written; {wrong}")

    @check("write returns only when all rows are durable", "A sink", reads_back=True)
    def test_write_returns_only_when_rows_are_durable(self) -> None:
        for number in self.random.sample([1, 2, 3, 4], 2):
            scene, batches = self.scene(), self._batches()
            killed = self._kill(scene, ChildFault("write", number, "after"), batches)
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

    @check("write may be called again with the same rows, on the same instance", "Components", reads_back=True)
    def test_write_can_be_called_again_with_the_same_rows(self) -> None:
        moment = self.random.choice(["before", "after"]) if not self._is_transactional() else "before"
        for when in {moment, "before"}:
            scene, batches = self.scene(), self._batches(3)
            watch = Watch((Fault("write", 1, when, raise_fault),))  # type: ignore[arg-type]
            self._writes(scene, batches, watch, on_error={"retries": 3, "wait": "1ms"}, pause=self._pause())
            if wrong := differences(self._sent(batches), self._found(scene), twice=True):
                raise Broken(f"an exception came {when} the first write, and it was called again; {wrong}")

    @check(
        "an idempotent sink has the same after rows were written twice", "What a component promises", reads_back=True
    )
    def test_an_idempotent_sink_stores_repeated_rows_once(self) -> None:
        if not self.component_class().idempotent:
            raise NotApplicable("it does not promise idempotent = True")
        scene, batches = self.scene(), self._batches(3)
        watch = Watch((Fault("write", 2, "after", raise_fault),))
        self._writes(scene, batches, watch, on_error={"retries": 3, "wait": "1ms"})
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
