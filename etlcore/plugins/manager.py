"""The plugins of one run: names looked up, plugins loaded, records and classes handed out.

What is wrong with a plugin is raised only to whoever asks for a name of that plugin; the listing methods turn it into
warnings instead.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from etlcore.plugins.classes import import_target, load_class
from etlcore.plugins.errors import (
    BrokenPlugin,
    NameCollision,
    PluginError,
    UnknownName,
    WrongInterface,
    WrongKind,
    is_stop,
)
from etlcore.plugins.files import FilePoint
from etlcore.plugins.hooks import GROUP, misspelt, new_manager
from etlcore.plugins.installed import Entry, installed_entries
from etlcore.plugins.names import closest, quoted
from etlcore.plugins.records import INTERFACE, Command, Component, Kind, SecretScheme

if TYPE_CHECKING:
    from pathlib import Path

    import pluggy

    from etlcore.components import Sink, Source, Transform

FIRST_PARTY = {"sls": "etlcore-sls"}
"""Distributions of this project for names that are not installed: the `pip install` that is missing."""

log = logging.getLogger("etlcore.plugins")

_Record = TypeVar("_Record", Component, Command, SecretScheme)


class Plugins:
    """Finds and loads plugins. Make one for each process, or one for each run; the metadata is read once.

    ``entries`` stands in for what is installed, where that is known already.
    """

    def __init__(self, entries: Iterable[Entry] | None = None) -> None:
        self._given = None if entries is None else list(entries)
        self._by_name: dict[str, list[Entry]] | None = None
        self._loaded: dict[tuple[str, str], pluggy.PluginManager | PluginError] = {}

    # -- names, from the metadata alone ---------------------------------------------------------------------------

    def names(self) -> list[str]:
        """The entry-point names of all installed plugins, sorted. Imports nothing."""
        return sorted(self._entries())

    def distribution(self, name: str) -> str:
        """The distribution behind a component's, verb's or scheme's name: ``"acme-etl 1.2"``.

        Raises UnknownName or NameCollision.
        """
        return self.entry(name).by

    def entries(self) -> list[Entry]:
        """All entry points of the group, those of colliding names too, by name. Imports nothing."""
        return [entry for name in self.names() for entry in self._entries()[name]]

    def _entries(self) -> dict[str, list[Entry]]:
        if self._by_name is None:
            self._by_name = {}
            for entry in installed_entries() if self._given is None else self._given:
                self._by_name.setdefault(entry.name, []).append(entry)
        return self._by_name

    def entry(self, name: str) -> Entry:
        """The one entry point that ``name`` belongs to: the part before the first dot.

        Raises UnknownName or NameCollision; BrokenPlugin for a name that no pipeline can call.
        """
        prefix = name.partition(".")[0]
        claims = self._entries().get(prefix, [])
        if not claims and name in self._entries():
            raise _uncallable(self._entries()[name][0])
        if not claims:
            raise self._unknown(name, prefix)
        if len(claims) > 1:
            raise NameCollision(
                f"the name `{prefix}` is claimed by {_sentence(claim.by for claim in claims)}",
                f"uninstall one of them: pip uninstall {claims[-1].distribution}",
            )
        return claims[0]

    def _unknown(self, name: str, prefix: str) -> UnknownName:
        suggestion = closest(prefix, self._entries())
        of = "" if name == prefix else f" (for `{name}`)"
        if prefix in FIRST_PARTY:
            hint = f"pip install {FIRST_PARTY[prefix]}"
        elif suggestion:
            hint = f"did you mean `{suggestion}`? Otherwise pip install the distribution that offers `{prefix}`"
        elif not self._entries():
            hint = "not even etlcore's own plugins are found: pip install etlcore"
        else:
            hint = f"pip install the distribution that offers it; installed are {quoted(self.names())}"
        return UnknownName(f"no plugin named `{prefix}` is installed{of}", hint, suggestion)

    def add_file(self, file: Path) -> None:
        """Add the plugin in a file (see `files`), and load it, so that its hooks are called.

        Raises BrokenPlugin when it cannot be loaded, and NameCollision when its name is taken.
        """
        name = file.stem
        if not name.isidentifier():
            raise BrokenPlugin(
                f"{file.name} cannot be a plugin: `{name}` is no name for a module",
                "name the file with letters, digits and _, and do not begin with a digit",
            )
        entry = Entry(name, FilePoint(file), str(file), "")
        claims = self._entries().setdefault(name, [])
        if any(claim.point == entry.point for claim in claims if isinstance(claim.point, FilePoint)):
            return
        if claims:
            raise NameCollision(
                f"the name `{name}` is claimed by {claims[0].by} and {entry.by}", "give the file another name"
            )
        if not file.is_file():
            del self._entries()[name]
            raise UnknownName(f"there is no file {file}", "the path is relative to the pipeline file")
        claims.append(entry)
        self._load(entry)

    # -- one plugin, imported -------------------------------------------------------------------------------------

    def require(self, name: str) -> None:
        """Load the plugin that ``name`` belongs to, so that its hooks are called. Raises PluginError."""
        self._load(self.entry(name))

    def _load(self, entry: Entry) -> pluggy.PluginManager:
        # Each plugin has a manager of its own, so that a fault in one plugin's hook cannot keep another's from running.
        key = (entry.distribution, entry.point.value)
        if key not in self._loaded:
            try:
                self._loaded[key] = _register(entry)
            except PluginError as error:
                self._loaded[key] = error
        loaded = self._loaded[key]
        if isinstance(loaded, PluginError):
            raise loaded
        return loaded

    def _own_names(self, entry: Entry) -> set[str]:
        """All entry-point names that the same plugin has; one module may stand behind several."""
        return {
            other.name
            for claims in self._entries().values()
            for other in claims
            if (other.distribution, other.point.value) == (entry.distribution, entry.point.value)
        }

    def foreign_name(self, record: Component | Command | SecretScheme, entry: Entry) -> BrokenPlugin | None:
        """What to say of a plugin that offers something under a name that is not its own."""
        own = self._own_names(entry)
        if record.name.partition(".")[0] in own:
            return None
        return BrokenPlugin(
            f"plugin `{entry.name}` ({entry.by}) offers `{record.name}`, which is not its own name",
            f"its {type(record).__name__} names must be {quoted(sorted(own), 'or')}, alone or with a suffix"
            f" (`{entry.name}.…`)",
        )

    def _records(self, entry: Entry, hook: str, kind: type[_Record]) -> list[_Record]:
        """What one hook of one plugin yields, checked. Raises BrokenPlugin."""
        manager = self._load(entry)
        try:
            yielded = [record for results in getattr(manager.hook, hook)() for record in results]
        except BaseException as error:
            if is_stop(error):
                raise
            raise BrokenPlugin(
                f"plugin `{entry.name}` ({entry.by}) is broken: {hook}() raised {_named(error)}", _upgrade(entry)
            ) from error
        for record in yielded:
            if not isinstance(record, kind):
                raise BrokenPlugin(
                    f"plugin `{entry.name}` ({entry.by}) is broken: {hook}() yields {record!r:.80}",
                    f"it must yield {kind.__name__}(…) records",
                )
            problem = self.foreign_name(record, entry)
            if problem is not None:
                raise problem
        return yielded

    def offered(self, entry: Entry) -> list[Component | Command | SecretScheme]:
        """All that the plugin behind an entry point offers; the plugin is imported. Raises BrokenPlugin."""
        return [
            *self._records(entry, "etl_components", Component),
            *self._records(entry, "etl_commands", Command),
            *self._records(entry, "etl_secret_schemes", SecretScheme),
        ]

    # -- components -----------------------------------------------------------------------------------------------

    def resolve(self, name: str, kind: Kind) -> Component:
        """The component that a stage of that kind calls ``name``; its plugin is imported, its class is not.

        Raises UnknownName, WrongKind, NameCollision, BrokenPlugin or WrongInterface.
        """
        entry = self.entry(name)
        offered = self._records(entry, "etl_components", Component)
        named = [component for component in offered if component.name == name]
        if not named:
            raise _not_offered(name, entry, offered)
        matching = [component for component in named if component.kind == kind]
        if not matching:
            raise _wrong_kind(name, kind, named)
        if len(matching) > 1:
            raise offered_twice(name, kind, matching, entry)
        problem = interface_problem(matching[0], entry)
        if problem is not None:
            raise problem
        return matching[0]

    def load(self, component: Component) -> type[Source] | type[Transform] | type[Sink]:
        """The component's class, imported and checked against the plugin contract.

        Raises BrokenPlugin when it cannot be imported or is not what a component of its kind must be.
        """
        entry = self.entry(component.name)
        return load_class(component, entry.by)

    # -- secrets --------------------------------------------------------------------------------------------------

    def secret(self, scheme: str, reference: str) -> str:
        """What a plugin's secret scheme gives for ``${scheme:reference}``.

        Raises PluginError when there is no such scheme or it is broken, and BrokenPlugin when it fails.
        """
        entry = self.entry(scheme)
        offered = self._records(entry, "etl_secret_schemes", SecretScheme)
        targets = [record.target for record in offered if record.name == scheme]
        if not targets:
            known = sorted({record.name for record in offered})
            hint = f"its secret schemes are {quoted(known)}" if known else "it has no secret schemes"
            raise UnknownName(
                f"plugin `{entry.name}` ({entry.by}) has no secret scheme `{scheme}`", hint, closest(scheme, known)
            )
        function = import_target(targets[0], f"secret scheme `{scheme}` ({entry.by})")
        try:
            text = function(reference)
        except BaseException as error:
            if is_stop(error):
                raise
            raise BrokenPlugin(f"the secret scheme `{scheme}` ({entry.by}) failed: {_named(error)}") from error
        if not isinstance(text, str):
            raise BrokenPlugin(f"the secret scheme `{scheme}` ({entry.by}) gave a {type(text).__name__}, not text")
        return text

    # -- verbs ----------------------------------------------------------------------------------------------------

    def command(self, name: str) -> Any:
        """The click command behind a plugin's verb. Raises PluginError."""
        entry = self.entry(name)
        for record in self._records(entry, "etl_commands", Command):
            if record.name == name:
                return import_target(record.target, f"command `{name}` ({entry.by})")
        raise UnknownName(f"plugin `{entry.name}` ({entry.by}) has no command `{name}`")

    # -- listings: a plugin that is broken is a warning, and the rest is listed --------------------------------------

    def components(self, warn: Callable[[str], None]) -> list[tuple[Component, str]]:
        """All components that are installed, each with its distribution; imports every plugin, but no class."""
        return list(self._listed("etl_components", Component, warn))

    def _listed(self, hook: str, kind: type[_Record], warn: Callable[[str], None]) -> Iterator[tuple[_Record, str]]:
        seen: set[tuple[str, str]] = set()
        for name in self.names():
            try:
                entry = self.entry(name)
                key = (entry.distribution, entry.point.value)
                if key not in seen:
                    seen.add(key)
                    for record in self._records(entry, hook, kind):
                        yield record, entry.by
            except PluginError as error:
                warn(error.message)

    # -- what the runtime tells plugins -----------------------------------------------------------------------------

    def stage_drained(self, pipeline: str, stage: str, counts: dict[str, int]) -> None:
        """Call ``etl_stage_drained`` of the plugins that are loaded. Never raises: a fault is logged."""
        self._tell("etl_stage_drained", pipeline=pipeline, stage=stage, counts=counts)

    def run_finished(self, report: dict[str, Any]) -> None:
        """Call ``etl_run_finished`` of the plugins that are loaded. Never raises: a fault is logged."""
        self._tell("etl_run_finished", report=report)

    def _tell(self, hook: str, **facts: Any) -> None:
        for (distribution, module), manager in list(self._loaded.items()):
            if isinstance(manager, PluginError):
                continue
            try:
                getattr(manager.hook, hook)(**facts)
            except BaseException as error:  # a plugin that watches a run must not end it
                if is_stop(error):
                    raise
                log.warning("%s of plugin %s (%s) raised %s", hook, module, distribution, _named(error))


