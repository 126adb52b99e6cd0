"""The options that choose dead letters."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from etlcore.cli.whereabouts import TIME_HELP, moment

if TYPE_CHECKING:
    from etlcore.state import Selection

F = TypeVar("F", bound=Callable[..., Any])


def filters(command: F) -> F:
    """The options that choose dead letters: the arguments of `chosen`."""
    for option in (
        click.option("--before", metavar="TIME", callback=moment, help="Only those refused before. See --since."),
        click.option("--since", metavar="TIME", callback=moment, help=f"Only those refused since: {TIME_HELP}."),
        click.option("--reason", metavar="TEXT", help="Only those whose reason has this text; case does not matter."),
        click.option("--stage", metavar="STAGE", help="Only those that this stage refused."),
    ):
        command = option(command)
    return command


def chosen(
    pipeline: str | None,
    stage: str | None,
    reason: str | None,
    since: datetime | None,
    before: datetime | None,
    ids: tuple[int, ...] = (),
) -> Selection:
    """The dead letters that the options of `filters` mean."""
    from etlcore.state import Selection

    return Selection(pipeline, stage, reason, since, before, ids or None)


def id_option(command: F) -> F:
    """``--id ID``, several times."""
    return click.option(
        "--id", "ids", metavar="ID", type=int, multiple=True, help="Only this one; may be given several times."
    )(command)
