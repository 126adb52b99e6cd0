"""`etl new`: plugin packages and pipeline files to begin with."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from etlcore.plugins.records import Kind


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, short_help="Begin a plugin or a pipeline.")
def new() -> None:
    """Write a plugin package or a pipeline file to begin with: complete, tested, nothing in it to delete."""


@new.command(short_help="A whole plugin package, with green tests.")
@click.argument("name")
@click.option("--source", "kinds", flag_value="source", multiple=True, help="With a source.")
@click.option("--transform", "kinds", flag_value="transform", multiple=True, help="With a transform.")
@click.option("--sink", "kinds", flag_value="sink", multiple=True, help="With a sink. None of the three: all of them.")
@click.option(
    "--directory", "-d", metavar="DIR", type=click.Path(path_type=Path), help="Where to write it. Default: ./NAME-etl."
)
def plugin(name: str, kinds: tuple[Kind, ...], directory: Path | None) -> int:
    """Write the plugin package NAME-etl, whose components are called NAME.…

    It has an entry point, a source, a transform and a sink as asked, their tests under the conformance kit, a pipeline
    that runs, a README and CI.
    """
    from etlcore.cli.app import usage_error
    from etlcore.plugins import Plugins
    from etlcore.scaffold import NAME, plugin_files

    if not NAME.fullmatch(name):
        usage_error(f"{name!r} is no name for a plugin", "use small letters, digits, - and _, and begin with a letter")
    if name in Plugins().names():
        by = Plugins().distribution(name)
        usage_error(f"the name `{name}` is taken: {by} has it", "choose another; two plugins cannot share a name")
    target = directory or Path(f"{name}-etl")
    _write(target, plugin_files(name, kinds or ("source", "transform", "sink")))
    click.echo("next:", err=True)
    for line in (
        f"cd {shlex.quote(str(target))}",
        "pip install -e . pytest",
        "pytest",
        f"etl run pipelines/{name}.yaml",
    ):
        click.echo(f"  {line}", err=True)
    return 0


@new.command(short_help="A pipeline file that runs.")
@click.argument("name")
@click.option("--source", multiple=True, metavar="COMPONENT", help="With this source. Several are joined.")
@click.option("--transform", multiple=True, metavar="COMPONENT", help="With this transform. Several follow each other.")
@click.option("--sink", multiple=True, metavar="COMPONENT", help="With this sink. Each of several gets every row.")
@click.option(
    "--directory", "-d", metavar="DIR", type=click.Path(path_type=Path), default=".", help="Where to write it."
)
def pipeline(name: str, directory: Path, **parts: Any) -> int:
    """Write the pipeline file NAME.yaml.

    Without options it is an example that runs, with tests. With components it has the options that they need, each
    taken from the environment; `etl check` says which are missing.
    """
    from etlcore.cli.app import usage_error
    from etlcore.plugins import Plugins
    from etlcore.scaffold import pipeline_file
    from etlcore.spec.pipeline import NAME

    stem = name.removesuffix(".yaml").removesuffix(".yml")
    if not NAME.fullmatch(stem):
        usage_error(f"{stem!r} is no name for a pipeline", "use letters, digits, spaces and _ . -")
    kinds: tuple[Kind, ...] = ("source", "transform", "sink")
    chosen = [(kind, component) for kind in kinds for component in parts[kind]]
    plugins = Plugins()
    for kind, component in chosen:
        plugins.resolve(component, kind)
    _write(directory, {f"{stem}.yaml": pipeline_file(stem, chosen, plugins)})
    return 0


def _write(directory: Path, files: dict[str, str]) -> None:
    from etlcore.cli.app import usage_error
    from etlcore.scaffold import Exists, write_new

    try:
        written = write_new(directory, files)
    except Exists as error:
        usage_error(f"{error} is there already", "choose another name or --directory; nothing was written")
    for path in written:
        click.echo(path)
