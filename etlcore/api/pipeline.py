"""A pipeline in Python: out of a file, or built in code; checked, explained, drawn, tried out and run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from etlcore.api.local import LocalPlugins
from etlcore.api.running import Ran, RunFailed, replay_checked, run_checked
from etlcore.api.stepping import Step
from etlcore.api.table import Table
from etlcore.api.writing import secrets_in
from etlcore.plugins.records import KINDS, Kind

if TYPE_CHECKING:
    from datetime import datetime

    from pydantic import BaseModel

    from etlcore.batch import Batch, Position, Row
    from etlcore.explain import Way
    from etlcore.runtime.probing import Probed
    from etlcore.runtime.run import Run
    from etlcore.spec import Problem, model
    from etlcore.stage_plan import StagePlan
    from etlcore.state import DeadLetter, RunRecord, StoredPosition
    from etlcore.trial import CaseResult, Outcome

StrPath = str | os.PathLike[str]


def load(file: StrPath, *, environ: Mapping[str, str] | None = None) -> Pipeline:
    """The pipeline of a file. ``environ`` stands in for the process's environment. Raises SpecError."""
    from etlcore.spec import load as read

    plugins = LocalPlugins()
    return Pipeline._of(read(file, plugins=plugins, environ=environ), plugins, environ)


def check(file: StrPath, *, environ: Mapping[str, str] | None = None) -> list[Problem]:
    """Everything that is wrong with a file, each with its place, what is wrong, and the next step."""
    from etlcore.spec import SpecError

    try:
        load(file, environ=environ)
    except SpecError as error:
        return list(error.problems)
    return []


def _renamed(problems: list[Problem], to: str) -> Iterator[Problem]:
    """Problems of a text that is no file: its lines are shown as they would stand in one."""
    for problem in problems:
        yield problem if problem.place is None else replace(problem, place=replace(problem.place, file=to))


def run(
    file: StrPath,
    *,
    state: StrPath | None = None,
    environ: Mapping[str, str] | None = None,
    timeout: float | None = None,
    check: bool = True,
    watch: Callable[[Run], None] | None = None,
) -> Ran:
    """Run a pipeline file to its end, as `etl run` does; see `Pipeline.run`. Raises SpecError as well."""
    return load(file, environ=environ).run(state=state, timeout=timeout, check=check, watch=watch)


