"""`etl run`: run a pipeline until its sources end or it is stopped."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import click

if TYPE_CHECKING:
    from etlcore.cli.startup import Margins
    from etlcore.cli.view.jsonl import JsonView
    from etlcore.cli.view.text import TextView
    from etlcore.plugins import Plugins
    from etlcore.runtime.report import Report
    from etlcore.spec.model import Pipeline
    from etlcore.state import RunLock, StateStore

EXIT_WRONG = 2
_READERS = 3.0  # seconds for who reads standard error, when somebody waits for the end
_STUCK_FLUSH = 0.5  # seconds for what is left in the buffer of standard output, when a worker is stuck


def _seconds(context: click.Context, option: click.Parameter, given: str | None) -> float | None:
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        hint = "write --timeout 30, or 0 to abandon at once"
        raise click.BadParameter(f"{given!r} is no number of seconds\n  -> {hint}", ctx=context, param=option)
    return seconds


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of `etl run`."""

    file: Path
    state: Path | None
    report: Path | None
    quiet: bool
    log_format: Literal["text", "json"]
    log_level: str | None
    timeout: float | None

    @property
    def level(self) -> int:
        """Of log messages."""
        if self.log_level is not None:
            return logging.getLevelNamesMapping()[self.log_level.upper()]
        if os.environ.get("ETL_DEBUG"):
            return logging.DEBUG
        return logging.WARNING if self.quiet else logging.INFO

    @property
    def state_directory(self) -> Path:
        return self.state if self.state is not None else self.file.parent / ".etl"


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--state",
    metavar="DIR",
    envvar="ETL_STATE",
    type=click.Path(path_type=Path),
    help="Where positions and dead letters are kept (or ETL_STATE). Default: .etl beside FILE.",
)
@click.option("--report", metavar="FILE", type=click.Path(path_type=Path), help="Write the drain report, as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Show warnings and errors only; the report when something is wrong.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json: every line on standard error is one JSON object.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="Which messages of etlcore and of the stages are shown. Default: info; warning with --quiet.",
)
@click.option(
    "--timeout", metavar="SECONDS", callback=_seconds, help="How long a stop may take; overrides the file's `shutdown`."
)
def run(**options: Any) -> int:
    """Run the pipeline FILE until its sources end or it is stopped.

    Rows go to standard output where a stage writes them there; all else goes to standard error: on a terminal a live
    table, otherwise a line every few seconds, and at the end the drain report, which accounts for every row.

    Ctrl-C (or SIGTERM, SIGHUP, SIGQUIT) stops reading and drains what has been read. A second one abandons the rest,
    which the next run reads again; a third ends the process at once.

    Exit codes: 0 drained and balanced; 1 a stage stopped the run; 2 the pipeline or the command line is wrong;
    3 rows were abandoned; 4 the ledger does not balance, which is a bug in etlcore.
    """
    return perform(Options(**options), Execution)


def perform(given: Options, kind: Callable[[Options, TextView | JsonView, Margins], Execution]) -> int:
    """Do what an `Execution` of that kind does, in front of the view that the options ask for; gives the exit code."""
    from etlcore.cli.startup import StoppedEarly, margins
    from etlcore.cli.view.choice import choose_view
    from etlcore.cli.view.logs import logging_to

    view = choose_view(given.log_format, given.level, quiet=given.quiet)
    with logging_to(view.record, given.level):
        try:
            with margins() as around:
                return kind(given, view, around).go()
        except StoppedEarly as stopped:
            view.say(f"{stopped.signal_name} before the run had begun: nothing was read")
            return 0
        finally:
            view.lines.finish()


