"""``etl sls``: the commands of this plugin. What a command needs is imported when it is called."""

from __future__ import annotations

from importlib import import_module

import click

_COMMANDS = {
    "emulator": ("etlcore_sls.emulator.command", "Run an SLS server on this machine, for pipelines and tests.")
}


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are needed; listing them imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(import_module(_COMMANDS[cmd_name][0]), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in sorted(_COMMANDS.items())])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def sls() -> None:
    """Alibaba Cloud Log Service: what goes beyond a pipeline's own stages."""