class Pipeline:
    """A pipeline. Made by `load`, or empty by its name and filled with `source`, `transform` and `sink`:

    pipeline = Pipeline("words").source("texts", rows).transform("counted", count).sink("out", "console")
    """

    def __init__(self, name: str, *, directory: StrPath = ".", **settings: Any) -> None:
        """``settings`` are further keys of a pipeline file, such as ``shutdown={"timeout": "5s"}``.

        Relative paths in options are relative to ``directory``, and the state is kept in its ``.etl``.
        """
        self.name = name
        self._directory = Path(directory)
        self._document: dict[str, Any] = {"name": name, **settings, "stages": {}}
        self._plugins = LocalPlugins()
        self._checked: model.Pipeline | None = None
        self._environ: Mapping[str, str] | None = None

    @classmethod
    def _of(cls, checked: model.Pipeline, plugins: LocalPlugins, environ: Mapping[str, str] | None) -> Pipeline:
        made = cls(checked.name, directory=checked.directory)
        made._plugins = plugins
        made._checked = checked
        made._environ = environ
        made._document = {}
        return made

    # -- built in code ----------------------------------------------------------------------------------------------

    def source(self, name: str, component: Any, /, options: Mapping[str, Any] | None = None, **keys: Any) -> Pipeline:
        """Add a source: the name of a component, a Source class, rows, or a function that yields rows.

        ``options`` is what stands under ``with:``; ``keys`` are the other keys of a stage (``workers=4``; ``from_`` for
        ``from``). Returns the pipeline. Raises TypeError for what can be no source, and ValueError for a name that is
        taken or when the pipeline is out of a file.
        """
        return self._add("source", name, component, options, keys)

    def transform(
        self, name: str, component: Any, /, options: Mapping[str, Any] | None = None, **keys: Any
    ) -> Pipeline:
        """Add a transform: the name of a component, a Transform class, or a function of a row."""
        return self._add("transform", name, component, options, keys)

    def sink(self, name: str, component: Any, /, options: Mapping[str, Any] | None = None, **keys: Any) -> Pipeline:
        """Add a sink: the name of a component, a Sink class, a list to append the rows to, or a function of rows."""
        return self._add("sink", name, component, options, keys)

    def _add(self, kind: Kind, name: str, component: Any, options: Mapping[str, Any] | None, keys: Any) -> Pipeline:
        if not self._document:
            raise ValueError(f"{self.name} is out of a file: add the stage there")
        stages = self._document["stages"]
        if name in stages:
            raise ValueError(f"there is a stage `{name}` already")
        named = component if isinstance(component, str) else self._plugins.add(kind, component)
        stage: dict[str, Any] = {kind: named, **{key.removesuffix("_"): value for key, value in keys.items()}}
        if options is not None and not isinstance(options, Mapping):
            raise TypeError(f"the options of stage `{name}` must be a mapping, not {type(options).__name__}")
        if options:
            stage["with"] = dict(options)
        stages[name] = stage
        self._checked = None
        return self

    def to_yaml(self) -> str:
        """The pipeline as a file.

        Raises ValueError when it came out of one, has parts that no file can name, or a secret that is written out.
        """
        if not self._document:
            raise ValueError(f"{self.name} is out of a file already")
        own = [name for name, stage in self._document["stages"].items() if self._is_own(stage)]
        if own:
            raise ValueError(f"stage `{own[0]}` is made of a part of this program: a file cannot name it")
        for name, stage in self._document["stages"].items():
            for option in secrets_in(stage.get("with"), self._model(stage)):
                raise ValueError(
                    f"the option `{option}` of stage `{name}` is a secret, which no file should hold: give it as"
                    f" ${{NAME}}, from the environment, or as ${{file:PATH}}"
                )
        return self._text()

    def _model(self, stage: Mapping[str, Any]) -> type[BaseModel] | None:
        """The model of a stage's options, if there is such a component."""
        from etlcore.plugins import PluginError

        for kind in KINDS:
            if kind in stage:
                try:
                    return self._plugins.load(self._plugins.resolve(stage[kind], kind)).Config
                except PluginError:
                    return None
        return None

    def _is_own(self, stage: Mapping[str, Any]) -> bool:
        return any(self._plugins.owns(str(stage[kind])) for kind in ("source", "transform", "sink") if kind in stage)

    def _text(self) -> str:
        from etlcore.api.writing import as_text

        return as_text(self._document)

    # -- checked ----------------------------------------------------------------------------------------------------

    @property
    def checked(self) -> model.Pipeline:
        """The pipeline as the runtime takes it. Raises SpecError with everything that is wrong."""
        if self._checked is None:
            from etlcore.spec import SpecError, load_text

            file = str(self._directory / f"Pipeline {self.name!r}".replace(os.sep, "_"))  # there is no such file
            try:
                self._checked = replace(load_text(self._text(), file=file, plugins=self._plugins), file=None)
            except SpecError as error:
                raise SpecError(_renamed(error.problems, f"Pipeline({self.name!r})")) from None
        return self._checked

    @property
    def stages(self) -> list[str]:
        """The names of the stages, in order."""
        return [stage.name for stage in self.checked.stages]

    def explain(self) -> list[Way]:
        """What each way from a source to a sink guarantees, why, and what each kind of end costs."""
        from etlcore.explain import explain

        return explain(self.checked)

    def plan(self) -> list[StagePlan]:
        """How each stage will run."""
        from etlcore.stage_plan import plan

        return plan(self.checked)

    def graph(self, form: Literal["text", "mermaid", "svg"] = "text") -> str:
        """The graph, drawn."""
        from etlcore import draw

        return {"text": draw.text, "mermaid": draw.mermaid, "svg": draw.svg}[form](self.checked)

    def probe(self, *, timeout: float = 30.0) -> list[Probed]:
        """Open every source and sink, without reading or writing: what came of it, for each."""
        from etlcore.runtime.probing import probe

        return probe(self.checked, timeout=timeout)

    def __repr__(self) -> str:
        return f"<Pipeline {self.name}: {' '.join(self._names()) or 'no stages'}>"

    def _names(self) -> Iterator[str]:
        yield from self._document["stages"] if self._document else self.stages

    def _repr_svg_(self) -> str:
        return self.graph("svg")

    # -- tried out and run ------------------------------------------------------------------------------------------

    def try_out(self, given: Mapping[str, Batch | Sequence[Row]]) -> Outcome:
        """Run the part that given rows can come to, in the real runtime; nothing outside is read or written.

        ``given`` has rows for stages by name. Raises SpecError, and TrialError for names that are not there.
        """
        from etlcore.trial import try_out

        return try_out(self.checked, given)

    def step(self, stage: str, rows: Batch | Sequence[Row] | Table | Step) -> Step:
        """What one stage makes of rows; they may be those that the step before gave.

        Raises RunFailed when the stage does, TrialError when there is no such stage, and SpecError.
        """
        from etlcore.trial import TrialError, try_out

        given = rows.rows if isinstance(rows, Step) else rows
        batch = given.batch if isinstance(given, Table) else given
        checked = self.checked
        found = next((it for it in checked.stages if it.name == stage), None)
        if found is None:
            raise TrialError(f"there is no stage `{stage}`: the stages are {', '.join(self.stages)}")
        if found.kind == "source":
            raise TrialError(f"stage `{stage}` is a source: it takes no rows")
        outcome = try_out(replace(checked, stages=(replace(found, inputs=()),)), {stage: batch})
        if outcome.report.exit_code:
            raise RunFailed(Ran(outcome.report, checked, self._state(None)))
        outputs = {name: batches for (_, name), batches in outcome.outputs.items() if name is not None}
        main = outcome.written[stage] if found.kind == "sink" else outcome.outputs[stage, None]
        return Step(stage, Table(main), {name: Table(it) for name, it in outputs.items()}, list(outcome.dead))

    def test(self, *, only: str | None = None) -> list[CaseResult]:
        """Run the pipeline's ``tests:``, as `etl test` does: a result for each. ``only`` chooses by a part of the name.

        Raises SpecError when the tests, or the pipeline, are wrong.
        """
        from etlcore.spec import load as read
        from etlcore.spec import load_text
        from etlcore.trial import run_tests

        file = self.checked.file
        if file is not None:
            pipeline = read(file, plugins=self._plugins, environ=self._environ, tests=True)
        else:
            name = str(self._directory / f"{self.name}.yaml")
            pipeline = load_text(self._text(), file=name, plugins=self._plugins, tests=True)
        return run_tests(pipeline, only=only)

    def run(
        self,
        *,
        state: StrPath | None = None,
        timeout: float | None = None,
        check: bool = True,
        watch: Callable[[Run], None] | None = None,
    ) -> Ran:
        """Run to the end, and give the drain report. In the main thread Ctrl-C drains, and a second one abandons.

        ``state`` is the state directory, by default ``.etl`` beside the file. ``timeout`` is how long a stop may take,
        in seconds. ``watch`` is called several times a second. Raises RunFailed when the exit code is not 0 (unless
        ``check`` is False), SpecError, PluginError, and StateError (also while another run has the pipeline).
        """
        if timeout is not None and not (isinstance(timeout, int | float) and 0 <= timeout < float("inf")):
            raise ValueError(f"timeout must be a number of seconds, or 0 to abandon at once, not {timeout!r}")
        checked = self.checked if timeout is None else replace(self.checked, shutdown_timeout=timeout)
        ran = run_checked(checked, self._state(state), self._plugins, watch)
        if check and not ran.ok:
            raise RunFailed(ran)
        return ran

    # -- what is kept -----------------------------------------------------------------------------------------------

    def _state(self, state: StrPath | None) -> Path:
        return self._directory / ".etl" if state is None else Path(state)

    def dead_letters(self, *, state: StrPath | None = None) -> list[DeadLetter]:
        """The rows that stages refused, oldest first. Raises StateError."""
        from etlcore.state import Selection, StateStore

        if not self._state(state).is_dir():
            return []
        with StateStore(self._state(state)) as store:
            return list(store.letters(Selection(self.name)))

    def positions(self, *, state: StrPath | None = None) -> list[StoredPosition]:
        """The positions that the state directory keeps; those of consumer groups are with the service."""
        from etlcore.state import StateStore

        if not self._state(state).is_dir():
            return []
        with StateStore(self._state(state)) as store:
            return store.stored_positions(self.name)

    def history(self, *, state: StrPath | None = None) -> list[RunRecord]:
        """The runs that the state directory knows of, the newest first."""
        from etlcore.state import StateStore

        if not self._state(state).is_dir():
            return []
        with StateStore(self._state(state)) as store:
            return store.runs(self.name)

    def replay(
        self,
        *,
        stage: str | None = None,
        into: str | None = None,
        ids: Sequence[int] | None = None,
        reason: str | None = None,
        state: StrPath | None = None,
        check: bool = True,
        watch: Callable[[Run], None] | None = None,
    ) -> Ran | None:
        """Run dead letters again, from the stage that refused each of them; None when there are none that are meant.

        ``stage``, ``ids`` and ``reason`` (a part of it) choose among them; ``into`` gives those of ``stage`` to another
        stage. Raises `etlcore.runtime.replay_plan.Impossible` when they have nowhere to go, and what `run` raises.
        """
        from etlcore.runtime.replay_plan import Wanted
        from etlcore.state import Selection

        wanted = Wanted(Selection(stage=stage, reason=reason, ids=ids), into)
        ran = replay_checked(self.checked, self._state(state), self._plugins, wanted, watch)
        if ran is not None and check and not ran.ok:
            raise RunFailed(ran)
        return ran

    def purge(
        self,
        *,
        stage: str | None = None,
        ids: Sequence[int] | None = None,
        reason: str | None = None,
        state: StrPath | None = None,
    ) -> int:
        """Delete dead letters for good, all of them or those that are meant; gives how many."""
        from etlcore.state import Selection, StateStore

        if not self._state(state).is_dir():
            return 0
        with StateStore(self._state(state)) as store:
            meant = Selection(self.name, stage=stage, reason=reason, ids=ids, upto=store.last_letter())
            return store.delete_letters(meant)

    def reset(
        self,
        to: Literal["begin", "end"] | datetime | Position,
        *,
        stage: str | None = None,
        partition: str | None = None,
        state: StrPath | None = None,
    ) -> dict[str, dict[str, Any]]:
        """Move positions, as `etl state reset` does: to begin, end, a time (with a zone), or a `Position` as it is.

        Gives what was moved: positions by partition, by stage; None for one that was forgotten. Raises
        `etlcore.runtime.positions.CannotMove`, which says why, and StateError (also while a run has the pipeline).
        """
        from etlcore.batch import Position
        from etlcore.runtime.moving import Target, plan_move
        from etlcore.runtime.positions import keepers
        from etlcore.state import StateStore, hold

        if isinstance(to, Position):
            target, partition = Target(str(to.value), None, to.value), to.partition
        else:
            target = Target(str(to), to)
        directory = self._state(state)
        with (
            hold(directory, self.name, "reset"),
            StateStore(directory) as store,
            keepers(self.checked, store, stage) as found,
        ):
            moves = [plan_move(keeper, target, partition) for keeper in found]
            for move in moves:
                move.keeper.move(move.changes)
        return {move.keeper.stage: move.changes for move in moves if move.changes}
