"""The schema of a component's options: pydantic's, made as lenient as the reader of pipeline files is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

Schema = dict[str, Any]

_FILLED = r"\$\{"
_GROUPED = r"^[-+]?[1-9][0-9]{0,2}(_[0-9]{3})+$"
_DURATION = r"^\s*[0-9]+(\.[0-9]+)?( ?(ms|s|m|h|d)( ?[0-9]+(\.[0-9]+)? ?(ms|s|m|h|d))*)?\s*$"
_SIZE = r"^\s*[0-9]+(\.[0-9]+)? ?([Bb]|[kKmMgGtT][iI]?[bB])?\s*$"
_TRUTH = r"^([Yy][Ee][Ss]|[Nn][Oo]|[Oo][Nn]|[Oo][Ff][Ff])$"

_filled: Schema = {"type": "string", "pattern": _FILLED}
_grouped: Schema = {"type": "string", "pattern": _GROUPED}

DEFINITIONS: dict[str, Schema] = {
    "filled": {**_filled, "description": "Filled in when the file is read: ${NAME}, ${NAME:-default}, ${file:path}."},
    "text": {"type": ["string", "number", "boolean"], "minLength": 1},
    "truth": {"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": _TRUTH}, _filled]},
    "natural": {"anyOf": [{"type": "integer", "minimum": 0}, _grouped, _filled]},
    "positive": {"anyOf": [{"type": "integer", "minimum": 1}, _grouped, _filled]},
    "duration": {
        "description": "Seconds, or like 500ms, 30s, 5m, 1h30m.",
        "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": _DURATION}, _grouped, _filled],
    },
    "size": {
        "description": "Bytes, or like 64KiB, 64MiB (times 1024), 10MB (times 1000).",
        "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": _SIZE}, _grouped, _filled],
    },
}
"""What the keys of a stage refer to."""

_BESIDE = ("title", "description", "default", "examples", "deprecated")


def of_model(model: type[BaseModel] | None, here: str) -> Schema:
    """What may stand below ``with:``. ``here`` is where the schema will be, for references within it.

    Raises what pydantic raises for a type that has no JSON Schema.
    """
    if model is None:
        return {"anyOf": [{"type": "null"}, {"type": "object", "maxProperties": 0}]}
    from etlcore.plugins.jsonschema import ReaderSchema

    encoded = here.replace(" ", "%20")
    whole = model.model_json_schema(
        mode="validation", ref_template=f"{encoded}/definitions/{{model}}", schema_generator=ReaderSchema
    )
    nested = whole.pop("$defs", {})
    if "$ref" in whole:  # a model that is within itself
        whole = nested[whole["$ref"].rpartition("/")[2]]
    found: Schema = _lenient(whole)
    if not found.get("required"):  # then `with:` may be empty
        found["type"] = ["object", "null"]
    if nested:
        found["definitions"] = {name: _lenient(schema) for name, schema in nested.items()}
    return found


def _lenient(schema: Any) -> Any:
    """The schema with every scalar as a file may write it."""
    if not isinstance(schema, dict):
        return schema
    about = {key: schema[key] for key in _BESIDE if key in schema and key != "title"}
    body = {key: value for key, value in schema.items() if key not in _BESIDE and key != "format"}
    if "$ref" in body:
        return {**about, "allOf": [{"$ref": body["$ref"]}]}
    for key in ("anyOf", "oneOf", "allOf"):
        if key in body:
            branches = [_lenient(branch) for branch in body.pop(key)]
            # A value that is one branch's may be another's too, now that both are lenient.
            return {**about, **body, "allOf" if key == "allOf" else "anyOf": branches}
    if "enum" in body or "const" in body:
        allowed = body["enum"] if "enum" in body else [body["const"]]
        return {**about, "anyOf": [{"enum": [*allowed, *_unquoted(allowed)]}, _filled]}
    return {**about, **_by_type(body, schema.get("format"))}


def _by_type(body: Schema, form: str | None) -> Schema:
    match body.get("type"):
        case "object":
            return _object(body)
        case "array":
            return {**body, "items": _lenient(body.get("items", True))}
        case "string" if form == "duration":
            return dict(DEFINITIONS["duration"])
        case "string":
            return _text(body)
        case "integer" | "number":
            return {"anyOf": [body, _grouped, _filled]}
        case "boolean":
            return dict(DEFINITIONS["truth"])
    return body


def _object(body: Schema) -> Schema:
    found = dict(body)
    if "properties" in body:
        found["properties"] = {name: _lenient(option) for name, option in body["properties"].items()}
        found.setdefault("additionalProperties", False)  # unknown options are refused, whatever the model says
    if isinstance(found.get("additionalProperties"), dict):
        found["additionalProperties"] = _lenient(found["additionalProperties"])
    return found


def _text(body: Schema) -> Schema:
    """Text: an unquoted number or truth value stands for what is written, and ``${…}`` for anything."""
    bare: Schema = {"type": ["number", "boolean"]}
    narrow = set(body) - {"type"}
    return {"anyOf": [body, bare, _filled]} if narrow else {"type": ["string", "number", "boolean"]}


def _unquoted(texts: list[Any]) -> Iterator[Any]:
    """What is in the file where such a text stands without quotes: ``1.10`` reads as a number."""
    for text in texts:
        try:
            number = float(text) if isinstance(text, str) else None
        except ValueError:
            continue
        if number is not None:
            yield number
