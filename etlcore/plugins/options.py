"""A component's options in the words of a pipeline file, out of its `Config` model, which alone describes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

_WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "null"}
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
        return "" if self.required else _written(self.default)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def options_of(model: type[BaseModel] | None) -> list[Option]:
    """The options of a component with that `Config`, in the order of its fields."""
    if model is None:
        return []
    schema = model.model_json_schema(mode="validation")
    required = schema.get("required", [])
    return [
        Option(
            name=name,
            type=" or ".join(dict.fromkeys(_types(prop, schema))),
            required=name in required,
            default=None if name in required else prop.get("default", _default(model, name)),
            description=" ".join(prop.get("description", "").split()),
        )
        for name, prop in schema.get("properties", {}).items()
    ]


def _default(model: type[BaseModel], name: str) -> Any:
    """A default that the schema does not tell, because a function makes it."""
    from pydantic_core import to_jsonable_python

    for field_name, field in model.model_fields.items():
        if name in (field_name, field.alias):
            return to_jsonable_python(field.get_default(call_default_factory=True), fallback=str)
    return None


def _types(schema: dict[str, Any], root: dict[str, Any]) -> Iterator[str]:
    if "$ref" in schema:
        yield from _types(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    elif "anyOf" in schema or "oneOf" in schema:
        for branch in schema.get("anyOf") or schema["oneOf"]:
            yield from _types(branch, root)
    elif "allOf" in schema and len(schema["allOf"]) == 1:
        yield from _types(schema["allOf"][0], root)
    elif "enum" in schema:
        yield ", ".join(f"`{value}`" for value in schema["enum"])
    elif "const" in schema:
        yield f"`{schema['const']}`"
    elif schema.get("type") == "array":
        yield f"list of {' or '.join(_types(schema.get('items', {}), root))}"
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
    return f'"{text}"' if text == "" or (inside and set(text) & set("{}[],:#")) else text
