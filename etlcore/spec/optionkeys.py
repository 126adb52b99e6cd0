"""Option keys that a component's model does not know, also in models below it.

pydantic ignores unknown keys unless told otherwise; in a file they are mistakes.
"""

from __future__ import annotations

import types
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from etlcore.plugins.options import names_of
from etlcore.spec.document import Path

if TYPE_CHECKING:
    from pydantic import BaseModel


def unknown_options(model: type[BaseModel], given: Any, path: Path) -> Iterator[tuple[Path, list[str]]]:
    """The path of each unknown key, and the keys that are allowed there."""
    from pydantic import RootModel

    if issubclass(model, RootModel):
        yield from _below(model.model_fields["root"].annotation, given, path)
        return
    if not isinstance(given, dict):
        return  # pydantic complains
    fields = {name: field for field in model.model_fields for name in option_names(model, field)}
    for key, value in given.items():
        if key in fields:
            yield from _below(model.model_fields[fields[key]].annotation, value, (*path, key))
        elif model.model_config.get("extra") != "allow":
            yield (*path, key), list(fields)


def option_names(model: type[BaseModel], field_name: str) -> list[str]:
    """The names by which a field may be given: its aliases, and its own name where that is allowed."""
    return list(names_of(model, field_name))


def secret_options(model: type[BaseModel]) -> set[str]:
    """The keys of options that are typed as secret, also in models below it."""
    found: set[str] = set()
    _add_secret_options(model, found, set())
    return found


def _add_secret_options(model: type[BaseModel], found: set[str], seen: set[type[BaseModel]]) -> None:
    from pydantic import BaseModel, SecretBytes, SecretStr

    def secret(annotation: Any) -> bool:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in seen:
            _add_secret_options(annotation, found, seen)
        below = [secret(part) for part in get_args(annotation)]  # all of them are looked into
        return annotation in (SecretStr, SecretBytes) or any(below)

    seen.add(model)
    for name, field in model.model_fields.items():
        if secret(field.annotation):
            found.update(option_names(model, name))


def _below(annotation: Any, value: Any, path: Path) -> Iterator[tuple[Path, list[str]]]:
    """Unknown keys in the models that an annotation holds: ``Model``, ``Model | None``, ``list[Model]`` and so on."""
    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from unknown_options(annotation, value, path)
        return
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _below(arguments[0], value, path)
    elif origin in (Union, types.UnionType):
        yield from _in_union(arguments, value, path)
    elif isinstance(value, list) and arguments:
        for index, item in enumerate(value):
            yield from _below(arguments[0], item, (*path, index))
    elif isinstance(value, dict) and len(arguments) == 2:
        for key, item in value.items():
            yield from _below(arguments[1], item, (*path, key))


def _in_union(arguments: tuple[Any, ...], value: Any, path: Path) -> Iterator[tuple[Path, list[str]]]:
    """A key is unknown when every branch that the value may be meant for says so."""
    fitting = [argument for argument in arguments if _may_hold(argument, value)]
    found = [dict(_below(argument, value, path)) for argument in fitting]
    if not found:
        return
    for wrong, names in found[0].items():
        if all(wrong in other for other in found[1:]):
            every = {name: None for other in found for name in other[wrong]}
            yield wrong, list(every or names)


def _may_hold(annotation: Any, value: Any) -> bool:
    """Whether a value of this shape can be meant for this branch of a union."""
    if get_origin(annotation) is Annotated:
        return _may_hold(get_args(annotation)[0], value)
    from pydantic import BaseModel

    shape = get_origin(annotation) or annotation
    if shape in (Union, types.UnionType):
        return any(_may_hold(argument, value) for argument in get_args(annotation))
    if not isinstance(shape, type):
        return True
    if issubclass(shape, BaseModel | Mapping):
        return isinstance(value, dict)
    if issubclass(shape, Collection) and not issubclass(shape, str | bytes):
        return isinstance(value, list)
    return shape is object or not isinstance(value, dict | list)
