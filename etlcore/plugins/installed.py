"""Which plugins are installed, read from the metadata of distributions: nothing is imported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

from etlcore.plugins.errors import BrokenPlugin
from etlcore.plugins.files import FilePoint
from etlcore.plugins.hooks import GROUP


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry point of the group ``etlcore``: a name that a distribution claims."""

    name: str
    point: metadata.EntryPoint | FilePoint
    distribution: str
    version: str

    @property
    def by(self) -> str:
        """The distribution as messages name it: ``acme-etl 1.2``; of a file its path."""
        return f"{self.distribution} {self.version}".rstrip()

    def target(self) -> tuple[str, str]:
        """The module that the plugin is, and the attribute in it, which is mostly empty.

        Raises BrokenPlugin where the metadata names no module.
        """
        try:
            module, attr = self.point.module, self.point.attr
        except (AttributeError, ValueError):  # the one of old versions of Python, the other of new ones
            module = attr = ""
        if not all(part.isidentifier() for part in module.split(".")):
            raise BrokenPlugin(
                f"plugin `{self.name}` ({self.by}) is broken: its entry point {self.point.value!r} names no module",
                f'its authors must write {self.name} = "package.module"',
            )
        return module, attr


def installed_entries() -> list[Entry]:
    """All entry points of the group, in the order of ``sys.path``.

    Of a distribution that is found twice the first counts, as for imports. A distribution whose metadata cannot be
    read is passed over: it is none of ours to judge.
    """
    found: list[Entry] = []
    seen: set[str] = set()
    for distribution in metadata.distributions():
        entries = list(_entries_of(distribution))
        if not entries:
            continue
        normal = re.sub(r"[-_.]+", "-", entries[0].distribution).lower()
        if normal not in seen:
            seen.add(normal)
            found.extend(entries)
    return found


def _entries_of(distribution: metadata.Distribution) -> Iterator[Entry]:
    try:
        points = list(distribution.entry_points.select(group=GROUP))
        if not points:
            return
        about = distribution.metadata
        name, version = about["Name"] or "a distribution without a name", about["Version"] or "of no version"
    except Exception:  # noqa: BLE001 - whatever somebody's metadata holds, it must not lock everybody out
        return
    for point in points:
        yield Entry(point.name, point, name, version)
