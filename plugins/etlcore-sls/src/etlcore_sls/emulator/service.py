"""The service behind the HTTP interface: everything the emulator holds, and what changes it.

One lock guards it all; nothing slow happens under it (bodies are joined and compressed outside).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

from etlcore_sls.emulator.clock import Clock
from etlcore_sls.emulator.errors import ApiError, parameter_invalid, project_missing
from etlcore_sls.emulator.events import EventLog
from etlcore_sls.emulator.faults import ConnectionCut, FaultPlan
from etlcore_sls.emulator.groups import ConsumerGroup
from etlcore_sls.emulator.logstore import Logstore, Project
from etlcore_sls.emulator.settings import AccessKey, Settings
from etlcore_sls.emulator.shards import LAST_KEY, Shard, StoredGroup, even_ranges, split_ranges
from etlcore_sls.emulator.storage import Storage

_request_numbers = count(1)


class Service:
    """Projects, logstores, shards and consumer groups over a storage."""

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self.settings = settings
        self.storage = storage
        self.clock = Clock()
        self.events = EventLog(self.clock, settings.max_events)
        self.faults = FaultPlan()
        self.lock = threading.RLock()
        self._closed = False
        self.keys: dict[str, AccessKey] = dict(settings.access_keys)
        self.projects = storage.load()
        stores = [store for project in self.projects.values() for store in project.logstores.values()]
        self._last_logstore = max((store.uid for store in stores), default=0)
        self._last_shard = max((shard.uid for store in stores for shard in store.shards.values()), default=0)
        for store in stores:
            for group in store.groups.values():
                group.notify_with(self._notifier(store, group.name))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock. Raises ConnectionCut when the service has been closed meanwhile."""
        with self.lock:
            if self._closed:
                raise ConnectionCut
            yield

    def close(self) -> None:
        """Let waiting requests go and close the storage; requests that come later are cut off."""
        self.faults.close()
        self.events.close()
        with self.lock:
            self._closed = True
            self.storage.close()

    # --- finding -----------------------------------------------------------------------------------------------------

    def project(self, name: str) -> Project:
        """A project by name. Raises ProjectNotExist."""
        try:
            return self.projects[name]
        except KeyError:
            raise project_missing(name) from None

    def logstore(self, project: str, logstore: str) -> Logstore:
        """A logstore by the names of its project and itself. Raises ProjectNotExist or LogStoreNotExist."""
        return self.project(project).logstore(logstore)

    # --- projects and logstores --------------------------------------------------------------------------------------

    def create_project(self, name: str, description: str = "") -> Project:
        """Raises ProjectAlreadyExist."""
        if name in self.projects:
            raise ApiError(400, "ProjectAlreadyExist", f"project {name} already exists")
        now = int(self.clock.now())
        project = self.projects[name] = Project(name, description, created=now, modified=now)
        self.storage.save_project(project)
        self.events.add("project_created", project=name)
        return project

    def delete_project(self, name: str) -> None:
        project = self.project(name)
        self.storage.delete_project(project)
        del self.projects[name]
        self.events.add("project_deleted", project=name)

    def create_logstore(self, project_name: str, name: str, shards: int, options: dict[str, Any]) -> Logstore:
        """A logstore whose shards share the key range evenly. Raises LogStoreAlreadyExist or ParameterInvalid."""
        project = self.project(project_name)
        if name in project.logstores:
            raise ApiError(400, "LogStoreAlreadyExist", f"logstore {name} already exists")
        if not 1 <= shards <= 1000:
            raise parameter_invalid(f"shardCount {shards} must be between 1 and 1000")
        self._last_logstore += 1
        store = Logstore(project_name, name, self._last_logstore, int(self.clock.now()), options)
        for begin, end in even_ranges(0, LAST_KEY, shards):
            self._add_shard(store, begin, end, ())
        project.logstores[name] = store
        self.storage.save_logstore(store)
        self.storage.save_shards(store, list(store.shards.values()))
        self.events.add("logstore_created", project=project_name, logstore=name, shards=shards)
        return store

    def delete_logstore(self, project_name: str, name: str) -> None:
        store = self.logstore(project_name, name)
        self.storage.delete_logstore(store)
        del self.projects[project_name].logstores[name]
        self.events.add("logstore_deleted", project=project_name, logstore=name)

    # --- shards ------------------------------------------------------------------------------------------------------

    def _add_shard(self, store: Logstore, begin: int, end: int, parents: tuple[int, ...]) -> Shard:
        self._last_shard += 1
        now = self.clock.now()
        # The real service's cursors look like microseconds times a thousand; the uid keeps shards of one moment apart.
        base = int(now * 1_000_000) * 1_000 + self._last_shard
        shard = Shard(store.next_shard, self._last_shard, begin, end, int(now), base, parents=parents)
        store.shards[shard.number] = shard
        store.next_shard += 1
        return shard

    def split_shard(self, store: Logstore, number: int | str, key: str | None = None, parts: int = 2) -> list[Shard]:
        """Split a shard at a key or into parts; the parent, now readonly, and its children."""
        parent = store.shard(number)
        ranges = split_ranges(parent, key, parts)
        parent.readonly = True
        family = [parent, *(self._add_shard(store, begin, end, (parent.number,)) for begin, end in ranges)]
        self.storage.save_shards(store, family)
        self.storage.save_logstore(store)
        children = [shard.number for shard in family[1:]]
        self.events.add("split", project=store.project, logstore=store.name, shard=parent.number, children=children)
        return family

    def merge_shards(self, store: Logstore, number: int | str) -> list[Shard]:
        """Merge a shard with the one to its right; the new shard and its parents, now readonly."""
        left = store.shard(number)
        right = store.right_neighbour(left)
        left.readonly = right.readonly = True
        merged = self._add_shard(store, left.begin_key, right.end_key, (left.number, right.number))
        self.storage.save_shards(store, [merged, left, right])
        self.storage.save_logstore(store)
        parents = [left.number, right.number]
        self.events.add("merge", project=store.project, logstore=store.name, shard=merged.number, parents=parents)
        return [merged, left, right]

    def delete_shard(self, store: Logstore, number: int | str) -> None:
        """Delete a readonly shard. Raises ParameterInvalid for one that is not."""
        shard = store.shard(number)
        if not shard.readonly:
            raise parameter_invalid(f"shard {number} is readwrite and cannot be deleted")
        self.storage.delete_shard(shard)
        del store.shards[shard.number]
        self.events.add("shard_deleted", project=store.project, logstore=store.name, shard=shard.number)

    def trim(self, store: Logstore, number: int | str, keep: int = 0) -> int:
        """Let all but the newest ``keep`` groups of a shard expire, as retention would; how many are gone now."""
        shard = store.shard(number)
        first = max(shard.first, shard.count - keep)
        gone, shard.first = first - shard.first, first
        self.storage.trim(shard)
        self.storage.save_shards(store, [shard])
        self.events.add("trim", project=store.project, logstore=store.name, shard=shard.number, first=shard.first)
        return gone

    # --- logs --------------------------------------------------------------------------------------------------------

    def append(self, store: Logstore, shard: Shard, groups: Sequence[StoredGroup]) -> None:
        """Write LogGroups to a shard; they are kept when this returns."""
        self.storage.append(shard, groups)
        first = shard.count
        shard.append(groups)
        self.events.add(
            "put",
            project=store.project,
            logstore=store.name,
            shard=shard.number,
            first=first,
            groups=len(groups),
            logs=shard.rows_before(shard.count) - shard.rows_before(first),
        )

    # --- consumer groups ---------------------------------------------------------------------------------------------

    def create_group(self, store: Logstore, name: str, timeout: float, order: bool) -> ConsumerGroup:
        """Raises ConsumerGroupAlreadyExist or ConsumerGroupQuotaExceed."""
        if name in store.groups:
            raise ApiError(400, "ConsumerGroupAlreadyExist", f"consumer group {name} already exists")
        if len(store.groups) >= self.settings.max_consumer_groups:
            limit = self.settings.max_consumer_groups
            raise ApiError(400, "ConsumerGroupQuotaExceed", f"a logstore has at most {limit} consumer groups")
        group = store.groups[name] = ConsumerGroup(name, timeout, order)
        group.notify_with(self._notifier(store, name))
        self.storage.save_group(store, group)
        self.events.add("group_created", project=store.project, logstore=store.name, group=name)
        return group

    def delete_group(self, store: Logstore, name: str) -> None:
        store.group(name)
        del store.groups[name]
        self.storage.delete_group(store, name)
        self.events.add("group_deleted", project=store.project, logstore=store.name, group=name)

    def save_leases(self, store: Logstore, group: ConsumerGroup) -> None:
        """Make what changed in a group durable."""
        if group.changed:
            leases = [group.leases[shard] for shard in sorted(group.changed) if shard in group.leases]
            group.changed.clear()
            self.storage.save_leases(store, group.name, leases)

    def _notifier(self, store: Logstore, group: str) -> Any:
        def notify(kind: str, **fields: Any) -> None:
            self.events.add(kind, project=store.project, logstore=store.name, group=group, **fields)

        return notify

    def now(self) -> float:
        """Server time in seconds since 1970."""
        return self.clock.now()


def request_id() -> str:
    """A number that names one request in logs, 24 hexadecimal digits as the service's are."""
    return f"{time.time_ns():016X}{next(_request_numbers) & 0xFFFFFFFF:08X}"
