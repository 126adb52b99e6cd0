"""A JSON Schema (draft 7) of pipeline files, for editors: the keys, and the options of the components installed here.

It is as strict as `load` where a schema can be, and never stricter: a number may be ``${NAME}``, a text may be written
without quotes, a duration may be ``30s``. Names that only the file itself knows (``from:``) are beyond a schema.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from etlcore.plugins import Component, PluginError, Plugins
from etlcore.plugins.names import one_line
from etlcore.plugins.records import KINDS, Kind
from etlcore.spec import schema_options, schema_tests

Schema = dict[str, Any]

_ABOUT: dict[str, str] = {
    "name": "The pipeline's name: positions are kept under it. The file's, without its suffix, where it is left out.",
    "description": "For people; nothing reads it.",
    "stages": "The stages by name. A stage takes what the one above it gives, unless `from` says otherwise.",
    "defaults": "What holds for every stage that does not say otherwise.",
    "plugins": "Plugins that no stage names, loaded for their hooks; and plugins in files beside this one, ./FILE.py.",
    "requires": "Distributions in versions that the pipeline was written for, as for pip: etlcore-sls>=0.1.",
    "shutdown": "How long a stop may take.",
    "commit": "How often positions are committed.",
    "tests": "What is given to some stages and what must come out of others, by the test's name; for etl test.",
    "with": "The component's options.",
    "from": "The stage or stages that it takes its rows from: NAME, or NAME.OUTPUT for a named output.",
    "workers": "How many instances of the component work side by side.",
    "queue": "The bounds of the stage's input channel: rows, or {rows, bytes}.",
    "batch": "How much a worker takes at once: rows, or {rows, bytes, seconds}.",
    "ordered": "Batches leave in the order in which they came, whichever worker took them.",
    "key": "A column: rows with the same value in it go to the same worker, in order.",
    "on_error": "What becomes of rows whose stage raises an exception.",
}

NAME = r"^[A-Za-z0-9_\u00a1-\uffff][A-Za-z0-9_\u00a1-\uffff .-]{0,99}$"
"""As the reader's own, in the patterns that JSON Schema has; a ``${…}`` is a `filled`."""
_BARE: list[Schema] = [{"type": ["number", "boolean"]}, {"$ref": "#/definitions/filled"}]
_FILE: Schema = {"type": "string", "pattern": r"\.py$"}
_OF_AN_INPUT = ("queue", "batch", "ordered", "key", "from", "on_error")


def json_schema(plugins: Plugins, warn: Callable[[str], None]) -> Schema:
    """The schema of exactly the plugins that are installed. A plugin that is broken is a warning, and left out."""
    components = [component for component, _ in plugins.components(warn)]
    definitions: dict[str, Schema] = {**schema_options.DEFINITIONS, **schema_tests.DEFINITIONS, **_flow()}
    stage = _stage(components, definitions, plugins, warn)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A pipeline of etlcore",
        "type": "object",
        "required": ["stages"],
        "additionalProperties": False,
        "patternProperties": {"^x-": {"description": "Anchors for other keys' use; nothing reads it."}},
        "properties": {
            "name": _about("name", {"anyOf": [{"type": "string", "pattern": NAME}, *_BARE]}),
            "description": _about("description", _ref("text")),
            "stages": _about(
                "stages",
                {
                    "type": "object",
                    "minProperties": 1,
                    "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_-]*$"},
                    "additionalProperties": _ref("stage"),
                },
            ),
            "defaults": _about("defaults", _object({name: _ref(name) for name in ("workers", "queue", "batch")})),
            "requires": _about("requires", {"type": "array", "items": _ref("text")}),
            "plugins": _about(
                "plugins", {"type": "array", "items": {"anyOf": [{"enum": plugins.names()}, _FILE, _ref("filled")]}}
            ),
            "shutdown": _about("shutdown", _object({"timeout": _ref("duration")})),
            "commit": _about("commit", _object({"interval": _ref("duration")})),
            "tests": _about("tests", schema_tests.TESTS),
        },
        "definitions": {**definitions, "stage": stage},
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name}"}


def _about(key: str, schema: Schema) -> Schema:
    # In draft 7 what stands beside a $ref is ignored.
    body: Schema = {"allOf": [schema]} if "$ref" in schema else schema
    return {"description": _ABOUT[key], **body}


