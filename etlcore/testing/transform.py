"""The contract of a transform, as checks."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from etlcore.batch import Batch, Row
from etlcore.components import Transform
from etlcore.state import StateStore
from etlcore.testing import data
from etlcore.testing.checks import Broken, NotApplicable, check
from etlcore.testing.common import ComponentContract, Scene, differences, named
from etlcore.testing.faults import Fault, Watch, raise_fault
from etlcore.testing.parts import feed, keeper
from etlcore.testing.runs import PIPELINE, Commands, Ended

_AGAIN = {"retries": 3, "wait": "1ms", "then": "stop"}
_REFUSE = {"retries": 0, "wait": "1ms", "then": "dead_letter"}
_PROMISES = "What a component promises"
_SAME = "test_the_same_input_gives_the_same_output"
_KEPT = "test_no_row_is_kept_beyond_process"
_SIZE = 10  # rows of a batch


class TransformContract(ComponentContract):
    """Subclass it as ``class Test…(TransformContract)``; write ``component``, ``options`` and, best, ``examples``."""

    kind = "transform"
    first_run = "test_rows_go_through"
    examples: ClassVar[Sequence[tuple[Sequence[Row], Sequence[Row]]]] = ()
    """Pairs of rows that are handed in and rows that come out of the main output."""
    huge: ClassVar[int] = 20_000
    """Rows of a batch that counts as huge."""

    def row(self, number: int) -> Row:
        """A row that the transform takes; those of the examples in turn, where there are any."""
        given = [row for rows, _ in self.examples for row in rows]
        return copy.deepcopy(given[number % len(given)]) if given else {"id": number, "text": f"row {number}"}

    # -- runs ------------------------------------------------------------------------------------------------------

    def _batches(self, count: int = 4, first: int = 0) -> list[Batch]:
        return data.batches(self.row, count, _SIZE, first)

    def _through(
        self,
        scene: Scene,
        batches: Sequence[Batch],
        watch: Watch | None = None,
        *,
        workers: int | None = None,
        on_error: Any = None,
        commands: Commands | None = None,
    ) -> tuple[list[Row], Ended]:
        """Send batches through the transform; gives the rows that came out of its main output."""
        rows: list[Row] = []
        stages = {
            "feed": {"source": "feed"},
            "it": self.stage(scene, workers=workers, on_error=on_error),
            "out": {"sink": "keep"},
        }
        for output in self._outputs(scene):  # each must have a reader
            stages[f"out_{output}"] = {"sink": "blackhole", "from": f"it.{output}"}
        classes = {"feed": feed(batches), "keep": keeper(rows.extend)}
        return rows, self.run(scene, stages, classes, watch, commands)

    def _outputs(self, scene: Scene) -> tuple[str, ...]:
        """The further outputs that the transform has with these options."""
        cls = self.component_class()
        config = None
        if cls.Config is not None:
            try:
                config = cls.Config.model_validate(dict(scene.options), context={"directory": scene.directory})
            except ValueError:  # the run says what is wrong with the options, better
                return tuple(cls.outputs)
        outputs: tuple[str, ...] = tuple(cls.outputs_of(config))
        return outputs

    def _goes(self, batches: Sequence[Batch], watch: Watch | None = None, **more: Any) -> list[Row]:
        """As `_through`, of a run that must go well."""
        rows, ended = self._through(self.scene(), batches, watch, **more)
        if ended.trouble:
            raise Broken(ended.trouble)
        return rows

    def plain_run(self, scene: Scene, watch: Watch) -> Ended:
        return self._through(scene, self._batches(2), watch)[1]

    def _promise(self, *, buffers: bool) -> None:
        """What the checks that compare two runs rely on."""
        cls = self.component_class()
        if not cls.deterministic:
            raise NotApplicable("it says deterministic = False")
        if cls.buffers and not buffers:
            raise NotApplicable("it says buffers = True: what it gives depends on the batches before")

    # -- checks ----------------------------------------------------------------------------------------------------

    @check("process gives batches; every row goes on, is filtered, or is rejected", "A transform")
    def test_rows_go_through(self) -> None:
        self._goes(self._batches())

    @check("the examples come out as they are given", "A transform", reads_back=True)
    def test_the_examples_come_out_as_given(self) -> None:
        if not self.examples:
            raise NotApplicable("the author gives no examples")
        for given, wanted in self.examples:
            rows = self._goes([Batch.from_rows(copy.deepcopy(list(given)))])
            if wrong := differences(_counted(wanted), _counted(rows), twice=False):
                raise Broken(f"{named(map(repr, given))} was handed in; of what came out, {wrong}")

    @check("a transform does not change rows that it was handed: it makes new ones", "A transform")
    def test_rows_that_were_handed_in_are_not_changed(self) -> None:
        batches = self._batches(2)
        before = copy.deepcopy([batch.rows for batch in batches])
        self._goes(batches)
        for batch, rows in zip(batches, before, strict=True):
            for now, then in zip(batch.rows, rows, strict=True):
                if now != then:
                    raise Broken(f"the row {then} was handed in; after process it was {now}")

    @check("the same input gives the same output", _PROMISES)
    def test_the_same_input_gives_the_same_output(self) -> None:
        self._promise(buffers=True)
        once, again = (_counted(self._goes(self._batches())) for _ in range(2))
        if wrong := differences(once, again, twice=False):
            raise Broken(f"it says deterministic = True; of what came out the second time, {wrong}")

    @check(
        "a transform keeps rows beyond process only where it says buffers = True",
        "A transform",
        after=(_SAME,),
    )
    def test_no_row_is_kept_beyond_process(self) -> None:
        self._promise(buffers=False)
        batches, watch = self._batches(3), Watch()
        self._goes(batches, watch)
        for call in watch.returned("process"):
            alone = Watch()
            assert call.batch is not None
            self._goes([Batch.from_rows(call.batch.rows)], alone)
            wanted = _counted(_rows(made) for one in alone.returned("process") for made in [one.result])
            if wrong := differences(wanted, _counted([_rows(call.result)]), twice=False):
                raise Broken(f"batch {call.number} alone gives other rows than after the batches before it: {wrong}")

    @check("process may be called again with the same rows, on the same instance", "Components", after=(_KEPT,))
    def test_process_can_be_called_again_with_the_same_rows(self) -> None:
        self._promise(buffers=False)
        wanted = _counted(self._goes(self._batches()))
        watch = Watch((Fault("process", 2, "after", raise_fault),))
        found = _counted(self._goes(self._batches(), watch, on_error=_AGAIN))
        if wrong := differences(wanted, found, twice=False):
            raise Broken(f"an exception came after process, and it was called again with the same rows; {wrong}")

    @check("columns are taken as rows are", "Batches", after=(_SAME,))
    def test_columns_give_what_rows_give(self) -> None:
        self._promise(buffers=True)
        batches = self._batches(2)
        columns = [Batch.from_arrow(batch.arrow) for batch in batches]
        plain = [Batch.from_rows(batch.rows) for batch in columns]  # with the nulls that columns have
        wanted, found = _counted(self._goes(plain)), _counted(self._goes(columns))
        if wrong := differences(wanted, found, twice=False):
            raise Broken(f"the same rows were handed in as columns; of what came out, {wrong}")

    @check("a row that is rejected is missing from the result", "A transform")
    def test_rejected_rows_are_missing_from_the_result(self) -> None:
        watch, scene = Watch(), self.scene()
        batches = [*self._strange(), *self._batches(1)]
        policy = None if self.component_class().buffers else _REFUSE  # one that buffers has no second attempt
        self._through(scene, batches, watch, on_error=policy)
        with StateStore(scene.state) as store:
            rejected = _counted(letter.row for letter in store.dead_letters(PIPELINE) if letter.traceback is None)
        made = _counted(row for call in watch.returned("process") for row in _rows(call.result))
        if both := rejected & made:
            raise Broken(f"rejected, and in the result as well: {named(both)}")

    @check("after rows that cannot be processed, others are", "A transform", after=(_KEPT,))
    def test_others_are_processed_after_strange_rows(self) -> None:
        self._promise(buffers=False)
        batches = self._batches(1)
        wanted = _counted(self._goes(self._batches(1)))
        found, ended = self._through(self.scene(), [*self._strange(), *batches], on_error=_REFUSE)
        if ended.trouble:
            raise Broken(ended.trouble)
        if missing := wanted - _counted(found):
            raise Broken(
                f"after rows with nulls, odd types and changing shapes, these did not come out: {named(missing)}"
            )

    def _strange(self) -> list[Batch]:
        """Rows that few transforms expect."""
        nothing = [dict.fromkeys(self.row(0)), {}]
        return [
            *data.shapes(self.row),
            *data.nulls(self.row),
            Batch.from_rows(nothing),
            *(batch for _, batch in data.typed(self.row)),
            *(Batch.from_rows([_with_text(self.row(n), text)]) for n, text in enumerate(data.TEXTS)),
        ]

    @check("a batch of very many rows goes through whole", "A transform", after=(_KEPT,))
    def test_a_huge_batch_goes_through_whole(self) -> None:
        self._promise(buffers=False)
        size = self.huge // _SIZE
        wanted: Counter[str] = Counter()
        small, huge = data.batches(self.row, 1, _SIZE), data.batches(lambda n: self.row(n % _SIZE), 1, size * _SIZE)
        for one, times in _counted(self._goes(small)).items():
            wanted[one] = times * size
        if wrong := differences(wanted, _counted(self._goes(huge)), twice=False):
            raise Broken(f"a batch of {size * _SIZE:,} rows was handed in; of what came out, {wrong}")

    @check("workers share no state", "Components", after=(_KEPT,))
    def test_several_workers_give_what_one_gives(self) -> None:
        self._promise(buffers=False)
        wanted = _counted(self._goes(self._batches(8)))
        rows, ended = self._through(self.scene(), self._batches(8), workers=3)
        if any(failure.during == "open" for failure in ended.report.failures):
            return
        wrong = differences(wanted, _counted(rows), twice=False)
        if wrong or ended.trouble:
            raise Broken("three workers: " + "; ".join(filter(None, (wrong, ended.trouble))))

    @check(
        "rows go through once each, whenever a run is stopped and another one goes on", "A transform", after=(_KEPT,)
    )
    def test_a_stop_at_any_moment_loses_nothing(self) -> None:
        self._promise(buffers=False)
        wanted, scene, commands = _counted(self._goes(self._batches())), self.scene(), Commands()
        watch = Watch((Fault("process", self.random.randint(1, 3), "before", commands.stop),))
        first, ended = self._through(scene, self._batches(), watch, commands=commands)
        rest, again = self._through(scene, self._batches())
        wrong = differences(wanted, _counted([*first, *rest]), twice=False)
        trouble = ended.trouble or again.trouble
        if wrong or trouble:
            raise Broken("; ".join(filter(None, (wrong, trouble))))

    @check("what is kept comes out at the flush, named after the batches that it was made of", "A transform")
    def test_what_is_kept_comes_out_at_the_flush(self) -> None:
        cls = self.component_class()
        if not cls.buffers:
            if cls.flush is not Transform.flush:
                watch = Watch()
                self._goes(self._batches(), watch)
                return
            raise NotApplicable("it says buffers = False")
        batches, watch = self._batches(5), Watch()
        rows, ended = self._through(self.scene(), batches, watch)
        if ended.trouble:
            raise Broken(ended.trouble)
        named_ones = {id(origin) for call in self._made(watch) for batch in call for origin in batch.derived or ()}
        forgotten = [c for c in watch.returned("process") if c.batch is not None and id(c.batch) not in named_ones]
        if forgotten:
            numbers = ", ".join(str(call.number) for call in forgotten)
            raise Broken(
                f"of the batches {numbers} nothing came out, in process or at the flush ({len(rows)} rows did)"
            )

    @staticmethod
    def _made(watch: Watch) -> list[list[Batch]]:
        return [_batches_of(call.result) for name in ("process", "flush") for call in watch.returned(name)]


def _batches_of(result: Any) -> list[Batch]:
    """The batches that `process` or `flush` gave, of all outputs."""
    if result is None:
        return []
    if isinstance(result, Batch):
        return [result]
    return [item[1] if isinstance(item, tuple) else item for item in result]


def _rows(result: Any) -> list[Row]:
    return [row for batch in _batches_of(result) for row in batch.rows]


def _with_text(row: Row, text: str) -> Row:
    return {name: text if isinstance(value, str) else value for name, value in row.items()}


def _counted(rows: Iterable[Mapping[str, Any] | Sequence[Row]]) -> Counter[str]:
    """Rows by what they hold."""
    found: Counter[str] = Counter()
    for row in rows:
        for one in [row] if isinstance(row, Mapping) else row:
            found[json.dumps(one, sort_keys=True, default=repr)] += 1
    return found
