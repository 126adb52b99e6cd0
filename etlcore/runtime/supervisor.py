"""Watches over a run from its start to its report: signals, the deadline, who is late.

running --(signal, end of input, a stage's stop)--> draining --(all settled)--> done
                                                       |--(deadline, second signal)--> abandoned
"""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Protocol

from etlcore.runtime.report import Report, make_report, stuck_workers
from etlcore.runtime.run import Run
from etlcore.runtime.status import Late, late_stage

CHANGED = ""
"""The command that only wakes the supervisor up."""

LATE_EVERY = 3.0  # seconds between two lines that name the late stage
_GRACE_AT_DEADLINE = 5.0  # seconds for the last commit of what was delivered before the deadline
_GRACE_AT_SIGNAL = 1.0  # the same after a second signal, which asks for an end at once


class Watcher(Protocol):
    """Shows a run to somebody; called from the supervisor's thread alone."""

    def tick(self, run: Run) -> None:
        """Called several times a second."""

    def stopping(self, run: Run, timeout: float | None) -> None:
        """The run drains now, and has ``timeout`` seconds for it (None: as long as it makes progress)."""

    def late(self, run: Run, late: Late, left: float) -> None:
        """The drain goes on; this stage is what it waits for, and there are ``left`` seconds."""

    def abandoning(self, run: Run) -> None:
        """What is left is given up (``run.abandoned_because``); only what was delivered is still committed."""


def supervise(run: Run, commands: SimpleQueue[str], watcher: Watcher, *, tick: float = 0.2) -> Report:
    """Run to the end and return the drain report. ``commands`` brings signal names and `CHANGED`."""
    return _Supervisor(run, commands, watcher, tick).go()


class _Supervisor:
    def __init__(self, run: Run, commands: SimpleQueue[str], watcher: Watcher, tick: float) -> None:
        self._run = run
        self._commands = commands
        self._watcher = watcher
        self._tick = tick
        self._now: Callable[[], float] = run.primitives.now
        self._deadline: float | None = None
        self._asked = False
        """Somebody wants an end: a signal or a failure, and not merely the end of input."""
        self._signals = 0
        self._next_late = 0.0
        self._progress = -1
        self._grace = _GRACE_AT_DEADLINE

    def go(self) -> Report:
        run = self._run
        run.start()
        while not run.done and run.abandoned_because is None:
            self._watcher.tick(run)
            self._command()
            self._look()
        stuck = stuck_workers(run) if run.abandoned_because else []
        if run.abandoned_because:
            self._last_commits()
        run.join(0.0 if stuck else 1.0)
        self._watcher.tick(run)
        return make_report(run, stuck)

    def _command(self) -> None:
        try:
            command = self._commands.get(timeout=self._tick)
        except Empty:
            return
        if command == CHANGED:
            return
        self._signals += 1
        if self._signals > 1:
            self._grace = _GRACE_AT_SIGNAL
            self._abandon(f"a second signal ({command})")
            return
        self._run.stop(command)
        if not self._asked:
            self._begin_drain(asked=True)

    def _begin_drain(self, *, asked: bool) -> None:
        self._asked = self._asked or asked
        timeout = self._run.pipeline.shutdown_timeout
        self._deadline = self._now() + timeout
        self._next_late = self._now() + LATE_EVERY
        self._watcher.stopping(self._run, timeout if asked else None)

    def _look(self) -> None:
        """Begin the drain where the run began it by itself, name who is late, and keep the deadline."""
        run = self._run
        if run.failures and not self._asked:
            self._begin_drain(asked=True)
        elif self._deadline is None and run.draining():
            self._begin_drain(asked=False)
        if self._deadline is None or run.done:
            return
        now = self._now()
        if not self._asked:
            # Nobody waits for the end of a run that merely came to the end of its input: it may take its time, as
            # long as rows come to their end. Without any progress it is stuck, and the deadline holds for that.
            progress = run.progress()
            if progress != self._progress:
                self._progress = progress
                self._deadline = now + run.pipeline.shutdown_timeout
        if self._asked and now >= self._deadline - run.pipeline.shutdown_timeout / 4:
            run.hurry()
        if now >= self._deadline:
            self._abandon(f"the deadline of {run.pipeline.shutdown_timeout:g} s")
        elif now >= self._next_late:
            self._next_late = now + LATE_EVERY
            late = late_stage(run)
            if late is not None:
                self._watcher.late(run, late, self._deadline - now)

    def _abandon(self, because: str) -> None:
        self._run.abandon(because)
        self._watcher.abandoning(self._run)

    def _last_commits(self) -> None:
        """Give the sources a moment to commit what was delivered before the books were closed."""
        until = self._now() + self._grace
        while self._now() < until and any(not source.ended for source in self._run.sources()):
            try:
                self._commands.get(timeout=0.05)
            except Empty:
                continue
