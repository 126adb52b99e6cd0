"""What a test can do to an emulator beyond the SLS protocol. ``Control`` is how it asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from etlcore_sls.emulator.errors import consumer_missing, parameter_invalid
from etlcore_sls.emulator.events import matches
from etlcore_sls.emulator.faults import Fault
from etlcore_sls.emulator.groups import ConsumerGroup
from etlcore_sls.emulator.logstore import Logstore
from etlcore_sls.emulator.service import Service
from etlcore_sls.emulator.settings import AccessKey
from etlcore_sls.emulator.shards import StoredGroup
from etlcore_sls.wire.protobuf import Log, LogGroup, encode_log_group, frame

Action = Callable[..., Any]
ACTIONS: dict[str, Action] = {}

_LONGEST_WAIT = 30.0


def _action(function: Action) -> Action:
    ACTIONS[function.__name__] = function
    return function


def perform(service: Service, name: str, parameters: Mapping[str, Any]) -> Any:
    """Do one action. Raises ApiError, also for an unknown action or parameter."""
    action = ACTIONS.get(name)
    if action is None:
        raise parameter_invalid(f"emulator action {name!r} must be one of {', '.join(sorted(ACTIONS))}")
    try:
        bound = signature(action).bind(service, **parameters)
    except TypeError as error:
        raise parameter_invalid(f"emulator action {name}: {error}") from None
    return action(*bound.args, **bound.kwargs)


# --- faults and events -----------------------------------------------------------------------------------------------


@_action
def add_fault(service: Service, **fields: Any) -> int:
    try:
        fault = Fault(**fields)
    except TypeError as error:
        raise parameter_invalid(f"a fault has no such field: {error}") from None
    return service.faults.add(fault)


@_action
def remove_faults(service: Service, number: int | None = None) -> None:
    service.faults.remove(number)


@_action
def faults(service: Service) -> list[dict[str, Any]]:
    return service.faults.describe()


@_action
def events(
    service: Service,
    kind: str | None = None,
    after: int = 0,
    where: Mapping[str, Any] | None = None,
    count: int = 0,
    wait: float = 0.0,
) -> list[dict[str, Any]]:
    """Events newer than number ``after``; waits up to ``wait`` seconds for ``count`` of them."""
    fields = dict(where or {})
    wait = min(wait, _LONGEST_WAIT)
    return service.events.wait(lambda event: matches(event, kind, fields), count, after, wait)


@_action
def last_event(service: Service) -> int:
    return service.events.last


# --- the state -------------------------------------------------------------------------------------------------------


@_action
def state(service: Service) -> dict[str, Any]:
    """Everything at a glance: projects, logstores, shards, and each consumer group's progress."""
    with service.locked():
        return {
            project.name: {
                store.name: {
                    "shards": [_shard_state(store, number) for number in sorted(store.shards)],
                    "groups": {name: _group_state(service, store, group) for name, group in store.groups.items()},
                }
                for store in project.logstores.values()
            }
            for project in service.projects.values()
        }


@_action
def group_state(service: Service, project: str, logstore: str, group: str) -> dict[str, Any]:
    """One consumer group: its consumers, and for each shard its state and how far it is committed."""
    with service.locked():
        store = service.logstore(project, logstore)
        return _group_state(service, store, store.group(group))


def _shard_state(store: Logstore, number: int) -> dict[str, Any]:
    shard = store.shards[number]
    return {
        "shard": number,
        "readonly": shard.readonly,
        "parents": list(shard.parents),
        "first": shard.first,
        "groups": shard.count,
        "rows": shard.rows_before(shard.count),
        "bytes": shard.bytes_before(shard.count),
        "base": shard.base,
    }


def _group_state(service: Service, store: Logstore, group: ConsumerGroup) -> dict[str, Any]:
    group.refresh(store.facts(), service.now())
    service.save_leases(store, group)
    shards = []
    for number, lease in sorted(group.leases.items()):
        shard = store.shards[number]
        committed = 0 if lease.checkpoint is None else max(0, min(lease.checkpoint - shard.base, shard.count))
        shards.append(
            {
                "shard": number,
                "state": str(lease.state),
                "owner": lease.owner,
                "next_owner": lease.next_owner,
                "checkpoint": None if lease.checkpoint is None else lease.checkpoint - shard.base,
                "writer": lease.writer,
                "groups": shard.count,
                "groups_behind": shard.count - committed,
                "rows_committed": shard.rows_before(committed),
                "rows_behind": shard.rows_before(shard.count) - shard.rows_before(committed),
            }
        )
    return {
        "timeout": group.timeout,
        "order": group.order,
        "consumers": {
            name: {"last_heartbeat": consumer.last_heartbeat, "held": sorted(consumer.held)}
            for name, consumer in group.consumers.items()
        },
        "shards": shards,
        "rows_committed": sum(shard["rows_committed"] for shard in shards),
        "rows_behind": sum(shard["rows_behind"] for shard in shards),
        "groups_behind": sum(shard["groups_behind"] for shard in shards),
    }


