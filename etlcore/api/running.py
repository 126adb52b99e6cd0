"""A run that is started from Python, and what it gives back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from etlcore.plugins import Plugins
    from etlcore.runtime.replay_plan import Wanted
    from etlcore.runtime.report import Report
    from etlcore.runtime.run import Event, Run
    from etlcore.runtime.status import Late
    from etlcore.spec import model
    from etlcore.state import RunLock, StateStore


@dataclass(frozen=True)
class Ran:
    """A run that has ended: the drain report, and how it reads."""

    report: Report
    pipeline: model.Pipeline
    state: Path
    """The state directory."""

    def __post_init__(self) -> None:
        from etlcore.cli.view.secrets import Mask

        mask = Mask(self.pipeline).text
        failures = [replace(it, error=mask(it.error), traceback=mask(it.traceback)) for it in self.report.failures]
        object.__setattr__(self, "report", replace(self.report, failures=failures))

    @property
    def exit_code(self) -> int:
        """What `etl run` would have ended with."""
        return self.report.exit_code

    @property
    def ok(self) -> bool:
        """Everything that was read has come to its end."""
        return self.exit_code == 0

    def to_json(self) -> dict[str, Any]:
        """As ``etl run --report`` writes it; without secrets."""
        from etlcore.cli.view.document import document
        from etlcore.cli.view.secrets import Mask

        return document(self.report, Mask(self.pipeline))

    def __str__(self) -> str:
        from etlcore.cli.view.report import report_lines
        from etlcore.cli.view.secrets import Mask

        shown = report_lines(self.report, self.pipeline, str(self.state), debugging=True)
        lines = "\n".join(line for line, _ in shown)
        return Mask(self.pipeline).text(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


class RunFailed(Exception):
    """A run ended with another exit code than 0; ``ran`` has the report, and the notes the tracebacks of stages.

    The exceptions of stages are no causes of this one: their texts may hold secrets.
    """

    def __init__(self, ran: Ran) -> None:
        super().__init__(str(ran))
        self.ran = ran
        for failure in ran.report.failures:
            self.add_note(failure.traceback)


def run_checked(pipeline: model.Pipeline, state: Path, plugins: Plugins, watch: Callable[[Run], None] | None) -> Ran:
    """Run a checked pipeline to its end, as `etl run` does. Raises StateError and PluginError."""
    from etlcore.cli.view.secrets import Mask
    from etlcore.state import StateStore, hold

    mask = Mask(pipeline)
    with hold(state, pipeline.name, "run") as lock, StateStore(state, mask=mask.text) as store:
        return _execute(pipeline, store, lock, plugins, watch, "run")


def replay_checked(
    pipeline: model.Pipeline, state: Path, plugins: Plugins, wanted: Wanted, watch: Callable[[Run], None] | None
) -> Ran | None:
    """Replay dead letters, as `etl dead replay` does; None when there are none.

    Raises Impossible, StateError and PluginError.
    """
    from etlcore.cli.view.secrets import Mask
    from etlcore.runtime.replay import ReplayStore, replayed
    from etlcore.runtime.replay_plan import make_plan
    from etlcore.state import hold

    mask = Mask(pipeline)
    with hold(state, pipeline.name, "replay") as lock, ReplayStore(state, mask=mask.text) as store:
        for selection in make_plan(pipeline, store, wanted).selections.values():
            store.delete_descendants(selection)  # of a replay that was killed
        plan = make_plan(pipeline, store, wanted)
        if not plan.count:
            return None
        return _execute(replayed(pipeline, plan.selections), store, lock, plugins, watch, "replay")


def _execute(
    pipeline: model.Pipeline,
    store: StateStore,
    lock: RunLock,
    plugins: Plugins,
    watch: Callable[[Run], None] | None,
    kind: Literal["run", "replay"],
) -> Ran:
    from etlcore.runtime.execution import execute

    commands: SimpleQueue[str] = SimpleQueue()
    with _interrupts(commands):
        report = execute(pipeline, store, _Audience(watch), plugins=plugins, commands=commands, lock=lock, kind=kind)
        ran = Ran(report, pipeline, store.directory)
        plugins.run_finished(ran.to_json())
    return ran


@contextmanager
def _interrupts(commands: SimpleQueue[str]) -> Iterator[None]:
    """While the block runs in the main thread, Ctrl-C (a notebook's "interrupt") drains, and a second one abandons."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        commands.put(signal.Signals(number).name)

    former = signal.signal(signal.SIGINT, on_signal)
    try:
        yield
    finally:
        # Of a handler that is none of Python's there is only None to put back.
        signal.signal(signal.SIGINT, signal.SIG_DFL if former is None else former)


class _Audience:
    """Calls a function several times a second."""

    def __init__(self, watch: Callable[[Run], None] | None) -> None:
        self._watch = watch

    def showing(self, run: Run) -> AbstractContextManager[None]:
        return nullcontext()

    def tick(self, run: Run) -> None:
        if self._watch is not None:
            self._watch(run)

    def event(self, run: Run, event: Event) -> None: ...
    def stopping(self, run: Run, timeout: float | None) -> None: ...
    def late(self, run: Run, late: Late, left: float) -> None: ...
    def abandoning(self, run: Run) -> None: ...
