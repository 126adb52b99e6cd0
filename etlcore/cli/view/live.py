"""A run as a live table on a terminal, with rich. Messages, and the rows of a sink that prints to the same terminal,
appear above it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live
from rich.segment import SegmentLines
from rich.text import Text

from etlcore.cli.view.figures import Meter
from etlcore.cli.view.lines import Lines
from etlcore.cli.view.shared import SharedTerminal, same_terminal, write_all
from etlcore.cli.view.table import STYLES, picture
from etlcore.cli.view.text import TextView
from etlcore.runtime.run import Run
from etlcore.runtime.status import Late, late_stage

REFRESH_EVERY = 0.25
"""Seconds between two pictures."""

_SHARE = 5  # at most one part in so many of a sink's time goes into drawing


class LiveLines(Lines):
    """Lines above a table that stays at the bottom of the terminal. All drawing is done by the writing thread, but for
    rows: whoever writes those must know that they are written.
    """

    def __init__(self) -> None:
        super().__init__()
        self._console = Console(file=self.stream, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._live: Live | None = None
        self._next: RenderableType | None = None
        """A table that waits to be drawn."""
        self._shown: RenderableType | None = None
        """The table as it was last laid out."""
        self._visible = False
        self._drawn = 0.0
        self._cost = 0.0
        """Seconds that the last drawing took."""
        self._above = 0.0
        """When rows were last written above the table."""

    def write(self, text: str, tone: str) -> None:
        self._console.print(Text(text, style=STYLES[tone]), soft_wrap=True)

    def begin(self) -> None:
        """From now on there is a table."""
        self.later(self._begin)

    def end(self) -> None:
        """Take the table away."""
        self.later(self._end)

    def due(self) -> bool:
        """The table has been standing for long enough."""
        return self._next is None and time.monotonic() - self._drawn >= REFRESH_EVERY

    def draw(self, table: RenderableType) -> None:
        """Show a new table in place of the old one."""
        self._next = table
        self.later(self._draw)

    def write_above(self, descriptor: int, data: bytes) -> None:
        """Write whole lines of data to the same terminal, above the table. Raises OSError."""
        with self.lock:
            if self._visible:
                self._replace(None)
            write_all(descriptor, data)
            now = time.monotonic()
            # Rows that come thick and fast must not be slowed down by a table between any two of them.
            if now - self._above >= _SHARE * self._cost:
                self._replace(self._shown)
            self._above = time.monotonic()

    # Under the lock

    def _begin(self) -> None:
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._live.start()
        # A process may be ended while the table is shown, and would leave a terminal without a cursor behind.
        self._console.show_cursor(True)

    def _end(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _draw(self) -> None:
        table, self._next = self._next, None
        if table is not None and self._live is not None:
            # Laid out once: it is drawn again below every row that is written above it.
            self._shown = SegmentLines(self._console.render_lines(table, pad=False), new_lines=True)
            self._drawn = time.monotonic()
            self._replace(self._shown)

    def _replace(self, shown: RenderableType | None) -> None:
        """Draw a table, or None: then the cursor stands where the table began."""
        if self._live is not None:
            began = time.monotonic()
            self._live.update(Text("") if shown is None else shown, refresh=True)
            self._visible = shown is not None
            self._cost = time.monotonic() - began


class LiveView(TextView):
    """Shows a run as a table that is drawn anew some times a second."""

    lines: LiveLines

    def __init__(self, lines: LiveLines, level: int) -> None:
        super().__init__(lines, level)
        self._rates = Meter()
        self._deadline: float | None = None

    @contextmanager
    def showing(self, run: Run) -> Iterator[None]:
        before = sys.stdout, sys.stderr
        if same_terminal(sys.stdout, sys.stderr):
            sys.stdout = SharedTerminal(sys.stdout, self.lines.write_above)
        sys.stderr = SharedTerminal(sys.stderr, self.lines.write_above)
        during = sys.stdout, sys.stderr
        self.lines.begin()
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before
            for stream in during:
                if isinstance(stream, SharedTerminal):
                    self.lines.later(stream.finish)
            self.lines.end()

    def tick(self, run: Run) -> None:
        if self.lines.due():
            late = late_stage(run) if run.draining() else None
            left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
            self.lines.draw(picture(self._rates.look(run), run.reason, late, left, unicode=self.lines.unicode))

    def stopping(self, run: Run, timeout: float | None) -> None:
        super().stopping(run, timeout)
        if timeout is not None:
            self._deadline = time.monotonic() + timeout

    def late(self, run: Run, late: Late, left: float) -> None:
        """The table says it all the time."""
