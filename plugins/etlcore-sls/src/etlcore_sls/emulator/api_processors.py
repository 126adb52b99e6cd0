"""Consume processors: SPL queries with a name, kept in a project, for pulls to refer to."""

from __future__ import annotations

from typing import Any

from etlcore_sls.emulator.calls import Call, Reply, json_reply, route
from etlcore_sls.emulator.errors import ApiError, parameter_invalid
from etlcore_sls.emulator.logstore import Project
from etlcore_sls.emulator.spl import Query, SplError, parse

_KIND = "processor"
_PATH = "/consumeprocessors/{processor}"


def parse_query(text: str) -> Query:
    """Parse an SPL query. Raises ParameterInvalid."""
    try:
        return parse(text)
    except SplError as error:
        raise parameter_invalid(str(error)) from None


def processor_query(project: Project, name: str) -> Query:
    """The query of a named processor. Raises ConsumeProcessorNotExist."""
    return parse_query(_processor(project, name)["configuration"]["spl"])


def _processor(project: Project, name: str) -> dict[str, Any]:
    document = project.documents.get((_KIND, name))
    if document is None:
        raise ApiError(404, "ConsumeProcessorNotExist", f"consume processor {name} does not exist")
    return dict(document)


@route("put_processor", "PUT", _PATH)
def put_processor(call: Call) -> Reply:
    """Create or replace a processor; its query is checked."""
    project, name, document = call.service.project(call.project), call.names["processor"], call.json()
    configuration = call.field(document, "configuration", dict)
    if configuration.get("type") != "SPL":
        raise parameter_invalid("field configuration.type must be SPL")
    parse_query(call.field(configuration, "spl", str))
    now = int(call.service.now())
    created = project.documents.get((_KIND, name), {}).get("createTime", now)
    kept = {**document, "processorName": name, "createTime": created, "updateTime": now}
    project.documents[_KIND, name] = kept
    call.service.storage.save_document(call.project, (_KIND, name), kept)
    return Reply()


@route("get_processor", "GET", _PATH)
def get_processor(call: Call) -> Reply:
    return json_reply(_processor(call.service.project(call.project), call.names["processor"]))


@route("list_processors", "GET", "/consumeprocessors")
def list_processors(call: Call) -> Reply:
    documents = call.service.project(call.project).documents
    found = [document for (kind, _), document in sorted(documents.items()) if kind == _KIND]
    page = found[call.number("offset", 0) :][: call.number("size", 100)]
    return json_reply({"count": len(page), "total": len(found), "processors": page})


@route("delete_processor", "DELETE", _PATH)
def delete_processor(call: Call) -> Reply:
    project, name = call.service.project(call.project), call.names["processor"]
    _processor(project, name)
    del project.documents[_KIND, name]
    call.service.storage.delete_document(call.project, (_KIND, name))
    return Reply()
