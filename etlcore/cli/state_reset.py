"""`etl state reset`: positions are moved, so that the next run reads from somewhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etlcore.cli.whereabouts import TIME_HELP, confirm, parse_moment, state_option, table, yes_option

if TYPE_CHECKING:
    from etlcore.runtime.moving import Move, Target

_MOST = 20  # partitions of a stage that are shown

_TO_HELP = (
    f"begin, end, a time ({TIME_HELP}), or a position as JSON, which is stored as it is: 1200, '\"MTIz\"'. "
    "Not every source knows where it stood at a time."
)


def _target(context: click.Context, option: click.Parameter, given: str) -> Target:
    from etlcore.runtime.moving import Target

    if given in ("begin", "end"):
        return Target(given, given)
    moment = parse_moment(given)
    if moment is not None:
        return Target(moment.isoformat(timespec="seconds"), moment)
    try:
        return Target(given, None, json.loads(given))
    except ValueError:
        hint = f"a text is written with quotes: '{json.dumps(given)}'"
        raise click.BadParameter(
            f"{given!r} is neither begin, end, a time nor JSON\n  -> {hint}", ctx=context, param=option
        ) from None


@click.command(short_help="Move positions: to begin, end, a time or a value.")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--to", "target", metavar="WHERE", required=True, callback=_target, help=_TO_HELP)
@click.option("--stage", metavar="STAGE", help="The source. Default: all sources of FILE.")
@click.option("--partition", metavar="PARTITION", help="Only this one. Default: all partitions.")
@state_option
@yes_option
def reset(file: Path, target: Target, stage: str | None, partition: str | None, state: Path | None, yes: bool) -> int:
    """Move the positions of the pipeline FILE: what comes after them is read next, what comes before them is not.

    `begin` forgets the positions that are kept in the state directory, so that the next run starts where the file says.
    A consumer group's checkpoints are moved on the server, and only while none of its consumers is alive.

    Shows every position before and after, and asks, unless --yes is given; the exit code is 2 when the answer is no.
    Nobody may run the pipeline meanwhile. Going back repeats rows; going forward leaves rows out, for good.
    """
    from etlcore.plugins import Plugins
    from etlcore.runtime.moving import plan_move
    from etlcore.runtime.positions import CannotMove, keepers
    from etlcore.spec import load
    from etlcore.state import StateStore, hold

    pipeline = load(file, plugins=Plugins())
    directory = file.parent / ".etl" if state is None else state
    try:
        with (
            hold(directory, pipeline.name, "reset"),
            StateStore(directory) as store,
            keepers(pipeline, store, stage) as found,
        ):
            moves = [plan_move(keeper, target, partition) for keeper in found]
            for line in _shown(moves):
                click.echo(line)
            if not any(move.changes for move in moves):
                click.echo("nothing to move")
                return 0
            if not yes:
                confirm("Move them?", "nothing was moved")
            for move in moves:
                move.keeper.move(move.changes)
    except CannotMove as error:
        click.echo(str(error), err=True)
        return 2
    count = sum(len(move.changes) for move in moves)
    click.echo(f"{count:,} position{'' if count == 1 else 's'} moved")
    return 0


def _shown(moves: list[Move]) -> Iterator[str]:
    rows = [["stage", "partition", "before", "after"]]
    hidden = 0
    for move in moves:
        names = sorted(move.after)
        rows += [[move.keeper.stage, name, _text(move.before, name), _text(move.after, name)] for name in names[:_MOST]]
        hidden += len(names[_MOST:])
    if len(rows) > 1:
        yield from table(rows)
    if hidden:
        yield f"and {hidden:,} more partitions"


def _text(positions: Mapping[str, Any], name: str) -> str:
    from etlcore.state.values import dumps

    value = positions.get(name)
    return "-" if value is None else dumps(value)
