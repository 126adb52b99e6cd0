"""What is installed: every distribution with plugins, what it offers, and whether it is in order.

Without ``check`` nothing is imported: names come from metadata, components from the source text (see `written`). With
it every plugin and every component's class is imported, and what is wrong with them is found.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any
from urllib.parse import unquote, urlsplit

from etlcore.plugins.classes import import_target, load_class
from etlcore.plugins.describe import checked_options
from etlcore.plugins.errors import NameCollision, PluginError
from etlcore.plugins.installed import Entry
from etlcore.plugins.manager import Plugins, interface_problem, offered_twice
from etlcore.plugins.names import one_line
from etlcore.plugins.records import Command, Component, SecretScheme
from etlcore.plugins.written import Record, read


@dataclass(frozen=True, slots=True)
class Offer:
    """A component, verb or secret scheme that a plugin offers."""

    name: str
    kind: str
    """``source``, ``transform``, ``sink``, ``verb`` or ``secrets``."""
    target: str
    summary: str
    interface: int | None
    """The version of the plugin interface that a component is written for."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with a plugin, and the next step."""

    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Installed:
    """A distribution with plugins."""

    distribution: str
    version: str
    location: str
    """The directory that it is installed in, or that an editable installation points to."""
    editable: bool
    names: tuple[str, ...]
    """The entry-point names that it claims."""
    offers: tuple[Offer, ...]
    complete: bool
    """Whether ``offers`` is all that it offers: without a check, computed records are not seen."""
    checked: bool
    faults: tuple[Fault, ...]

    @property
    def by(self) -> str:
        """As messages name it: ``acme-etl 1.2``."""
        return f"{self.distribution} {self.version}"

    @property
    def health(self) -> str:
        """``broken``, ``healthy`` where a check has found nothing, else ``not checked``."""
        if self.faults:
            return "broken"
        return "healthy" if self.checked else "not checked"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "health": self.health}


def survey(plugins: Plugins, *, check: bool = False) -> list[Installed]:
    """Every distribution with plugins, by name. Raises nothing: what is wrong is part of the answer."""
    grouped: dict[str, list[Entry]] = {}
    for entry in plugins.entries():
        grouped.setdefault(entry.by, []).append(entry)
    return [_distribution(plugins, grouped[by], check) for by in sorted(grouped)]


def _distribution(plugins: Plugins, entries: list[Entry], check: bool) -> Installed:
    offers: list[Offer] = []
    faults: list[Fault] = []
    complete = True
    known: list[Entry] = []
    for entry in entries:
        try:
            plugins.distribution(entry.name)
        except PluginError as error:
            faults.append(Fault(error.message, error.hint))
            if not isinstance(error, NameCollision):
                continue
        known.append(entry)
    for entry in {entry.point.value: entry for entry in known}.values():
        loaded = check
        try:
            records, all_of_them = (plugins.offered(entry), True) if check else _read(entry)
        except PluginError as error:
            faults.append(Fault(error.message, error.hint))
            records, all_of_them = _without_importing(entry)
            loaded = False
        complete = complete and all_of_them
        offers.extend(_offer(record) for record in records)
        faults.extend(_faults(plugins, records, entry, loaded))
    location, editable = _location(entries[0])
    return Installed(
        distribution=entries[0].distribution,
        version=entries[0].version,
        location=location,
        editable=editable,
        names=tuple(sorted(entry.name for entry in entries)),
        offers=tuple(offers),
        complete=complete,
        checked=check,
        faults=tuple(dict.fromkeys(faults)),
    )


def _read(entry: Entry) -> tuple[list[Record], bool]:
    """Raises PluginError where the module is not there at all."""
    module, attr = entry.target()
    reading = read(module)
    if reading.missing:
        raise PluginError(
            f"plugin `{entry.name}` ({entry.by}) cannot be imported: there is no module {module}",
            f"pip install --force-reinstall {entry.distribution}, or tell its authors",
        )
    return list(reading.records), reading.complete and not attr


def _without_importing(entry: Entry) -> tuple[list[Record], bool]:
    try:
        module, _ = entry.target()
    except PluginError:
        return [], False
    return list(read(module).records), False


def _faults(plugins: Plugins, records: list[Record], entry: Entry, check: bool) -> Iterator[Fault]:
    """What is wrong with single components, verbs and schemes; with ``check``, their classes are imported."""
    for record in records:
        problem = plugins.foreign_name(record, entry) or _offered_twice(record, records, entry)
        if problem is None and isinstance(record, Component):
            problem = interface_problem(record, entry)
        try:
            if problem is not None:
                raise problem
            if check and isinstance(record, Component):
                checked_options(record, load_class(record, entry.by), entry.by)
            elif check:
                what = "command" if isinstance(record, Command) else "secret scheme"
                import_target(record.target, f"{what} `{record.name}` ({entry.by})")
        except PluginError as error:
            yield Fault(error.message, error.hint)


def _offered_twice(record: Record, records: list[Record], entry: Entry) -> PluginError | None:
    if not isinstance(record, Component):
        return None
    same = [it for it in records if isinstance(it, Component) and (it.kind, it.name) == (record.kind, record.name)]
    return offered_twice(record.name, record.kind, same, entry) if len(same) > 1 else None


def _offer(record: Record) -> Offer:
    if isinstance(record, Component):
        return Offer(record.name, record.kind, record.target, one_line(record.summary), record.interface)
    if isinstance(record, SecretScheme):
        return Offer(record.name, "secrets", record.target, f"${{{record.name}:…}} in a pipeline file", None)
    return Offer(record.name, "verb", record.target, one_line(record.summary), None)


def _location(entry: Entry) -> tuple[str, bool]:
    """Where a distribution is, and whether it is installed in editable mode (PEP 610's ``direct_url.json``)."""
    distribution: metadata.Distribution | None = getattr(entry.point, "dist", None)
    if distribution is None:
        return "", False
    try:
        direct = json.loads(distribution.read_text("direct_url.json") or "{}")
        if direct.get("dir_info", {}).get("editable"):
            return unquote(urlsplit(direct["url"]).path), True
    except (OSError, ValueError, KeyError, AttributeError):
        pass  # the directory of the metadata says as much as can be known
    return str(distribution.locate_file("")), False
