"""What the verbs about state have in common: where it is, of which pipeline, and how times are written."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?!\d).*")
TIME_HELP = "2024-05-01, 2024-05-01T08:00 (this machine's time), 2024-05-01T08:00Z, or 90s, 30m, 2h, 7d, 2w ago"


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """A state directory, and the pipeline that is meant; None for all that are in it."""

    directory: Path
    pipeline: str | None
    file: Path | None

    @property
    def arguments(self) -> str:
        """What to write behind a verb to mean the same."""
        if self.file is None:
            return f"--state {self.directory}"
        usual = self.directory == self.file.parent / ".etl"
        return str(self.file) if usual else f"{self.file} --state {self.directory}"


def find(file: Path | None, state: Path | None) -> Whereabouts:
    """The state that ``etl VERB [FILE] [--state DIR]`` means.

    Raises click.UsageError when it is not said, and SpecError when the pipeline's name cannot be read.
    """
    if file is None:
        directory = Path(".etl") if state is None else state
        if not directory.is_dir():
            from etlcore.cli.app import usage_error

            usage_error(
                f"there is no state directory {directory}", "name the pipeline FILE, or the directory: --state DIR"
            )
        return Whereabouts(directory, None, None)
    return Whereabouts(file.parent / ".etl" if state is None else state, pipeline_name(file), file)


def pipeline_name(file: Path) -> str:
    """The name of the pipeline in a file, also when much else is wrong with it. Raises SpecError."""
    from etlcore.spec import load
    from etlcore.spec.document import decode, read

    try:
        data = file.read_bytes()
    except (OSError, ValueError):
        return load(file).name  # it cannot be read, and says so
    value = read(decode(data, str(file)), str(file)).value
    name = value.get("name", file.stem) if isinstance(value, dict) else None
    return name if isinstance(name, str) and "${" not in name else load(file).name


class Ordered(click.Group):
    """A group whose help lists its commands in the order in which one needs them: that in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def _state_option(default: str) -> Callable[[F], F]:
    return click.option(
        "--state",
        metavar="DIR",
        envvar="ETL_STATE",
        type=click.Path(path_type=Path),
        help=f"The state directory (or ETL_STATE). Default: {default}.",
    )


state_option = _state_option(".etl beside FILE")
"""``--state DIR``, as `etl run` has it."""

state_option_without_file = _state_option(".etl beside FILE; without FILE .etl where you are")
"""The same for verbs whose FILE may be left out: see `find`."""


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Write JSON.")(command)


def yes_option(command: F) -> F:
    return click.option("-y", "--yes", is_flag=True, help="Do not ask.")(command)


def confirm(question: str, nothing: str) -> None:
    """Ask; ends with exit code 2 and ``nothing`` (what has not been done) unless the answer is yes."""
    try:
        if click.confirm(question, err=True):
            return
    except click.Abort:  # nobody is there to ask
        click.echo(err=True)
        raise click.ClickException(f"{nothing}\n  -> --yes does it without asking") from None
    raise click.ClickException(nothing)


def moment(context: click.Context, option: click.Parameter, given: str | None) -> datetime | None:
    """A click callback: the time that is meant, with a zone."""
    if given is None:
        return None
    found = parse_moment(given)
    if found is None:
        raise click.BadParameter(f"{given!r} is no time\n  -> write {TIME_HELP}", ctx=context, param=option)
    return found


def parse_moment(text: str) -> datetime | None:
    """A time or how long ago, see `TIME_HELP`; None for anything else."""
    text = text.strip()
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: float(ago[1])})
        return datetime.fromisoformat(text).astimezone() if _DATE.fullmatch(text) else None
    except (ValueError, OverflowError):
        return None


def local(moment: datetime) -> str:
    """A time as people here read it."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def brief(text: str, most: int = 80) -> str:
    """A text on one line, cut where it is too long for a table."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


def table(rows: Sequence[Sequence[str]], indent: str = "") -> list[str]:
    """Rows in columns, the last one as wide as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
