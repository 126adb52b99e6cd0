"""A run as plain lines: what is shown where there is no terminal, and what the live table stands on."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from etlcore.cli.view.figures import Meter
from etlcore.cli.view.lines import Lines
from etlcore.cli.view.logs import message, traceback_of
from etlcore.cli.view.report import BAD, again, report_lines
from etlcore.cli.view.secrets import Mask
from etlcore.cli.view.sentences import abandon_line, idle_line, late_line, status_line, stop_line
from etlcore.cli.view.words import plural
from etlcore.runtime.report import Report
from etlcore.runtime.run import Event, Run
from etlcore.runtime.status import Late
from etlcore.runtime.supervisor import LATE_EVERY
from etlcore.spec.model import Pipeline
from etlcore.spec.problems import SpecError

STATUS_EVERY = 5.0  # seconds between two status lines


class TextView:
    """Shows a run on `Lines`. ``level`` is that of log messages; from WARNING up (``--quiet``) only warnings and errors
    are shown, and the report where the exit code is not 0.
    """

    def __init__(self, lines: Lines, level: int, *, quiet: bool = False) -> None:
        self.lines = lines
        person = lines.terminal
        self._clock = "%H:%M:%S" if person else "%Y-%m-%d %H:%M:%S"
        self._again = f"{'Press Ctrl-C again to abandon' if person else 'A second signal abandons'} what is left."
        self.level = level
        self.quiet = quiet
        self.mask = Mask()
        self._meter = Meter(STATUS_EVERY)
        self._next_status = STATUS_EVERY
        self._asked = False
        """The drain was asked for, and not merely the end of input."""

    # Outside of a run

    def know(self, pipeline: Pipeline) -> None:
        """From now on the pipeline's secrets are masked."""
        self.mask = Mask(pipeline)

    def say(self, text: str, level: int = logging.INFO) -> None:
        """A line of etl's own."""
        if not self.quiet or level >= logging.WARNING:
            self._show(text, BAD if level >= logging.ERROR else "")

    def problems(self, error: SpecError) -> None:
        """The pipeline file is wrong."""
        self._show(str(error), "")

    def record(self, record: logging.LogRecord) -> None:
        """A log message; called on any thread."""
        origin, text = message(record)
        moment = time.strftime(self._clock, time.localtime(record.created))
        lines = [f"{moment} {record.levelname:<7} {origin}: {text}"]
        trace = traceback_of(record)
        if trace:
            lines.append(trace)
        self._show("\n".join(lines), BAD if record.levelno >= logging.ERROR else "")

    # During a run

    @contextmanager
    def showing(self, run: Run) -> Iterator[None]:
        """The run is under way while the block runs."""
        stages = plural(len(run.pipeline.stages), "stage")
        self.say(f"{run.pipeline.name}: {stages}; state in {run.store.directory}")
        yield

    def event(self, run: Run, event: Event) -> None:
        """A stage came to a point of its lifecycle; called on the threads of workers."""
        if event.what == "failed" and self._asked:
            self.say(f"stage {event.stage} failed in the drain; the report will name the cause", logging.WARNING)

    def tick(self, run: Run) -> None:
        if run.elapsed() >= self._next_status and not run.done:
            self._next_status = run.elapsed() + STATUS_EVERY
            if not self._asked:
                self.say(status_line(self._meter.look(run)))

    def stopping(self, run: Run, timeout: float | None) -> None:
        if timeout is not None:
            self._asked = True
            self.say(stop_line(run.reason or "stopped", timeout, self._again))

    def late(self, run: Run, late: Late, left: float) -> None:
        still = run.pipeline.shutdown_timeout - left
        if self._asked:
            self.say(late_line(late, left), logging.WARNING)
        elif still >= LATE_EVERY:
            self.say(idle_line(late, still, left), logging.WARNING)

    def abandoning(self, run: Run) -> None:
        self.say(abandon_line(run.abandoned_because or "", again(run.pipeline, 2)), logging.WARNING)

    # After it

    def report(self, report: Report, pipeline: Pipeline, state_file: str) -> None:
        """The drain report."""
        if self.quiet and report.exit_code == 0:
            return
        debugging = self.level <= logging.DEBUG
        for text, tone in report_lines(report, pipeline, state_file, debugging=debugging):
            self._show(text, tone)

    def _show(self, text: str, tone: str) -> None:
        self.lines.line(self.mask.text(text), tone)