def _register(entry: Entry) -> pluggy.PluginManager:
    import pluggy

    entry.target()
    try:
        plugin = entry.point.load()
    except PluginError:
        raise
    except BaseException as error:
        if is_stop(error):
            raise
        raise BrokenPlugin(
            f"plugin `{entry.name}` ({entry.by}) cannot be imported: {_named(error)}", _upgrade(entry)
        ) from error
    manager = new_manager()
    try:
        reason = "; ".join(misspelt(plugin))
        if not reason:
            manager.register(plugin, entry.name)
            return manager
    except pluggy.PluginValidationError as error:
        reason = str(error).strip().splitlines()[-1]
    except BaseException as error:  # a plugin may be any object, whose attributes are computed
        if is_stop(error):
            raise
        reason = _named(error)
    raise BrokenPlugin(f"plugin `{entry.name}` ({entry.by}) is broken: {reason}", _upgrade(entry))


def _uncallable(entry: Entry) -> BrokenPlugin:
    return BrokenPlugin(
        f"plugin `{entry.name}` ({entry.by}) is broken: a name with a dot in it cannot be called",
        f"its authors must call the entry point {entry.name.partition('.')[0]}",
    )


def offered_twice(name: str, kind: Kind, same: list[Component], entry: Entry) -> NameCollision:
    """What to say of a plugin that offers several components of one kind under one name."""
    return NameCollision(
        f"plugin `{entry.name}` ({entry.by}) offers the {kind} `{name}` {len(same)} times:"
        f" {_sentence(component.target for component in same)}",
        _upgrade(entry),
    )


