"""Where the emulator keeps what it holds: in memory, or in an SQLite file that outlives it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from etlcore_sls.emulator.groups import ConsumerGroup, Lease
from etlcore_sls.emulator.logstore import Logstore, Project
from etlcore_sls.emulator.shards import Shard, StoredGroup


class Storage(Protocol):
    """What the service tells its storage, under the service's lock. Everything said is durable when a call returns."""

    def load(self) -> dict[str, Project]:
        """Everything that was kept, as the service holds it."""

    def save_project(self, project: Project) -> None: ...
    def delete_project(self, project: Project) -> None: ...
    def save_document(self, project: str, key: tuple[str, str], document: Any) -> None: ...
    def delete_document(self, project: str, key: tuple[str, str]) -> None: ...
    def save_logstore(self, logstore: Logstore) -> None: ...
    def delete_logstore(self, logstore: Logstore) -> None: ...
    def save_shards(self, logstore: Logstore, shards: Sequence[Shard]) -> None: ...
    def delete_shard(self, shard: Shard) -> None: ...
    def trim(self, shard: Shard) -> None:
        """Forget the bytes of the groups before ``shard.first``."""

    def append(self, shard: Shard, groups: Sequence[StoredGroup]) -> None:
        """Keep new groups; called before they are in the shard's index."""

    def read(self, shard: Shard, first: int, last: int) -> list[bytes]:
        """The framed bytes of groups ``first`` to ``last``, the last one not included."""

    def save_group(self, logstore: Logstore, group: ConsumerGroup) -> None: ...
    def delete_group(self, logstore: Logstore, group: str) -> None: ...
    def save_leases(self, logstore: Logstore, group: str, leases: Sequence[Lease]) -> None: ...
    def close(self) -> None: ...


class MemoryStorage:
    """Keeps the bytes of the groups, nothing else: the service's own objects are the rest."""

    def __init__(self) -> None:
        self._bodies: dict[int, list[bytes]] = {}

    def load(self) -> dict[str, Project]:
        return {}

    def delete_project(self, project: Project) -> None:
        for logstore in project.logstores.values():
            self.delete_logstore(logstore)

    def delete_logstore(self, logstore: Logstore) -> None:
        for shard in logstore.shards.values():
            self.delete_shard(shard)

    def delete_shard(self, shard: Shard) -> None:
        self._bodies.pop(shard.uid, None)

    def trim(self, shard: Shard) -> None:
        bodies = self._bodies.get(shard.uid, [])
        for number in range(min(shard.first, len(bodies))):
            bodies[number] = b""

    def append(self, shard: Shard, groups: Sequence[StoredGroup]) -> None:
        self._bodies.setdefault(shard.uid, []).extend(group.framed for group in groups)

    def read(self, shard: Shard, first: int, last: int) -> list[bytes]:
        return self._bodies.get(shard.uid, [])[first:last]

    def save_project(self, project: Project) -> None:
        pass

    def save_document(self, project: str, key: tuple[str, str], document: Any) -> None:
        pass

    def delete_document(self, project: str, key: tuple[str, str]) -> None:
        pass

    def save_logstore(self, logstore: Logstore) -> None:
        pass

    def save_shards(self, logstore: Logstore, shards: Sequence[Shard]) -> None:
        pass

    def save_group(self, logstore: Logstore, group: ConsumerGroup) -> None:
        pass

    def delete_group(self, logstore: Logstore, group: str) -> None:
        pass

    def save_leases(self, logstore: Logstore, group: str, leases: Sequence[Lease]) -> None:
        pass

    def close(self) -> None:
        self._bodies.clear()