class Execution:
    """One `etl run`, from the options to the exit code."""

    what: ClassVar[Literal["run", "replay"]] = "run"

    def __init__(self, given: Options, view: TextView | JsonView, around: Margins) -> None:
        self._given = given
        self._view = view
        self._around = around

    def go(self) -> int:
        from etlcore.plugins import PluginError, Plugins
        from etlcore.spec import SpecError
        from etlcore.state import StateError, hold

        plugins = Plugins()
        try:
            pipeline = self._load(plugins)
        except SpecError as error:
            self._view.problems(error)
            return EXIT_WRONG
        wrong = self._cannot_begin(pipeline)
        if wrong:
            return self._refuse(wrong)
        try:
            with hold(self._given.state_directory, pipeline.name, self.what) as lock, self._store() as store:
                return self._perform(pipeline, plugins, store, lock)
        except StateError as error:
            return self._refuse(str(error))
        except PluginError as error:
            return self._refuse(f"{error.message}\n  -> {error.hint}")

    def _perform(self, pipeline: Pipeline, plugins: Plugins, store: StateStore, lock: RunLock) -> int:
        from etlcore.runtime.execution import execute
        from etlcore.runtime.signals import stop_signals

        commands: SimpleQueue[str] = SimpleQueue()
        with stop_signals(commands):
            prepared = self._prepare(pipeline, store)
            if isinstance(prepared, int):
                return prepared
            report = execute(prepared, store, self._view, plugins=plugins, commands=commands, lock=lock, kind=self.what)
            code = self._hand_in(report, prepared, store, plugins)
            self._around.exit_code = code
        return self._leave(code, report)

    def _load(self, plugins: Plugins) -> Pipeline:
        """The checked pipeline. Raises SpecError."""
        from etlcore.cli.view.logs import listen_to_packages
        from etlcore.spec import load

        pipeline = load(self._given.file, plugins=plugins)
        if self._given.timeout is not None:
            pipeline = replace(pipeline, shutdown_timeout=self._given.timeout)
        self._view.know(pipeline)
        listen_to_packages({stage.cls.__module__ for stage in pipeline.stages}, self._given.level)
        return pipeline

    def _store(self) -> StateStore:
        from etlcore.state import StateStore

        return StateStore(self._given.state_directory, mask=self._view.mask.text)

    def _prepare(self, pipeline: Pipeline, store: StateStore) -> Pipeline | int:
        """What is to be run, now that nobody else runs it; or the exit code where there is nothing to run."""
        return pipeline

    def _cannot_begin(self, pipeline: Pipeline) -> str:
        """What keeps the run from beginning, so that it is known before the first row; empty when nothing does."""
        from etlcore.cli.view.document import check_writable

        file = self._given.report
        if file is not None:
            fault = check_writable(file)
            if not fault and file.exists() and file.samefile(self._given.file):
                fault = f"{file} is the pipeline file"
            if fault:
                return f"--report: {fault}\n  -> give a file in a directory that exists and can be written to"
        state = self._given.state_directory
        nearest = next(parent for parent in (state.absolute(), *state.absolute().parents) if parent.exists())
        if not nearest.is_dir():
            return (
                f"the state directory {state} cannot be made: {nearest} is no directory\n  -> choose another: --state"
            )
        if not os.access(nearest, os.W_OK | os.X_OK):
            return (
                f"the state directory {state} cannot be written to\n  -> make it writable, or choose another: --state"
            )
        return ""

    def _refuse(self, message: str) -> int:
        self._view.say(message, logging.ERROR)
        return EXIT_WRONG

    def _hand_in(self, report: Report, pipeline: Pipeline, store: StateStore, plugins: Plugins) -> int:
        """Write the report, show it, and tell the plugins; gives the exit code."""
        from etlcore.cli.view.document import document, write

        data = document(report, self._view.mask)
        code = report.exit_code
        if self._given.report is not None:
            try:
                write(self._given.report, data)
            except OSError as error:
                reason = error.strerror or error
                self._view.say(f"the report could not be written to {self._given.report}: {reason}", logging.ERROR)
                code = code or 1
        self._view.report(report, pipeline, str(store.file))
        plugins.run_finished(data)
        return code

    def _leave(self, code: int, report: Report) -> int:
        """The way out. Neither a worker that is stuck nor a reader that reads nothing must keep the process."""
        ended = not (report.stuck or report.abandoned_because)
        if not _flushed(None if ended else _STUCK_FLUSH):
            self._view.say("standard output could not be flushed: what stages printed is incomplete", logging.ERROR)
            code = code or 1
        wanted = not ended or report.reason.startswith("SIG")  # somebody waits for the end
        shown = self._view.lines.finish(_READERS if wanted else None)
        if not ended or not shown:
            os._exit(code)
        return code


def _flushed(patience: float | None) -> bool:
    """Whether all that was printed is out; what cannot be written is dropped, or it would spoil the exit code.

    A worker that is stuck in writing to standard output holds the lock of its buffer, so there is a limit in seconds.
    """
    flushed = []
    thread = threading.Thread(target=lambda: flushed.append(_flush()), name="etl flushing", daemon=True)
    thread.start()
    thread.join(patience)
    return flushed == [True]


def _flush() -> bool:
    from etlcore.cli.view.lines import silence

    if sys.stdout is None:
        return True
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        silence(sys.stdout)
        return False
    return True
