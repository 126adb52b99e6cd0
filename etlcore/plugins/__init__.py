"""Finding, loading and naming plugins, with pluggy.

A plugin is a pip-installed distribution with an entry point in the group ``etlcore``. The metadata says which names
there are; a plugin is imported when a name of its own is asked for, and a component's class when a pipeline uses it.
"""

from __future__ import annotations

from etlcore.plugins.errors import (
    BrokenPlugin,
    NameCollision,
    PluginError,
    UnknownName,
    WrongInterface,
    WrongKind,
)
from etlcore.plugins.hooks import HOOKS, hookimpl, hookspec
from etlcore.plugins.manager import Plugins
from etlcore.plugins.records import INTERFACE, Command, Component, SecretScheme

__all__ = [
    "HOOKS",
    "INTERFACE",
    "BrokenPlugin",
    "Command",
    "Component",
    "NameCollision",
    "PluginError",
    "Plugins",
    "SecretScheme",
    "UnknownName",
    "WrongInterface",
    "WrongKind",
    "hookimpl",
    "hookspec",
]
