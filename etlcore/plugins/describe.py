"""What a component is and takes: its promise, its options, and an example that runs."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass
from typing import Any

from etlcore.plugins.errors import BrokenPlugin, UnknownName
from etlcore.plugins.manager import Plugins
from etlcore.plugins.names import closest, one_line
from etlcore.plugins.options import Option, options_of
from etlcore.plugins.records import Component, Kind


@dataclass(frozen=True, slots=True)
class Description:
    """A component, described by its own class."""

    name: str
    kind: Kind
    by: str
    """Its distribution: ``acme-etl 1.2``."""
    interface: int
    summary: str
    promise: str
    """What delivery depends on: whether it is replayable, deterministic, transactional or idempotent."""
    about: str
    """The docstring of its class."""
    outputs: tuple[str, ...]
    """Named outputs of a transform, beside the main one."""
    options: tuple[Option, ...]
    example: str
    """A whole pipeline file that shows it at work; empty where its authors give none."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def describe(plugins: Plugins, name: str) -> list[Description]:
    """The components called ``name``: a source, transform and sink may share it.

    Where there is none, but a plugin of that name, all components of the plugin. Raises PluginError.
    """
    offered = [record for record in plugins.offered(plugins.entry(name)) if isinstance(record, Component)]
    named = [component for component in offered if component.name == name]
    if not named and "." not in name:
        named = offered
    if not named:
        names = sorted({component.name for component in offered})
        suggestion = closest(name, names)
        hint = f"did you mean `{suggestion}`?" if suggestion else "etl plugins lists what there is"
        raise UnknownName(f"there is no component `{name}`", hint, suggestion)
    return [_description(plugins, component) for component in named]


def _description(plugins: Plugins, component: Component) -> Description:
    cls: Any = plugins.load(plugins.resolve(component.name, component.kind))
    by = plugins.distribution(component.name)
    options = checked_options(component, cls, by)
    about = inspect.cleandoc(cls.__doc__ or "")
    return Description(
        name=component.name,
        kind=component.kind,
        by=by,
        interface=component.interface,
        summary=one_line(component.summary),
        promise=_promise(cls, component.kind),
        about="" if about.startswith("See ") else _printable(about),
        outputs=tuple(getattr(cls, "outputs", ())),
        options=tuple(options),
        example=inspect.cleandoc(cls.example),
    )


def checked_options(component: Component, cls: Any, by: str) -> list[Option]:
    """The options of a component. Raises BrokenPlugin where its model cannot be used."""
    try:
        return options_of(cls.Config)
    except Exception as error:
        raise BrokenPlugin(
            f"the options of {component.kind} `{component.name}` ({by}) cannot be described:"
            f" {type(error).__name__}: {' '.join(str(error).split()):.300}",
            "its Config is not whole: tell its authors",
        ) from error


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable() or character == "\n")


def _promise(cls: Any, kind: Kind) -> str:
    if kind == "source":
        return "Replayable." if cls.replayable else "Not replayable: what was read and not delivered is lost."
    if kind == "transform":
        return "Deterministic." if cls.deterministic else "Not deterministic."
    if cls.transactional:
        return "Transactional."
    return "Idempotent." if cls.idempotent else "Not idempotent: after a crash, rows may be written twice."
