"""`etl check`: read and check pipeline files, and, where asked to, whether what they name can be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from etlcore.spec.model import Pipeline

EXIT_CANNOT_CONNECT = 1


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("--connect", is_flag=True, help="Also open every source and sink, without reading or writing.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="With --connect: how long to wait for an answer.",
)
def check(files: tuple[str, ...], connect: bool, timeout: float) -> int:
    """Say what is wrong with pipeline FILEs, all at once, with places and next steps.

    Nothing is run, and without --connect nothing is connected to. The exit code is 0 when all files are in order, 2
    when one is not, and 1 when a source or sink cannot be opened.
    """
    from etlcore.plugins import Plugins
    from etlcore.spec import SpecError, load

    wrong = unreachable = False
    for file in files:
        try:
            pipeline = load(file, plugins=Plugins(), tests=True)  # each with those in files beside it, and no others
        except SpecError as error:
            wrong = True
            click.echo(str(error), err=True)
            continue
        count = len(pipeline.stages)
        click.echo(f"{file}: ok ({count} stage{'' if count == 1 else 's'})")
        if connect:
            unreachable = not _connect(pipeline, timeout) or unreachable
    return 2 if wrong else EXIT_CANNOT_CONNECT if unreachable else 0


def _connect(pipeline: Pipeline, timeout: float) -> bool:
    """Probe the sources and sinks, and say what came of it; whether all can be opened."""
    from etlcore.cli.view.secrets import Mask
    from etlcore.runtime.probing import probe

    mask = Mask(pipeline)
    probed = probe(pipeline, timeout=timeout)
    width = max(len(one.stage) for one in probed)
    for one in probed:
        outcome = "ok" if one.error is None else mask.text(one.error)
        click.echo(f"  {one.stage:<{width}}  {one.kind} {one.component}: {outcome}", err=one.error is not None)
    return all(one.error is None for one in probed)