# --- interventions ---------------------------------------------------------------------------------------------------


@_action
def evict(service: Service, project: str, logstore: str, group: str, consumer: str) -> None:
    """Take a consumer out of its group at once."""
    with service.locked():
        store = service.logstore(project, logstore)
        if not store.group(group).evict(consumer):
            raise consumer_missing(consumer)


@_action
def trim(service: Service, project: str, logstore: str, shard: int, keep: int = 0) -> int:
    """Let all but the newest ``keep`` LogGroups of a shard expire; how many went."""
    with service.locked():
        return service.trim(service.logstore(project, logstore), shard, keep)


@_action
def split(
    service: Service, project: str, logstore: str, shard: int, key: str | None = None, parts: int = 2
) -> list[int]:
    """Split a shard; the numbers of its children."""
    with service.locked():
        family = service.split_shard(service.logstore(project, logstore), shard, key, parts)
        return [child.number for child in family[1:]]


@_action
def merge(service: Service, project: str, logstore: str, shard: int) -> int:
    """Merge a shard with its right neighbour; the number of the new one."""
    with service.locked():
        return service.merge_shards(service.logstore(project, logstore), shard)[0].number


@_action
def advance_clock(service: Service, seconds: float) -> float:
    """Set the server's clock forward, or back; its new time."""
    with service.locked():
        service.clock.advance(seconds)
        service.events.add("clock", seconds=seconds)
        return service.now()


@_action
def set_keys(service: Service, keys: list[dict[str, Any]]) -> None:
    """Replace the access keys that may sign requests."""
    new = [AccessKey(**key) for key in keys]
    with service.locked():
        service.keys = {key.access_key_id: key for key in new}


@_action
def create(
    service: Service, project: str, logstore: str, shards: int = 2, options: Mapping[str, Any] | None = None
) -> None:
    """Create a logstore, and its project if there is none of that name."""
    from etlcore_sls.emulator.api_stores import LOGSTORE_DEFAULTS

    with service.locked():
        if project not in service.projects:
            service.create_project(project)
        service.create_logstore(project, logstore, shards, {**LOGSTORE_DEFAULTS, **(options or {})})


@_action
def put(
    service: Service,
    project: str,
    logstore: str,
    rows: list[dict[str, Any]],
    shard: int | None = None,
    rows_per_group: int = 100,
    topic: str = "",
    source: str = "",
    tags: Mapping[str, str] | None = None,
) -> list[list[int]]:
    """Write rows without HTTP's and the SDK's cost; ``__time__`` (seconds) is taken out of each row, or is now.

    The result is one pair for each LogGroup: its shard, and its number in it.
    """
    now = int(service.now())
    groups = []
    for start in range(0, len(rows), max(1, rows_per_group)):
        logs = [_log(row, now) for row in rows[start : start + rows_per_group]]
        pairs = [(key.encode(), value.encode()) for key, value in (tags or {}).items()]
        group = LogGroup(logs, topic.encode(), source.encode(), tags=pairs)
        groups.append(StoredGroup(now, len(logs), frame(encode_log_group(group))))
    placed = []
    with service.locked():
        store = service.logstore(project, logstore)
        if shard is not None:
            target = store.shard(shard)
            placed = [[target.number, target.count + offset] for offset in range(len(groups))]
            service.append(store, target, groups)
            return placed
        for one in groups:
            target = store.balanced_shard()
            placed.append([target.number, target.count])
            service.append(store, target, [one])
    return placed


def _log(row: Mapping[str, Any], now: int) -> Log:
    contents = [(key.encode(), str(value).encode()) for key, value in row.items() if key != "__time__"]
    return Log(int(row.get("__time__", now)), contents)
