"""JSON Schemas of option models, whatever their authors have put into them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticSerializationError

from etlcore.plugins.options import names_of

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import core_schema

_SECRET = "**********"  # as pydantic shows one


class OptionSchema(GenerateJsonSchema):
    """pydantic's, but a type without a schema may be anything, and an option is there under all of its names.

    In pydantic's own, a model with one such type has no schema at all, and an option has one name, which may not even
    be one that it can be given by. A secret is no default that is shown, however it is written down.
    """

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> JsonSchemaValue:
        return {}

    def emit_warning(self, kind: Any, detail: str) -> None:
        """A default that JSON cannot hold is left out: nobody who reads the schema could do anything about it."""

    def encode_default(self, dft: Any) -> Any:
        encoded = super().encode_default(dft)
        try:
            json.dumps(encoded, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise PydanticSerializationError(str(error)) from error
        return encoded

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        found = super().default_schema(schema)
        if found.get("default") and _is_secret(found):
            found["default"] = _SECRET
        return found

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        found = super().model_schema(schema)
        if "properties" in found:
            _name_all(schema["cls"], found)
        return found


class ReaderSchema(OptionSchema):
    """Never stricter than validation: what a validator of the author's own sees first may be anything."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        return _or_anything(super().function_before_schema(schema), schema)

    def function_wrap_schema(self, schema: core_schema.WrapValidatorFunctionSchema) -> JsonSchemaValue:
        return _or_anything(super().function_wrap_schema(schema), schema)

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        found = super().model_schema(schema)
        validators = schema["cls"].__pydantic_decorators__.model_validators.values()
        if any(validator.info.mode in ("before", "wrap") for validator in validators):
            found.pop("required", None)  # it may put in what is missing
        return found


def _or_anything(found: JsonSchemaValue, schema: Any) -> JsonSchemaValue:
    if "json_schema_input_schema" in schema or schema["schema"]["type"] in ("model", "model-fields"):
        return found
    return {"anyOf": [found, {}]}  # the first is what editors propose


def _is_secret(schema: JsonSchemaValue) -> bool:
    return schema.get("format") == "password" or any(_is_secret(branch) for branch in schema.get("anyOf", ()))


def _name_all(model: type[BaseModel], found: JsonSchemaValue) -> None:
    """Have each option under all of its names; one with several cannot be required under any."""
    for field_name, field in model.model_fields.items():
        names = names_of(model, field_name)
        known = next((name for name in (*names, field.alias, field_name) if name in found["properties"]), None)
        if known is None:
            continue
        about = found["properties"].pop(known)
        required = [name for name in found.pop("required", ()) if name != known]
        if len(names) == 1 and field.is_required():
            required.append(*names)
        if required:
            found["required"] = required
        found["properties"] |= {name: about if whole else {} for name, whole in names.items()}
