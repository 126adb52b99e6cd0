"""Projects and logstores: what holds the shards, the consumer groups and the documents that are only kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from etlcore_sls.emulator.errors import group_missing, logstore_missing, parameter_invalid, shard_missing
from etlcore_sls.emulator.groups import ConsumerGroup, ShardFacts
from etlcore_sls.emulator.shards import Shard


@dataclass(slots=True)
class Logstore:
    """One logstore. ``options`` is its description as the API returns it, apart from what is counted."""

    project: str
    name: str
    uid: int
    created: int
    options: dict[str, Any]
    modified: int = 0
    shards: dict[int, Shard] = field(default_factory=dict)
    groups: dict[str, ConsumerGroup] = field(default_factory=dict)
    next_shard: int = 0
    next_writer: int = 0
    time_index: object = None  # kept here by the operations that read by time

    def shard(self, number: int | str) -> Shard:
        """A shard by its number. Raises ShardNotExist."""
        try:
            return self.shards[int(number)]
        except (KeyError, ValueError):
            raise shard_missing(number) from None

    def group(self, name: str) -> ConsumerGroup:
        """A consumer group by name. Raises ConsumerGroupNotExist."""
        try:
            return self.groups[name]
        except KeyError:
            raise group_missing(name) from None

    def writable(self) -> list[Shard]:
        return [shard for _, shard in sorted(self.shards.items()) if not shard.readonly]

    def facts(self) -> dict[int, ShardFacts]:
        """The shards as consumer groups see them."""
        return {
            number: ShardFacts(shard.end_cursor, shard.readonly, shard.parents) for number, shard in self.shards.items()
        }

    def balanced_shard(self) -> Shard:
        """The next shard to write to when the writer does not care: each in its turn."""
        writable = self.writable()
        self.next_writer += 1
        return writable[(self.next_writer - 1) % len(writable)]

    def shard_for(self, key: int) -> Shard:
        """The shard that takes a hash key."""
        return next(shard for shard in self.writable() if shard.takes(key))

    def right_neighbour(self, shard: Shard) -> Shard:
        """The shard to merge with. Raises ParameterInvalid when there is none."""
        if shard.readonly:
            raise parameter_invalid(f"shard {shard.number} is readonly and cannot be merged")
        for other in self.writable():
            if other.begin_key == shard.end_key:
                return other
        raise parameter_invalid(f"shard {shard.number} has no readwrite shard to its right to be merged with")

    def describe(self) -> dict[str, Any]:
        return {
            **self.options,
            "logstoreName": self.name,
            "shardCount": len(self.writable()),
            "createTime": self.created,
            "lastModifyTime": self.modified or self.created,
        }


@dataclass(slots=True)
class Project:
    """One project. ``documents`` holds JSON that is kept but means nothing here: indexes, consume processors."""

    name: str
    description: str
    created: int
    modified: int
    logstores: dict[str, Logstore] = field(default_factory=dict)
    documents: dict[tuple[str, str], Any] = field(default_factory=dict)

    def logstore(self, name: str) -> Logstore:
        """A logstore by name. Raises LogStoreNotExist."""
        try:
            return self.logstores[name]
        except KeyError:
            raise logstore_missing(name) from None

    def describe(self, region: str) -> dict[str, Any]:
        return {
            "projectName": self.name,
            "description": self.description,
            "region": region,
            "owner": "",
            "status": "Normal",
            "createTime": str(self.created),
            "lastModifyTime": str(self.modified),
        }
