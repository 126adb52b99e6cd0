"""A component's options in the words of a pipeline file, out of its `Config` model, which alone describes them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from etlcore.plugins.names import one_line

if TYPE_CHECKING:
    from pydantic import BaseModel

_WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "null"}
_LONGEST = 200  # characters of a default that are shown
_BOUNDS = (("exclusiveMinimum", "above"), ("minimum", "at least"), ("maximum", "at most"))


@dataclass(frozen=True, slots=True)
class Option:
    """One option."""

    name: str
    type: str
    """Like ``whole number (at least 1) or null``; values that are meant literally stand between backticks."""
    required: bool
    default: Any
    """The default as a JSON value; None where the option is required, too."""
    description: str

    @property
    def default_text(self) -> str:
        """The default as a pipeline file writes it; empty where the option is required."""
        text = "" if self.required else _written(self.default)
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\N{HORIZONTAL ELLIPSIS}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def names_of(model: type[BaseModel], field_name: str) -> dict[str, bool]:
    """The names by which a field may be given, and whether what stands there is the value: of an alias that is a path,
    the value is somewhere below it.
    """
    from pydantic import AliasChoices, AliasPath

    alias = model.model_fields[field_name].validation_alias
    config: Mapping[str, Any] = model.model_config
    if alias is None or config.get("validate_by_alias") is False:
        return {field_name: True}
    names: dict[str, bool] = {}
    for choice in alias.choices if isinstance(alias, AliasChoices) else [alias]:
        if isinstance(choice, AliasPath):
            names.setdefault(str(choice.path[0]), len(choice.path) == 1)
        else:
            names[choice] = True
    if config.get("validate_by_name") or config.get("populate_by_name"):
        names[field_name] = True
    return names


def options_of(model: type[BaseModel] | None) -> list[Option]:
    """The options of a component with that `Config`, in the order of its fields.

    Raises what pydantic raises for a model that is not whole: of a type that is not there, say.
    """
    if model is None:
        return []
    from pydantic import RootModel

    from etlcore.plugins.jsonschema import OptionSchema

    root = model.model_json_schema(mode="validation", schema_generator=OptionSchema)
    whole = _resolved(root, root)
    if issubclass(model, RootModel):  # it has no options by name
        return [_option("with", model, "root", whole, root)]
    properties = whole.get("properties", {})
    return [
        _option(name, model, field_name, properties.get(name, {}), root)
        for field_name in model.model_fields
        for name in list(names_of(model, field_name))[:1]
    ]


def _option(name: str, model: type[BaseModel], field_name: str, about: dict[str, Any], root: dict[str, Any]) -> Option:
    required = model.model_fields[field_name].is_required()
    return Option(
        name=name,
        type=" or ".join(dict.fromkeys(_types(about, root))),
        required=required,
        default=None if required else about["default"] if "default" in about else _default(model, field_name),
        description=one_line(about.get("description", "")),
    )


def _default(model: type[BaseModel], field_name: str) -> Any:
    """A default that the schema does not tell: a function makes it, or JSON has no word for it."""
    from pydantic_core import to_jsonable_python

    try:
        found = model.model_fields[field_name].get_default(call_default_factory=True)
    except Exception:  # noqa: BLE001 - the author's function, which may need the other options
        return "(computed)"
    try:
        jsonable = to_jsonable_python(found, fallback=str)
        json.dumps(jsonable, allow_nan=False)
    except ValueError:
        return str(found)
    return jsonable


def _resolved(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """What a reference refers to. A model that is within itself is one, even as a whole."""
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = root["$defs"][schema["$ref"].rpartition("/")[2].replace("~1", "/").replace("~0", "~")]
    return found


def _types(schema: dict[str, Any], root: dict[str, Any]) -> Iterator[str]:
    if "$ref" in schema:
        yield from _types(_resolved(schema, root), root)
    elif "anyOf" in schema or "oneOf" in schema:
        for branch in schema.get("anyOf") or schema["oneOf"]:
            yield from _types(branch, root)
    elif "allOf" in schema and len(schema["allOf"]) == 1:
        yield from _types(schema["allOf"][0], root)
    elif "enum" in schema:
        yield ", ".join(f"`{_written(value)}`" for value in schema["enum"])
    elif "const" in schema:
        yield f"`{_written(schema['const'])}`"
    elif schema.get("type") == "array":
        yield f"list of {' or '.join(dict.fromkeys(_types(schema.get('items', {}), root)))}"
    elif schema.get("type") == "object":
        yield "mapping"
    elif schema.get("format") == "password":
        yield "secret text"
    else:
        yield _WORDS.get(schema.get("type", ""), "anything") + _bounds(schema)


def _bounds(schema: dict[str, Any]) -> str:
    bounds = [
        f"{word} {schema[key]:,g}" if isinstance(schema[key], float) else f"{word} {schema[key]:,}"
        for key, word in _BOUNDS
        if key in schema
    ]
    return f" ({', '.join(bounds)})" if bounds else ""


def _written(value: Any, *, inside: bool = False) -> str:
    if isinstance(value, dict) and value:
        return "{" + ", ".join(f"{key}: {_written(item, inside=True)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_written(item, inside=True) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    if isinstance(value, float) and value.is_integer():
        return f"{value:g}"
    text = str(value)
    if not text.isprintable():
        return json.dumps(text, ensure_ascii=False)
    return f'"{text}"' if text == "" or (inside and set(text) & set("{}[],:#")) else text
