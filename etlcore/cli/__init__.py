"""The command line, `etl`: one file a verb, imported when it is typed.

Exit codes, beside those of a run: 0 done; 2 the command line or a pipeline is wrong; 70 a fault in etlcore itself;
74 the machine refused to read or write; 130 interrupted before there was anything to stop; 141 nobody reads the output
any more.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """The `etl` script: runs a command line (the process's own by default) and gives its exit code."""
    try:
        from etlcore.cli.app import run_command_line

        code = run_command_line(arguments)
    except KeyboardInterrupt:
        code = 130
    if arguments is None:
        from etlcore.cli.leaving import ignore_late_signals, leave_in_time

        ignore_late_signals()
        leave_in_time(code)
    return code
