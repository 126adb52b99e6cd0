"""Operations on projects, logstores, shards, indexes and consume processors."""

from __future__ import annotations

import re
from typing import Any

from etlcore_sls.emulator.calls import Call, Reply, json_reply, route
from etlcore_sls.emulator.errors import ApiError, parameter_invalid
from etlcore_sls.emulator.shards import Shard

_NAME = re.compile(r"[a-z0-9_][a-z0-9_-]{1,62}")
LOGSTORE_DEFAULTS: dict[str, Any] = {
    "ttl": 30,
    "enable_tracking": False,
    "appendMeta": False,
    "autoSplit": False,
    "maxSplitShard": 64,
    "telemetryType": "",
    "mode": "standard",
    "encrypt_conf": {"enable": False},
}
_LOGSTORE_FIELDS = (*LOGSTORE_DEFAULTS, "hot_ttl", "infrequentAccessTTL", "enableModify")


def _check_name(kind: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise parameter_invalid(f"{kind} name {name!r} must be 2 to 63 of a-z, 0-9, '-' and '_'")
    return name


def _page(call: Call, names: list[str]) -> list[str]:
    offset, size = call.number("offset", 0), call.number("size", 500)
    return names[max(offset, 0) :][: max(size, 0)]


# --- projects --------------------------------------------------------------------------------------------------------


@route("create_project", "POST", "/")
def create_project(call: Call) -> Reply:
    document = call.json()
    name = _check_name("project", call.field(document, "projectName", str, call.project or None))
    call.service.create_project(name, call.field(document, "description", str, ""))
    return Reply()


@route("list_projects", "GET", "/", has_any=("offset", "size"))
def list_projects(call: Call) -> Reply:
    pattern = call.params.get("projectName", "")
    found = sorted(name for name in call.service.projects if pattern in name)
    page = [call.service.projects[name].describe(call.service.settings.region) for name in _page(call, found)]
    return json_reply({"count": len(page), "total": len(found), "projects": page})


@route("get_project", "GET", "/")
def get_project(call: Call) -> Reply:
    """The project of the host; without one, the list of all (the Go client asks for it without parameters)."""
    if not call.project:
        return list_projects(call)
    return json_reply(call.service.project(call.project).describe(call.service.settings.region))


@route("update_project", "PUT", "/")
def update_project(call: Call) -> Reply:
    project = call.service.project(call.project)
    project.description = call.field(call.json(), "description", str, project.description)
    project.modified = int(call.service.now())
    call.service.storage.save_project(project)
    return Reply()


@route("delete_project", "DELETE", "/")
def delete_project(call: Call) -> Reply:
    call.service.delete_project(call.project)
    return Reply()


# --- logstores -------------------------------------------------------------------------------------------------------


@route("create_logstore", "POST", "/logstores")
def create_logstore(call: Call) -> Reply:
    document = call.json()
    name = _check_name("logstore", call.field(document, "logstoreName", str))
    shards = call.field(document, "shardCount", int, 2)
    options = {**LOGSTORE_DEFAULTS, **{key: document[key] for key in _LOGSTORE_FIELDS if key in document}}
    call.field(options, "ttl", int)
    call.service.create_logstore(call.project, name, shards, options)
    return Reply()


@route("list_logstores", "GET", "/logstores")
def list_logstores(call: Call) -> Reply:
    pattern = call.params.get("logstoreName", "")
    found = sorted(name for name in call.service.project(call.project).logstores if pattern in name)
    page = _page(call, found)
    return json_reply({"count": len(page), "total": len(found), "logstores": page})


@route("update_logstore", "PUT", "/logstores/{logstore}")
def update_logstore(call: Call) -> Reply:
    document = call.json()
    store = call.service.logstore(call.project, call.names["logstore"])
    store.options.update({key: document[key] for key in _LOGSTORE_FIELDS if key in document})
    store.modified = int(call.service.now())
    call.service.storage.save_logstore(store)
    return Reply()


@route("delete_logstore", "DELETE", "/logstores/{logstore}")
def delete_logstore(call: Call) -> Reply:
    call.service.delete_logstore(call.project, call.names["logstore"])
    return Reply()


# --- shards ----------------------------------------------------------------------------------------------------------


def _shards(shards: list[Shard]) -> Reply:
    return json_reply([shard.describe() for shard in shards])


@route("list_shards", "GET", "/logstores/{logstore}/shards")
def list_shards(call: Call) -> Reply:
    store = call.service.logstore(call.project, call.names["logstore"])
    return _shards([shard for _, shard in sorted(store.shards.items())])


@route("change_shards", "POST", "/logstores/{logstore}/shards/{shard}", has_any=("action",))
def change_shards(call: Call) -> Reply:
    """Split (``key=`` or ``shardCount=``) or merge, by the parameter ``action``."""
    store = call.service.logstore(call.project, call.names["logstore"])
    action = call.params["action"]
    if action == "merge":
        return _shards(call.service.merge_shards(store, call.names["shard"]))
    if action != "split":
        raise parameter_invalid(f"action {action!r} must be split or merge")
    key, parts = call.params.get("key"), call.number("shardCount", 2)
    return _shards(call.service.split_shard(store, call.names["shard"], key or None, parts))


@route("delete_shard", "DELETE", "/logstores/{logstore}/shards/{shard}")
def delete_shard(call: Call) -> Reply:
    store = call.service.logstore(call.project, call.names["logstore"])
    call.service.delete_shard(store, call.names["shard"])
    return Reply()


# --- documents that are kept as they are: indexes --------------------------------------------------------------------


def _index_key(call: Call) -> tuple[str, str]:
    call.service.logstore(call.project, call.names["logstore"])
    return "index", call.names["logstore"]


@route("get_index", "GET", "/logstores/{logstore}/index")
def get_index(call: Call) -> Reply:
    document = call.service.project(call.project).documents.get(_index_key(call))
    if document is None:
        raise ApiError(404, "IndexConfigNotExist", "index config doesn't exist")
    return json_reply(document)


@route("create_index", "POST", "/logstores/{logstore}/index")
def create_index(call: Call) -> Reply:
    key = _index_key(call)
    if key in call.service.project(call.project).documents:
        raise ApiError(400, "IndexAlreadyExist", "log store index is already created")
    return update_index(call)


@route("update_index", "PUT", "/logstores/{logstore}/index")
def update_index(call: Call) -> Reply:
    key, document = _index_key(call), call.json()
    call.service.project(call.project).documents[key] = document
    call.service.storage.save_document(call.project, key, document)
    return Reply()


@route("delete_index", "DELETE", "/logstores/{logstore}/index")
def delete_index(call: Call) -> Reply:
    key = _index_key(call)
    if call.service.project(call.project).documents.pop(key, None) is None:
        raise ApiError(404, "IndexConfigNotExist", "index config doesn't exist")
    call.service.storage.delete_document(call.project, key)
    return Reply()


@route("get_logstore", "GET", "/logstores/{logstore}")
def get_logstore(call: Call) -> Reply:
    if "type" in call.params:
        raise parameter_invalid(f"type={call.params['type']} is not emulated for a logstore")
    return json_reply(call.service.logstore(call.project, call.names["logstore"]).describe())
