"""`etl plugins`: what is installed, and what each component takes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from etlcore.cli.output import plugins_aside
from etlcore.cli.whereabouts import table

if TYPE_CHECKING:
    from etlcore.plugins.describe import Description
    from etlcore.plugins.survey import Installed


@click.group(invoke_without_command=True, short_help="List what is installed; show a component's options.")
@click.option("--check", is_flag=True, help="Import every plugin and component, and say what is wrong with them.")
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON.")
@click.pass_context
def plugins(context: click.Context, check: bool, as_json: bool) -> int:
    """List the plugins that are installed: where they are from, and the components they offer.

    Nothing is imported, unless --check is given; then the exit code is 2 when a plugin is broken.
    """
    if context.invoked_subcommand is not None:
        return 0
    from etlcore.plugins import Plugins
    from etlcore.plugins.survey import survey

    with plugins_aside():
        found = survey(Plugins(), check=check)
    if as_json:
        click.echo(json.dumps([installed.to_json() for installed in found], ensure_ascii=False, indent=2))
    else:
        click.echo("\n".join(line for installed in found for line in _listed(installed)).rstrip())
    return 2 if check and any(installed.faults for installed in found) else 0


def _listed(installed: Installed) -> Iterator[str]:
    where = f"{installed.location}{' (editable)' if installed.editable else ''}"
    interfaces = sorted({offer.interface for offer in installed.offers if offer.interface is not None})
    facts = [
        installed.health,
        *([f"interface {', '.join(map(str, interfaces))}"] if interfaces else []),
        *([where] if where else []),
    ]
    yield f"{installed.by}: {'; '.join(facts)}"
    rows = [[offer.kind, offer.name, offer.summary] for offer in installed.offers]
    yield from table(rows, indent="  ") if rows else ()
    if not installed.complete and not installed.checked and not installed.faults:
        unread = (
            f"more than this, under {', '.join(installed.names)}" if rows else f"under {', '.join(installed.names)}"
        )
        yield f"  what it offers is computed ({unread})\n  -> etl plugins --check imports it"
    for fault in installed.faults:
        yield f"  broken: {fault.message}"
        if fault.hint:
            yield f"  -> {fault.hint}"
    yield ""


@plugins.command(short_help="A component's options, and an example that runs.")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON.")
def show(name: str, as_json: bool) -> None:
    """Show the component NAME: what it promises, its options with types and defaults, and an example that runs.

    Where a source, a transform and a sink share the name, all of them; for a plugin's name, all of its components.
    """
    from etlcore.plugins import Plugins
    from etlcore.plugins.describe import describe

    with plugins_aside():
        found = describe(Plugins(), name)
    if as_json:
        click.echo(json.dumps([described.to_json() for described in found], ensure_ascii=False, indent=2, default=str))
    else:
        click.echo("\n\n".join("\n".join(_described(described)) for described in found))


def _described(described: Description) -> Iterator[str]:
    width = max(40, min(shutil.get_terminal_size().columns, 100))
    yield f"{described.kind}: {described.name} ({described.by}, interface {described.interface})"
    yield click.wrap_text(f"{described.summary}. {described.promise}", width, "  ", "  ")
    if described.about:
        yield ""
        yield click.wrap_text(described.about.replace("``", "`"), width, "  ", "  ", preserve_paragraphs=True)
    if described.outputs:
        yield f"\n  named outputs: {', '.join(described.outputs)}"
    yield "\n  options:" if described.options else "\n  no options"
    for option in described.options:
        needed = "needed" if option.required else f"default {option.default_text}"
        yield click.wrap_text(f"{option.name}: {option.type}; {needed}", width, "    ", "        ")
        if option.description:
            yield click.wrap_text(option.description, width, "        ", "        ")
    if described.example:
        yield "\n  example, a whole pipeline file:\n"
        yield "\n".join(f"    {line}".rstrip() for line in described.example.splitlines())
