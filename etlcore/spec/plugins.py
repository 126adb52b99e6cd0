"""``plugins:`` and ``requires:``: what must be there beside the stages' own components."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path as FilePath

from etlcore.plugins import PluginError, Plugins
from etlcore.spec import fields
from etlcore.spec.fields import Value


def load_plugins(value: Value | None, plugins: Plugins, directory: FilePath) -> None:
    """``plugins: [name, ./file.py]``: plugins loaded for their hooks, and files beside the pipeline."""
    for item in _list(value, "write plugins: [NAME, ./FILE.py]"):
        name = fields.text(item)
        if name is None:
            continue
        try:
            if name.endswith(".py"):
                plugins.add_file((directory / name).resolve())
            elif "/" in name:
                item.wrong(f"`{name}` is neither the name of a plugin nor a Python file", "write NAME, or ./FILE.py")
            else:
                plugins.require(name)
        except PluginError as error:
            item.wrong(error.message, error.hint)


def check_required(value: Value | None) -> None:
    """``requires: ["etlcore-sls>=0.1,<1"]``: distributions in versions that the pipeline was written for (PEP 508)."""
    for item in _list(value, 'write requires: ["etlcore-sls>=0.1"]'):
        text = fields.text(item)
        if text is not None:
            _check(item, text)


def _check(item: Value, text: str) -> None:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        wanted = Requirement(text)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        item.wrong(f"`{text}` is no requirement: {reason}", 'write it as for pip: "etlcore-sls>=0.1,<1"')
        return
    if wanted.marker is not None and not wanted.marker.evaluate():
        return
    try:
        found = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        item.wrong(f"{wanted.name} is not installed", f"pip install '{text}'")
        return
    if not wanted.specifier.contains(found, prereleases=True):
        item.wrong(f"{wanted.name} {found} is installed, not {wanted.specifier}", f"pip install '{text}'")


def _list(value: Value | None, hint: str) -> list[Value]:
    if value is None or value.failed:
        return []
    if not isinstance(value.value, list):
        value.wrong(f"`{value.name}` must be a list, not {value.shown()}", hint)
        return []
    return list(value.children())
