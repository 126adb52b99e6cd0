"""`etl graph`: a pipeline drawn."""

from __future__ import annotations

from pathlib import Path

import click

from etlcore.cli.output import plugins_aside, write_whole


@click.command()
@click.argument("file", metavar="FILE")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "mermaid", "svg"]),
    help="Default: by the name of --output, otherwise text.",
)
@click.option("--output", "-o", metavar="FILE", help="Write to this file instead of standard output.")
def graph(file: str, form: str | None, output: str | None) -> None:
    """Draw the pipeline FILE: its stages and the edges between them, as text, Mermaid or SVG."""
    from etlcore import draw
    from etlcore.spec import load

    with plugins_aside():
        pipeline = load(file)
    if form is None:
        suffix = (output or "").lower().rpartition(".")[2]
        form = {"svg": "svg", "mmd": "mermaid", "mermaid": "mermaid"}.get(suffix, "text")
    drawn = {"text": draw.text, "mermaid": draw.mermaid, "svg": draw.svg}[form](pipeline).rstrip("\n") + "\n"
    if output is None:
        click.echo(drawn, nl=False)
        return
    write_whole(Path(output), drawn)
