"""`etl schema`: a JSON Schema of pipeline files, for editors."""

from __future__ import annotations

import json
from pathlib import Path

import click

from etlcore.cli.output import plugins_aside, write_whole


@click.command()
@click.option("--output", "-o", metavar="FILE", help="Write to this file instead of standard output.")
def schema(output: str | None) -> None:
    """Write a JSON Schema of pipeline files: all keys, and the options of the components that are installed.

    Editors complete and check files with it: put `# yaml-language-server: $schema=FILE` into a pipeline file's first
    line. A plugin that is broken is a warning, and its components are left out.
    """
    from etlcore.plugins import Plugins
    from etlcore.spec.schema import json_schema

    with plugins_aside():
        found = json_schema(Plugins(), lambda message: click.echo(f"warning: {message}", err=True))
    text = json.dumps(found, ensure_ascii=False, indent=2) + "\n"
    if output is None:
        click.echo(text, nl=False)
        return
    write_whole(Path(output), text)
    click.echo(f"{output}: {len(found['definitions']['stage']['allOf']) - 4} components", err=True)