def _not_offered(name: str, entry: Entry, offered: list[Component]) -> UnknownName:
    names = sorted({component.name for component in offered})
    suggestion = closest(name, names)
    if suggestion:
        hint = f"did you mean `{suggestion}`?"
    elif names:
        hint = f"it offers {quoted(names)}"
    else:
        hint = "it offers no components"
    return UnknownName(f"plugin `{entry.name}` ({entry.by}) offers no component `{name}`", hint, suggestion)


def _wrong_kind(name: str, kind: Kind, named: list[Component]) -> WrongKind:
    kinds = [component.kind for component in named]
    is_a = " and ".join(f"a {other}" for other in kinds)
    instead = " or ".join(f"`{other}: {name}`" for other in kinds)
    return WrongKind(f"`{name}` is {is_a}, not a {kind}", f"write {instead}")


def interface_problem(component: Component, entry: Entry) -> WrongInterface | None:
    """What to say of a component that is written for another version of the plugin interface."""
    if component.interface == INTERFACE:
        return None
    newer = component.interface > INTERFACE
    return WrongInterface(
        f"`{component.name}` ({entry.by}) is written for version {component.interface} of the plugin interface;"
        f" this etlcore speaks version {INTERFACE}",
        f"pip install --upgrade {GROUP if newer else entry.distribution}",
    )


def _upgrade(entry: Entry) -> str:
    if isinstance(entry.point, FilePoint):
        return f"correct {entry.point.file.name}"
    return f"pip install --upgrade {entry.distribution}, or tell its authors"


def _named(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text:.300}" if text else type(error).__name__


def _sentence(parts: Iterable[str]) -> str:
    return " and ".join(parts)
