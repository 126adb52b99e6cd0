"""Operations on consumer groups: create, list, heartbeat, checkpoints."""

from __future__ import annotations

from typing import Any

from etlcore_sls.emulator.calls import Call, Reply, json_reply, route
from etlcore_sls.emulator.errors import ApiError, parameter_invalid
from etlcore_sls.emulator.groups import ConsumerGroup
from etlcore_sls.emulator.logstore import Logstore
from etlcore_sls.wire.cursor import decode_cursor, encode_cursor

_GROUPS = "/logstores/{logstore}/consumergroups"
_GROUP = _GROUPS + "/{group}"


def _store(call: Call) -> Logstore:
    return call.service.logstore(call.project, call.names["logstore"])


def _group(call: Call) -> tuple[Logstore, ConsumerGroup]:
    store = _store(call)
    return store, store.group(call.names["group"])


def _timeout(document: dict[str, Any], default: float | None) -> float:
    timeout = document.get("timeout", default)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout <= 0:
        raise parameter_invalid("field timeout must be a number of seconds above 0")
    return timeout


@route("create_group", "POST", _GROUPS)
def create_group(call: Call) -> Reply:
    document = call.json()
    name = call.field(document, "consumerGroup", str)
    order = call.field(document, "order", bool, False)
    call.service.create_group(_store(call), name, _timeout(document, None), order)
    return Reply()


@route("list_groups", "GET", _GROUPS)
def list_groups(call: Call) -> Reply:
    groups = sorted(_store(call).groups.items())
    return json_reply([{"name": name, "timeout": group.timeout, "order": group.order} for name, group in groups])


@route("update_group", "PUT", _GROUP)
def update_group(call: Call) -> Reply:
    """Change timeout, order or both; order is taken on by shards that come later."""
    document = call.json()
    store, group = _group(call)
    group.timeout = _timeout(document, group.timeout)
    group.order = call.field(document, "order", bool, group.order)
    call.service.storage.save_group(store, group)
    return Reply()


@route("delete_group", "DELETE", _GROUP)
def delete_group(call: Call) -> Reply:
    call.service.delete_group(_store(call), call.names["group"])
    return Reply()


@route("heartbeat", "POST", _GROUP, types=("heartbeat",))
def heartbeat(call: Call) -> Reply:
    """A consumer says which shards it holds; the answer is the shards it is to hold, as a bare array."""
    store, group = _group(call)
    consumer = call.params.get("consumer", "")
    held = call.json_list()
    if not consumer:
        raise parameter_invalid("parameter consumer must be given")
    if any(isinstance(shard, bool) or not isinstance(shard, int) for shard in held):
        raise parameter_invalid("the body of a heartbeat must be an array of shard numbers")
    try:
        assigned = group.heartbeat(consumer, held, store.facts(), call.service.now())
    except ApiError as error:
        _record(call, "heartbeat", consumer=consumer, held=sorted(held), accepted=False, error=error.code)
        raise
    finally:
        call.service.save_leases(store, group)
    _record(call, "heartbeat", consumer=consumer, held=sorted(held), accepted=True, assigned=assigned)
    return json_reply(assigned)


@route("get_checkpoint", "GET", _GROUP)
def get_checkpoint(call: Call) -> Reply:
    """The checkpoints of all shards or of one; a shard without one is listed with an empty checkpoint."""
    store, group = _group(call)
    group.refresh(store.facts(), call.service.now())
    call.service.save_leases(store, group)
    numbers = sorted(store.shards)
    if "shard" in call.params:
        numbers = [store.shard(call.params["shard"]).number]
    leases = [group.leases[number] for number in numbers]
    return json_reply(
        [
            {
                "shard": lease.shard,
                "checkpoint": "" if lease.checkpoint is None else encode_cursor(lease.checkpoint),
                "updateTime": lease.updated,
                "consumer": lease.owner or lease.writer,
            }
            for lease in leases
        ]
    )


@route("update_checkpoint", "POST", _GROUP, types=("checkpoint",))
def update_checkpoint(call: Call) -> Reply:
    """Commit a cursor for a shard; only the holder may, unless ``forceSuccess``."""
    store, group = _group(call)
    document = call.json()
    number, cursor = call.field(document, "shard", int), call.field(document, "checkpoint", str)
    consumer, force = call.params.get("consumer", ""), call.flag("forceSuccess")
    shard = store.shard(number)
    try:
        value = decode_cursor(cursor)
    except ValueError as error:
        raise ApiError(400, "InvalidShardCheckPoint", str(error)) from None
    if not consumer and not force:
        raise parameter_invalid("without a consumer, forceSuccess must be true")
    what = {"consumer": consumer, "shard": number, "value": value - shard.base, "forced": force}
    try:
        group.write_checkpoint(number, value, consumer, force, store.facts(), call.service.now())
    except ApiError as error:
        _record(call, "checkpoint", **what, accepted=False, error=error.code)
        raise
    finally:
        call.service.save_leases(store, group)
    _record(call, "checkpoint", **what, accepted=True)
    return Reply()


def _record(call: Call, kind: str, **fields: Any) -> None:
    names = call.names
    call.service.events.add(kind, project=call.project, logstore=names["logstore"], group=names["group"], **fields)