def _object(properties: dict[str, Schema], required: tuple[str, ...] = ()) -> Schema:
    found: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**found, "required": list(required)} if required else found


def _flow() -> dict[str, Schema]:
    """The keys that are the same for every component."""
    whole, size, duration = _ref("positive"), _ref("size"), _ref("duration")
    policy: Schema = {"anyOf": [{"enum": ["stop", "drop", "dead_letter"]}, _ref("filled")]}
    return {
        "workers": whole,
        "queue": {"anyOf": [whole, _object({"rows": whole, "bytes": size})]},
        "batch": {
            "anyOf": [
                whole,
                {
                    **_object({"rows": whole, "bytes": size, "seconds": duration}),
                    "dependencies": {"seconds": {"anyOf": [{"required": ["rows"]}, {"required": ["bytes"]}]}},
                },
            ]
        },
        "on_error": {
            "anyOf": [
                policy,
                _object(
                    {
                        "then": policy,
                        "retries": _ref("natural"),
                        "wait": duration,
                        "longest_wait": duration,
                        "breaker": {"anyOf": [whole, {"enum": ["off", False]}]},
                    }
                ),
            ]
        },
    }


def _stage(
    components: list[Component], definitions: dict[str, Schema], plugins: Plugins, warn: Callable[[str], None]
) -> Schema:
    conditions = [
        {
            "if": {"required": [kind]},
            "then": {"not": {"anyOf": [{"required": [other]} for other in KINDS if other != kind]}},
        }
        for kind in KINDS
    ]
    conditions.append(
        {"if": {"required": ["source"]}, "then": {"properties": {key: _refused(key) for key in _OF_AN_INPUT}}}
    )
    for component in components:
        conditions.extend(_component(component, definitions, plugins, warn))
    properties: dict[str, Schema] = {kind: _names(kind, components) for kind in KINDS}
    properties |= {
        "with": {"description": _ABOUT["with"]},
        "from": _about("from", {"anyOf": [_ref("text"), {"type": "array", "minItems": 1, "items": _ref("text")}]}),
        "ordered": _about("ordered", _ref("truth")),
        "key": _about("key", _ref("text")),
        "description": _about("description", _ref("text")),
    }
    properties |= {key: _about(key, _ref(key)) for key in ("workers", "queue", "batch", "on_error")}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "anyOf": [{"required": [kind]} for kind in KINDS],
        "allOf": conditions,
    }


def _refused(key: str) -> Schema:
    return {"not": {}, "description": f"`{key}` is about a stage's input; a source has none."}


def _names(kind: Kind, components: list[Component]) -> Schema:
    """The names that may stand there, each with what it is."""
    named = [
        {"const": component.name, "description": component.summary}
        for component in components
        if component.kind == kind
    ]
    article = {"source": "Where rows come from", "transform": "What becomes of rows", "sink": "Where rows go"}
    return {"description": f"{article[kind]}: a component.", "anyOf": [*named, _ref("filled")]}


def _component(
    component: Component, definitions: dict[str, Schema], plugins: Plugins, warn: Callable[[str], None]
) -> Iterator[Schema]:
    """The conditions that a stage of that component is under."""
    try:
        cls = plugins.load(plugins.resolve(component.name, component.kind))
        key = f"{component.kind} {component.name}".replace("/", "-")
        found = schema_options.of_model(cls.Config, f"#/definitions/{key}")
        json.dumps(found, allow_nan=False)  # authors may put anything into json_schema_extra
        definitions[key] = found
    except PluginError as error:
        warn(error.message)
        return
    except Exception as error:  # noqa: BLE001 - the author's types; the others' options are known all the same
        warn(f"the options of `{component.name}` have no schema: {type(error).__name__}: {one_line(str(error)):.200}")
        return
    then: Schema = {"properties": {"with": {"allOf": [_ref(key.replace(" ", "%20"))]}}}
    if definitions[key].get("required"):
        then["required"] = ["with"]
    if getattr(cls, "transactional", False):
        then["properties"]["workers"] = {"anyOf": [{"const": 1}, _ref("filled")]}
    if getattr(cls, "buffers", False):
        then["properties"]["on_error"] = _refused("on_error")
    yield {
        "if": {"required": [component.kind], "properties": {component.kind: {"const": component.name}}},
        "then": then,
    }
