"""`etl check`: read and check pipeline files, and do nothing else."""

from __future__ import annotations

import click


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
def check(files: tuple[str, ...]) -> int:
    """Say what is wrong with pipeline FILEs, all at once, with places and next steps.

    Nothing is run and nothing is connected to. The exit code is 0 when all files are in order, and else 2.
    """
    from etlcore.plugins import Plugins
    from etlcore.spec import SpecError, load

    wrong = False
    for file in files:
        try:
            pipeline = load(file, plugins=Plugins(), tests=True)  # each with those in files beside it, and no others
        except SpecError as error:
            wrong = True
            click.echo(str(error), err=True)
        else:
            count = len(pipeline.stages)
            click.echo(f"{file}: ok ({count} stage{'' if count == 1 else 's'})")
    return 2 if wrong else 0
