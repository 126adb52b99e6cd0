"""A pipeline file to begin with: the named components with the options that they need, or an example that runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from etlcore.plugins import Plugins
from etlcore.plugins.describe import Description, describe
from etlcore.plugins.records import KINDS, Kind

_EXAMPLE = """\
# etl run @file@      runs it
# etl check @file@    says what is wrong with it
# etl test @file@     runs the tests at its end
name: @name@

stages:
  requests:
    source: generate
    with: {rows: 10, fields: {uri: "/item/{int:1:500}?user={int:1:9000}"}}

  parsed:                     # takes what the stage above it gives
    transform: parse_uri
    with: {column: uri}
    on_error: dead_letter     # a row that fails is kept with the reason: etl dead list @file@

  out:
    sink: console

tests:
  a path and its query are taken apart:
    given: {requests: [{uri: "/item/7?user=9"}]}
    expect: {out: [{uri: "/item/7?user=9", path: /item/7, query: {user: "9"}}]}
  what is no URI is refused:
    given: {requests: [{uri: "%zz"}]}
    dead: {parsed: [{reason: bad percent escape}]}
"""


def pipeline_file(name: str, parts: Sequence[tuple[Kind, str]], plugins: Plugins) -> str:
    """The text of a pipeline file. ``parts`` are kinds and names of components, in order; none: an example that runs.

    Options that a component needs are taken from the environment, each with what it is for. Raises PluginError.
    """
    if not parts:
        return _EXAMPLE.replace("@name@", _as_text(name)).replace("@file@", shlex.quote(f"{name}.yaml"))
    lines = [f"name: {_as_text(name)}", "", "stages:"]
    sources: list[str] = []
    feeding: list[str] = []  # the stages whose rows come to the next one
    names: list[str] = []
    for kind, component in _whole(parts):
        described = next(it for it in describe(plugins, component) if (it.name, it.kind) == (component, kind))
        stage = _stage_name(component, kind, names)
        lines.append(f"  {stage}:  # {described.summary}; all options: etl plugins show {component}")
        lines.append(f"    {kind}: {component}")
        if kind != "source" and feeding != names[-1:]:
            lines.append(f"    from: {feeding[0] if len(feeding) == 1 else '[' + ', '.join(feeding) + ']'}")
        lines.extend(_needed(stage, described))
        lines.append("")
        names.append(stage)
        if kind == "source":
            sources.append(stage)
            feeding = sources
        elif kind == "transform":
            feeding = [stage]
    return "\n".join(lines).rstrip("\n") + "\n"


def _as_text(name: str) -> str:
    """A name as a file writes it: `null` without quotes would be none."""
    return f'"{name}"' if name.lower() == "null" else name


def _whole(parts: Sequence[tuple[Kind, str]]) -> list[tuple[Kind, str]]:
    """The parts with a source and a sink, in the order of the flow."""
    kinds = [kind for kind, _ in parts]
    usual: tuple[tuple[Kind, str], ...] = (("source", "generate"), ("sink", "console"))
    missing = [part for part in usual if part[0] not in kinds]
    return sorted([*missing, *parts], key=lambda part: KINDS.index(part[0]))


def _needed(stage: str, described: Description) -> Iterator[str]:
    needed = [option for option in described.options if option.required]
    if needed:
        yield "    with:"
    for option in needed:
        variable = re.sub(r"\W", "_", f"{stage}_{option.name}", flags=re.ASCII).upper()
        kinds = option.type.split(" or ")
        plain = any(not kind.startswith(("mapping", "list", "anything", "null")) for kind in kinds)
        value = f"${{{variable}}}" if plain else "TODO"  # a variable can hold no mapping
        yield f"      {option.name}: {value}  # {option.type}: {_brief(option.description)}"


def _stage_name(component: str, kind: Kind, taken: list[str]) -> str:
    base = {"source": "input", "transform": component.rpartition(".")[2].replace("-", "_"), "sink": "output"}[kind]
    return next(name for name in _numbered(base) if name not in taken)


def _numbered(base: str) -> Iterator[str]:
    yield base
    number = 2
    while True:
        yield f"{base}_{number}"
        number += 1


def _brief(text: str, most: int = 70) -> str:
    first = text.split(". ")[0].rstrip(".")
    return first if len(first) <= most else f"{first[: most - 1]}\N{HORIZONTAL ELLIPSIS}"
