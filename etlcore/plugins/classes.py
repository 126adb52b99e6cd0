"""From a target ``"package.module:Class"`` to the class behind it, checked against the plugin contract."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from etlcore.plugins.errors import BrokenPlugin, is_stop
from etlcore.plugins.records import Component

if TYPE_CHECKING:
    from etlcore.components import Sink, Source, Transform


def import_target(target: str, what: str) -> Any:
    """What ``target`` names. ``what`` says in messages whose target it is.

    Raises BrokenPlugin when the module cannot be imported or has no such name.
    """
    module_name, _, path = target.partition(":")
    try:
        found: Any = import_module(module_name)
    except BaseException as error:
        if is_stop(error):
            raise
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        foreign = missing and missing.partition(".")[0] != module_name.partition(".")[0]
        hint = f"a dependency is missing: pip install the distribution that has the module {missing}" if foreign else ""
        raise BrokenPlugin(
            f"{what} cannot be loaded: importing {module_name} raised {type(error).__name__}: {_brief(error)}", hint
        ) from error
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise BrokenPlugin(f"{what} cannot be loaded: {module_name} has no `{path}`") from error
        except BaseException as error:  # a module may define __getattr__, to import what is asked for
            if is_stop(error):
                raise
            raise BrokenPlugin(
                f"{what} cannot be loaded: {module_name}.{path} raised {type(error).__name__}: {_brief(error)}"
            ) from error
    return found


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def load_class(component: Component, by: str) -> type[Source] | type[Transform] | type[Sink]:
    """The class of a component of the distribution ``by``. Raises BrokenPlugin when it is not what it must be."""
    from etlcore import components

    what = f"{component.kind} `{component.name}` ({by})"
    found = import_target(component.target, what)
    base: type[Any] = {
        "source": components.Source,
        "transform": components.Transform,
        "sink": components.Sink,
    }[component.kind]
    name = base.__name__
    if not isinstance(found, type) or not issubclass(found, base):
        raise BrokenPlugin(
            f"{what} cannot be loaded: {component.target} is no subclass of {name}",
            f"its authors must write class {component.target.rpartition('.')[2].rpartition(':')[2]}({name})",
        )
    missing = _missing_method(found)
    if missing:
        raise BrokenPlugin(f"{what} cannot be loaded: {component.target} does not define {missing}()")
    _check_attributes(found, f"{what} cannot be loaded: {component.target}")
    _check_config(found, f"{what} cannot be loaded: {component.target}.Config")
    return cast("type[Source] | type[Transform] | type[Sink]", found)


def _missing_method(cls: type[Any]) -> str | None:
    """The method that the class must define and only inherits, or None."""
    from etlcore.components import RowTransform, Sink, Source, Transform

    for base, method, required in (
        (Source, "read", "read"),
        (RowTransform, "process", "map"),
        (Transform, "process", "process"),
        (Sink, "write", "write"),
    ):
        if issubclass(cls, base):
            inherited = getattr(cls, method) is getattr(base, method) and getattr(cls, required) is getattr(
                base, required
            )
            return required if inherited else None
    return None


def _check_attributes(found: Any, where: str) -> None:
    """What a class says of itself is read where nothing must fail: in listings, and while a run starts."""
    if not isinstance(found.example, str):
        raise BrokenPlugin(f"{where}.example is no text", "its authors must write a pipeline file there")
    outputs = getattr(found, "outputs", ())
    if not isinstance(outputs, tuple | list) or not all(isinstance(name, str) for name in outputs):
        raise BrokenPlugin(f"{where}.outputs is no tuple of names", 'its authors must write outputs = ("NAME",)')


def _check_config(found: Any, where: str) -> None:
    config = found.Config
    if config is None:
        return
    from pydantic import BaseModel

    if not isinstance(config, type) or not issubclass(config, BaseModel):
        raise BrokenPlugin(f"{where} is no pydantic model", "its authors must write class Config(BaseModel)")
