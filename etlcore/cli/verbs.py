"""The verbs: etlcore's own, each imported when it is typed, and those that plugins add."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import click

OWN = {
    "run": ("etlcore.cli.run:run", "Run a pipeline until its sources end or it is stopped."),
    "check": ("etlcore.cli.check:check", "Say what is wrong with pipeline files, without running them."),
    "test": ("etlcore.cli.test:test", "Run the tests in pipeline files."),
    "explain": ("etlcore.cli.explain:explain", "Say what becomes of a row in any failure, and how stages run."),
    "graph": ("etlcore.cli.graph:graph", "Draw a pipeline, as text, Mermaid or SVG."),
    "plugins": ("etlcore.cli.plugins:plugins", "List what is installed; show a component's options."),
    "new": ("etlcore.cli.new:new", "Begin a plugin package or a pipeline file."),
    "schema": ("etlcore.cli.schema:schema", "Write a JSON Schema of pipeline files, for editors."),
    "dead": ("etlcore.cli.dead:dead", "List, show, replay or purge the rows that stages refused."),
    "state": ("etlcore.cli.state:state", "Show what is kept between runs, or move positions."),
}
"""Verb: where its click command is, and its line in the help."""


class Verbs(click.Group):
    """A click group that imports a verb only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*OWN, *(name for name, _ in _plugin_verbs()[0])]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in OWN:
            from etlcore.plugins.classes import import_target

            return _as_command(import_target(OWN[cmd_name][0], f"verb `{cmd_name}`"), cmd_name)
        from etlcore.plugins import Plugins, UnknownName

        try:
            return _as_command(Plugins().command(cmd_name), cmd_name)
        except UnknownName:
            return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        command = self.get_command(ctx, name)
        if command is None and not ctx.resilient_parsing:
            _no_such_verb(ctx, name)
        return name, command, args[1:]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in OWN.items()])
        added, unread = _plugin_verbs()
        if added:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(added)
        if unread:
            formatter.write_paragraph()
            formatter.write_text(
                f"More commands may come from {', '.join(unread)}: what it offers is computed, and nothing is imported"
                " for this list."
            )


def _plugin_verbs() -> tuple[list[tuple[str, str]], list[str]]:
    """The verbs of plugins with their summaries, and the plugins whose verbs only importing them would tell.

    A fault in a plugin is one line of warning.
    """
    from etlcore.plugins import Plugins
    from etlcore.plugins.survey import survey

    def warn(message: str) -> None:
        click.echo(f"warning: {message}", err=True)

    found, unread = [], []
    for installed in survey(Plugins()):
        for fault in installed.faults:
            warn(fault.message)
        if not installed.complete and not installed.faults:
            unread.append(installed.by)
        for offer in installed.offers:
            if offer.kind == "verb" and offer.name in OWN:
                warn(f"the verb `{offer.name}` of {installed.by} is hidden by etl's own")
            elif offer.kind == "verb":
                found.append((offer.name, offer.summary))
    return found, unread


def _as_command(found: Any, name: str) -> click.Command:
    if not isinstance(found, click.Command):
        from etlcore.plugins import BrokenPlugin

        raise BrokenPlugin(f"the verb `{name}` is no click command, but a {type(found).__name__}")
    return found


def _no_such_verb(ctx: click.Context, name: str) -> NoReturn:
    from etlcore.plugins.manager import FIRST_PARTY
    from etlcore.plugins.names import closest

    if name.startswith("-"):
        raise click.NoSuchOption(name, ctx=ctx)
    close = closest(name, [*OWN, *(verb for verb, _ in _plugin_verbs()[0])])
    if Path(name).suffix in (".yaml", ".yml"):
        hint = f"did you mean etl run {name}?"
    elif name in FIRST_PARTY:
        hint = f"pip install {FIRST_PARTY[name]}"
    elif close:
        hint = f"did you mean `{close}`?"
    else:
        hint = "etl --help lists the commands"
    raise click.UsageError(f"there is no command `{name}`\n  -> {hint}", ctx=ctx)
