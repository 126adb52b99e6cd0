"""Which of the views a run gets."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from etlcore.cli.view.lines import Lines
from etlcore.cli.view.text import TextView

if TYPE_CHECKING:
    from etlcore.cli.view.jsonl import JsonView

LogFormat = Literal["text", "json"]


def choose_view(log_format: LogFormat, level: int, *, quiet: bool) -> TextView | JsonView:
    """A live table on a terminal; plain lines elsewhere and with ``quiet``; JSON objects where that is asked for."""
    if log_format == "json":
        from etlcore.cli.view.jsonl import JsonView

        return JsonView(Lines(), level, quiet=quiet)
    lines = Lines()
    if quiet or not lines.terminal or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        return TextView(lines, level, quiet=quiet)
    from etlcore.cli.view.live import LiveLines, LiveView

    return LiveView(LiveLines(), level)
