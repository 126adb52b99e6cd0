"""The hooks that a plugin may implement, and the check that it implements no others.

A plugin is a module (or any object) that an entry point of the group ``etlcore`` names. It marks its functions with
`hookimpl`; a hook may leave out the parameters that it does not need.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

import pluggy

from etlcore.plugins.names import closest
from etlcore.plugins.records import Command, Component, SecretScheme

GROUP = "etlcore"
PREFIX = "etl_"

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)
"""Marks a plugin's function as the implementation of the hook that it is named after."""


class Hooks:
    """The hook specifications."""

    @hookspec
    def etl_components(self) -> Iterable[Component]:  # type: ignore[empty-body]
        """The sources, transforms and sinks that the plugin offers."""

    @hookspec
    def etl_commands(self) -> Iterable[Command]:  # type: ignore[empty-body]
        """Extra verbs for the command line."""

    @hookspec
    def etl_secret_schemes(self) -> Iterable[SecretScheme]:  # type: ignore[empty-body]
        """Further places for ``${scheme:reference}`` to be filled in from."""

    @hookspec
    def etl_stage_drained(self, pipeline: str, stage: str, counts: dict[str, int]) -> None:
        """A stage has passed its drain barrier: all its workers have left and its output is closed.

        ``counts`` holds the stage's line of the drain report. Called on one of the runtime's threads: be quick.
        """

    @hookspec
    def etl_run_finished(self, report: dict[str, Any]) -> None:
        """A run has ended, however it ended. ``report`` is the drain report as ``--report`` writes it."""


HOOKS: tuple[str, ...] = tuple(name for name in vars(Hooks) if name.startswith(PREFIX))


def new_manager() -> pluggy.PluginManager:
    """A pluggy manager that knows etlcore's hooks."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Hooks)
    return manager


def misspelt(plugin: object) -> Iterator[str]:
    """What in a plugin looks like a hook and is none: one sentence each, with the hook that was meant.

    A name that newer versions of etlcore may know is allowed when it is marked ``hookimpl(optionalhook=True)``.
    """
    for name in dir(plugin):
        function = inspect.getattr_static(plugin, name, None)
        marks = getattr(function, f"{GROUP}_impl", None)
        if isinstance(marks, dict):
            hook = marks.get("specname") or name
            if hook not in HOOKS and not marks.get("optionalhook"):
                yield f"`{name}` is marked as a hook, but there is no hook `{hook}`{_meant(hook)}"
        elif name.startswith(PREFIX) and inspect.isroutine(function):
            if name in HOOKS:
                yield f"`{name}` lacks its mark: write @hookimpl above it"
            else:
                yield f"`{name}` is no hook{_meant(name)} (names with {PREFIX} are kept for hooks)"


def _meant(name: str) -> str:
    close = closest(name if name.startswith(PREFIX) else PREFIX + name, HOOKS)
    return f": did you mean `{close}`?" if close else ""
