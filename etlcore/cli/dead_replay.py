"""`etl dead replay`: dead letters run again, through the pipeline as it is now."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import click

from etlcore.cli.dead_filters import chosen, filters, id_option
from etlcore.cli.run import EXIT_WRONG, Execution, Options, perform
from etlcore.cli.run import run as run_command
from etlcore.cli.whereabouts import brief, state_option, table

if TYPE_CHECKING:
    from etlcore.plugins import Plugins
    from etlcore.runtime.replay_plan import Plan, Wanted
    from etlcore.runtime.report import Report
    from etlcore.spec.model import Pipeline
    from etlcore.state import StateStore

_REASONS = 10
_LIKE_RUN = ("report", "quiet", "log_format", "log_level", "timeout")


@click.command(short_help="Run them again, from the stage that refused each.")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@state_option
@filters
@id_option
@click.option("--into", metavar="STAGE", help="With --stage: give its letters to this stage instead.")
@click.option("--dry-run", is_flag=True, help="Say what would be replayed, and change nothing.")
def replay(
    file: Path, state: Path | None, into: str | None, dry_run: bool, ids: tuple[int, ...], **options: Any
) -> int:
    """Run the dead letters of the pipeline FILE again, from the stage that refused each of them on.

    The pipeline is taken as it is now: mend it first. What is refused again is a dead letter again, with its attempts
    counted. A letter is deleted once all that came from it has come to its end; a replay that is stopped or killed
    keeps the others.

    A replay ends with the drain report of a run, and with its exit codes; and it has the pipeline to itself, as a run.
    """
    from etlcore.cli.app import usage_error
    from etlcore.plugins import Plugins
    from etlcore.runtime.replay_plan import Wanted
    from etlcore.spec import load

    if into is not None and options["stage"] is None:
        usage_error("--into needs --stage", "say whose letters it means: --stage STAGE --into OTHER")
    choice = {name: options.pop(name) for name in ("stage", "reason", "since", "before")}
    wanted = Wanted(chosen(None, **choice, ids=ids), into)
    given = Options(file=file, state=state, **options)
    if not dry_run:
        return perform(given, partial(Replay, wanted=wanted))
    return _dry_run(load(file, plugins=Plugins()), given.state_directory, wanted)


# What a run is told about its report, its messages and its deadline is the same for a replay.
replay.params += [option for option in run_command.params if option.name in _LIKE_RUN]


class Replay(Execution):
    """One `etl dead replay`."""

    what: ClassVar[Literal["run", "replay"]] = "replay"

    def __init__(self, *about: Any, wanted: Wanted) -> None:
        super().__init__(*about)
        self._wanted = wanted
        self._plan: Plan | None = None

    def _store(self) -> StateStore:
        from etlcore.runtime.replay import ReplayStore

        return ReplayStore(self._given.state_directory, mask=self._view.mask.text)

    def _prepare(self, pipeline: Pipeline, store: StateStore) -> Pipeline | int:
        from etlcore.runtime.replay import replayed
        from etlcore.runtime.replay_plan import Impossible, in_letters, make_plan

        try:
            plan = make_plan(pipeline, store, self._wanted)
            for selection in plan.selections.values():
                again = store.delete_descendants(selection)
                if again:
                    self._view.say(f"{in_letters(again)} of a replay that was killed: what they came from is replayed")
            self._plan = plan = make_plan(pipeline, store, self._wanted)
        except Impossible as error:
            return self._refuse(str(error))
        for line in plan.staying:
            self._view.say(line, logging.WARNING)
        if not plan.count:
            self._view.say(f"no dead letters of {pipeline.name} to replay in {store.directory}")
            return 0
        return replayed(pipeline, plan.selections)

    def _hand_in(self, report: Report, pipeline: Pipeline, store: StateStore, plugins: Plugins) -> int:
        from etlcore.runtime.replay_plan import in_letters
        from etlcore.state import StateError

        code = super()._hand_in(report, pipeline, store, plugins)
        assert self._plan is not None
        try:
            left = sum(sum(store.count_letters(chosen).values()) for chosen in self._plan.selections.values())
        except StateError as error:
            self._view.say(str(error), logging.WARNING)
            return code
        refused = f", {report.dead_letters:,} refused again" if report.dead_letters else ""
        kept = f", {left:,} left as they were" if left else ""
        self._view.say(f"{in_letters(self._plan.count - left)} replayed{refused}{kept}")
        return code


def _dry_run(pipeline: Pipeline, directory: Path, wanted: Wanted) -> int:
    from etlcore.runtime.replay import DeadLetterSource, replayed
    from etlcore.runtime.replay_plan import Impossible, in_letters, make_plan
    from etlcore.state import StateStore

    with StateStore(directory) as store:
        try:
            plan = make_plan(pipeline, store, wanted)
        except Impossible as error:
            click.echo(str(error), err=True)
            return EXIT_WRONG
        reasons = [
            [f"{count:,}", stage, into, brief(reason)]
            for into, selection in plan.selections.items()
            for stage, reason, count in store.count_reasons(selection, _REASONS)
        ]
    for line in plan.staying:
        click.echo(line, err=True)
    if not plan.count:
        click.echo(f"no dead letters of {pipeline.name} to replay in {directory}")
        return 0
    for line in table([["letters", "refused by", "given to", "reason"], *reasons]):
        click.echo(line)
    through = [stage.name for stage in replayed(pipeline, plan.selections).stages if stage.cls is not DeadLetterSource]
    click.echo(f"{in_letters(plan.count)} would run through {', '.join(through)}; nothing was changed")
    return 0
