"""What a plugin's source text says that it offers: its records, read without importing anything.

Most plugins write their records as plain calls, ``Component("acme.count", kind="source", …)``. What is computed
instead cannot be read so; then the reading says that it is not complete.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path

from etlcore.plugins.records import Command, Component, SecretScheme

Record = Component | Command | SecretScheme

_TOO_DEEP = (RecursionError, MemoryError)
"""What Python's parser raises for a text that is nested beyond its limits."""
_HOOKS = ("etl_components", "etl_commands", "etl_secret_schemes")
_RECORDS: dict[str, type[Record]] = {kind.__name__: kind for kind in (Component, Command, SecretScheme)}


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found in a module's text."""

    records: tuple[Record, ...] = ()
    complete: bool = True
    """Whether all records could be read; False where some are computed, or the text cannot be had."""
    missing: bool = False
    """There is no such module."""


def read(module: str) -> Reading:
    """The records that the module's text holds. ``module`` is the value of an entry point, without its attribute."""
    try:
        spec = _find(module)
    except (ImportError, ValueError, AttributeError):
        spec = None
    if spec is None:
        return Reading(complete=False, missing=True)
    if not spec.origin or not spec.origin.endswith(".py"):
        return Reading(complete=False)
    try:
        tree = ast.parse(_text(spec, spec.origin))
    except (OSError, SyntaxError, ValueError, *_TOO_DEEP):
        return Reading(complete=False)
    return _records(tree)


def _find(module: str) -> ModuleSpec | None:
    """A module's spec; its packages are looked through, not imported."""
    first, *rest = module.split(".")
    spec = find_spec(first)
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        # By its last part alone: for the whole name a namespace package would look for its parent among the imported.
        spec = PathFinder.find_spec(part, list(spec.submodule_search_locations))
    return spec


def _text(spec: ModuleSpec, file: str) -> bytes:
    """The source text, which may be in an archive. Raises OSError."""
    get_data = getattr(spec.loader, "get_data", None)
    return Path(file).read_bytes() if get_data is None else bytes(get_data(file))


def _records(tree: ast.Module) -> Reading:
    found: list[Record] = []
    complete = not any(_is_elsewhere(node, tree) for node in ast.walk(tree))
    for function in tree.body:
        if not isinstance(function, ast.FunctionDef) or function.name not in _HOOKS:
            continue
        for statement in function.body:
            calls = _offered(statement)
            records = None if calls is None else [_record(call) for call in calls]
            found.extend(record for record in records or () if record is not None)
            complete = complete and records is not None and None not in records
    return Reading(tuple(found), complete)


def _is_elsewhere(node: ast.AST, tree: ast.Module) -> bool:
    """Whether a hook comes from here that is no plain function of the module: imported, assigned, in a class."""
    match node:
        case ast.FunctionDef():
            return node.name in _HOOKS and node not in tree.body
        case ast.AsyncFunctionDef():
            return node.name in _HOOKS
        case ast.alias():
            return (node.asname or node.name) in (*_HOOKS, "*")
        case ast.Name(ctx=ast.Store()):
            return node.id in _HOOKS
        case ast.keyword(arg="specname"):
            return True
    return False


def _offered(statement: ast.stmt) -> list[ast.expr] | None:
    """What a statement of a hook yields or returns; None where the text does not show it."""
    if isinstance(statement, ast.Return) and isinstance(statement.value, ast.List | ast.Tuple):
        return statement.value.elts
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Yield) and statement.value.value:
        return [statement.value.value]
    docstring = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return [] if docstring else None


def _record(call: ast.expr) -> Record | None:
    """The record that a call makes of constants alone; None for anything else."""
    if not isinstance(call, ast.Call):
        return None
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    kind = _RECORDS.get(name)
    if kind is None or any(keyword.arg is None for keyword in call.keywords):
        return None
    try:
        arguments = [ast.literal_eval(argument) for argument in call.args]
        return kind(*arguments, **{str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords})
    except (ValueError, TypeError, *_TOO_DEEP):
        return None
