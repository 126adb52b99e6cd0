"""The command line: ``etl sls emulator`` and ``python -m etlcore_sls.emulator``."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from typing import Any

import click

from etlcore_sls.emulator.settings import (
    DEMO_ACCESS_KEY_ID,
    DEMO_ACCESS_KEY_SECRET,
    DEMO_KEY,
    AccessKey,
    Samples,
    Settings,
)

_PARENT_CHECK_SECONDS = 2.0


def _parse_keys(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> tuple[AccessKey, ...]:
    keys = []
    for value in values:
        access_key_id, colon, rest = value.partition(":")
        secret, _, token = rest.partition(":")
        if not (access_key_id and colon and secret):
            raise click.BadParameter(f"{access_key_id!r}: write it as ID:SECRET, or ID:SECRET:TOKEN for an STS key")
        keys.append(AccessKey(access_key_id, secret, token))
    return tuple(keys)


@click.command("emulator", context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on; 0 takes a free one.")
@click.option("--data", metavar="FILE", help="Keep everything in this file. Without: in memory.")
@click.option("--samples/--no-samples", default=True, help="Hold sample nginx logs, if their logstore is not there.")
@click.option("--logs", type=click.IntRange(0, 100_000_000), default=Samples.logs, help="Number of sample logs.")
@click.option("--shards", type=click.IntRange(1, 1000), default=Samples.shards, help="Shards of the sample logstore.")
@click.option("--seed", type=int, default=Samples.seed, help="The same seed gives the same sample logs.")
@click.option("--project", default=Samples.project, help="Project of the sample logs.")
@click.option("--logstore", default=Samples.logstore, help="Logstore of the sample logs.")
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="ID:SECRET[:TOKEN]",
    envvar="ETL_SLS_EMULATOR_KEYS",
    callback=_parse_keys,
    help=f"Access key that may sign requests; can be repeated. Without: {DEMO_ACCESS_KEY_ID}:{DEMO_ACCESS_KEY_SECRET}.",
)
@click.option("--region", default=Settings.region, help="Region that projects say they are in.")
@click.option("--pull-bytes", type=click.IntRange(1), default=Settings.pull_max_bytes, help="Most bytes in one pull.")
@click.option("--put-bytes", type=click.IntRange(1), default=Settings.put_max_bytes, help="Most bytes in one write.")
@click.option("--announce", is_flag=True, help='Write one JSON line, {"port": …}, to standard output when ready.')
@click.option("--quiet", "-q", is_flag=True, help="Do not say anything else.")
@click.option("--parent-pipe", is_flag=True, help="Read keys from standard input, and stop when it ends.")
def emulator(announce: bool, quiet: bool, parent_pipe: bool, **options: Any) -> None:
    """Run an SLS server on this machine, for pipelines and tests without an account.

    It speaks the protocol of Alibaba Cloud Log Service: projects, logstores, shards, PutLogs, cursors, PullLogs,
    consumer groups, both signatures. Official clients need no change; where they insist on a host name for every
    project, use the emulator as an HTTP proxy.
    """
    stop, parent = threading.Event(), os.getppid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = _settings(options, _keys_from_parent() if parent_pipe else ())
        from etlcore_sls.emulator.embedded import Emulator

        running = Emulator(settings)
    except (OSError, ValueError) as error:
        _fail(_explain(error, options), announce)
    with running:
        if announce:
            click.echo(json.dumps({"port": running.port, "pid": os.getpid()}))
        if not quiet:
            click.echo(_banner(running.endpoint, settings), err=True)
        if parent_pipe:
            _stop_with_parent(stop)
        while not stop.wait(_PARENT_CHECK_SECONDS):
            if parent_pipe and os.getppid() != parent:  # a pipe that other children inherited has no end
                break


def _settings(options: dict[str, Any], parent_keys: tuple[AccessKey, ...]) -> Settings:
    samples = None
    if options["samples"]:
        samples = Samples(options["project"], options["logstore"], options["logs"], options["shards"], options["seed"])
    return Settings(
        host=options["host"],
        port=options["port"],
        data=options["data"],
        samples=samples,
        keys=parent_keys or options["keys"] or (DEMO_KEY,),
        region=options["region"],
        pull_max_bytes=options["pull_bytes"],
        put_max_bytes=options["put_bytes"],
    )


def _keys_from_parent() -> tuple[AccessKey, ...]:
    """The first line of standard input: a JSON array of keys, each an array of id, secret, token and expiry."""
    line = sys.stdin.readline()
    try:
        return tuple(AccessKey(*parts) for parts in json.loads(line)) if line.strip() else ()
    except (ValueError, TypeError):
        raise ValueError("with --parent-pipe, standard input must begin with a line of keys in JSON") from None


def _stop_with_parent(stop: threading.Event) -> None:
    def watch() -> None:
        while os.read(0, 4096):  # not sys.stdin: its lock would be held when the interpreter ends
            pass
        stop.set()

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _explain(error: Exception, options: dict[str, Any]) -> str:
    if isinstance(error, OSError):
        if isinstance(error, socket.gaierror):
            return f"cannot listen on {options['host']}: {error.strerror}; --host must be an address of this machine"
        place = f"{options['host']}:{options['port']}"
        return f"cannot listen on {place}: {error.strerror or error}; choose another --port, or 0 for a free one"
    return str(error)


def _fail(message: str, announce: bool) -> None:
    if announce:
        click.echo(json.dumps({"error": message}))
    else:
        click.echo(f"etl sls emulator: {message}", err=True)
    sys.exit(2)


def _banner(endpoint: str, settings: Settings) -> str:
    held = f"in {settings.data}" if settings.data else "in memory"
    lines = [f"SLS emulator on {endpoint}, everything {held}. Ctrl-C stops it."]
    if settings.samples is not None:
        samples = settings.samples
        lines.append(f"  sample logs: project {samples.project}, logstore {samples.logstore}")
    if not settings.host.startswith("127.") and settings.host not in ("localhost", "::1"):
        lines.append("  anyone who reaches this address and knows the access key can read and write")
    if settings.keys == (DEMO_KEY,):
        lines.append(f"  access key:  {DEMO_ACCESS_KEY_ID} / {DEMO_ACCESS_KEY_SECRET}")
    lines.append(f"  a pipeline:  endpoint: {endpoint}")
    lines.append(f"  SDK and CLI: export http_proxy={endpoint}, endpoint http://{settings.region}.log.aliyuncs.com")
    return "\n".join(lines)


def main() -> None:
    emulator(prog_name="python -m etlcore_sls.emulator")
