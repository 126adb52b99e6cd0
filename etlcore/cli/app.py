"""The frame around the verbs: what every command line has in common, and what becomes of an error."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import click

from etlcore.cli.verbs import Verbs

EXIT_WRONG = 2
EXIT_FAULT = 70  # EX_SOFTWARE of sysexits.h
EXIT_REFUSED = 74  # EX_IOERR
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from etlcore import __version__

        click.echo(f"etl {__version__}")
        context.exit()


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version, help="Show the version."
)
@click.option("--debug", is_flag=True, help="Show the traceback of a fault (ETL_DEBUG=1 does the same).")
def etl(debug: bool) -> None:
    """Run pipelines: rows from sources through transforms to sinks, with every row accounted for.

    A pipeline is a YAML file. Try: etl run pipelines/sls_uri.yaml
    """
    if debug:
        os.environ["ETL_DEBUG"] = "1"  # for what verbs start as well


def run_command_line(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and give its exit code; whatever goes wrong becomes a message on standard error."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if os.environ.get("_ETL_COMPLETE"):
        etl.main(given, prog_name="etl")  # a shell asks for completions: click answers and exits
    try:
        code = _invoke(given)
        if sys.stdout is not None:  # it is None where the shell has closed it
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        return EXIT_BROKEN_PIPE
    except OSError as error:
        _discard_output()
        return _refused(error)
    return code


def _invoke(arguments: list[str]) -> int:
    from etlcore.plugins import PluginError

    try:
        with etl.make_context("etl", arguments) as context:
            result = etl.invoke(context)
        return result if isinstance(result, int) and not isinstance(result, bool) else 0
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        error.show()
        return EXIT_WRONG
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except OSError:
        raise
    except PluginError as error:
        return _wrong(f"{error.message}\n  -> {error.hint}" if error.hint else error.message)
    except Exception as error:  # noqa: BLE001 - nothing may end in a traceback unasked
        if _is_told_as_it_is(error):
            return _wrong(str(error))
        return _fault(error)


def _is_told_as_it_is(error: Exception) -> bool:
    """Its text is for the person at the command line: the pipeline file is wrong, or the state cannot be used."""
    for module, name in (("etlcore.spec.problems", "SpecError"), ("etlcore.state.errors", "StateError")):
        loaded = sys.modules.get(module)  # not imported: then it cannot have been raised
        if loaded is not None and isinstance(error, getattr(loaded, name)):
            return True
    return False


def _wrong(message: str) -> int:
    click.echo(message, err=True)
    return EXIT_WRONG


def _refused(error: OSError) -> int:
    """A full disk, a missing right: nothing that a traceback would explain, unless asked for."""
    if os.environ.get("ETL_DEBUG"):
        traceback.print_exception(error)
    where = f"{error.filename}: " if error.filename else ""
    click.echo(f"etl: {where}{error.strerror or error}", err=True)
    return EXIT_REFUSED


def _fault(error: Exception) -> int:
    if os.environ.get("ETL_DEBUG"):
        traceback.print_exception(error)
    text = " ".join(str(error).split())
    click.echo(f"etl: a fault in etlcore: {type(error).__name__}{f': {text}' if text else ''}", err=True)
    if not os.environ.get("ETL_DEBUG"):
        click.echo("  -> ETL_DEBUG=1 shows where; please report it", err=True)
    return EXIT_FAULT


def _discard_output() -> None:
    """Let the interpreter's own flush at exit go nowhere, instead of failing once more."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def usage_error(message: str, hint: str) -> NoReturn:
    """Refuse a command line: what is wrong, and the next step. For the verbs."""
    raise click.UsageError(f"{message}\n  -> {hint}")
