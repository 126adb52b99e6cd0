"""Finding the function that an option names: ``module:function``, or ``file.py:function`` beside the pipeline."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from etlcore.components import Context

_lock = threading.RLock()


class FunctionError(Exception):
    """The function cannot be had; the text names it, says why, and what to do."""


def split(call: str) -> tuple[str, str]:
    """``(module or file, function)`` of a well-formed ``call``; else raises ValueError."""
    where, colon, name = call.rpartition(":")
    if not colon or not where or not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(f"{call!r} does not name a function: write module:function, or file.py:function")
    if not is_file(where) and not all(part.isidentifier() for part in where.split(".")):
        raise ValueError(f"{where!r} is neither a module nor a .py file: write module:function, or file.py:function")
    return where, name


def is_file(where: str) -> bool:
    """Whether the first part of a ``call`` names a file."""
    return where.endswith(".py")


def check(call: str, directory: Path) -> None:
    """Look for the function without running anything of it.

    Raises ValueError when its file is missing, is no Python, or has no such name. A module is looked for when the
    pipeline starts, as even looking may run code of its package.
    """
    where, name = split(call)
    if not is_file(where):
        return
    file = directory / where
    try:
        tree = ast.parse(_source(file), str(file))
    except FunctionError as error:
        raise ValueError(str(error)) from None
    except SyntaxError as error:
        raise ValueError(f"{file}:{error.lineno}: {error.msg}") from None
    names = _names(tree)
    if names is not None and name.partition(".")[0] not in names:
        raise ValueError(_missing(name, str(file), sorted(names)))


def find(call: str, context: Context) -> Callable[..., Any]:
    """The function. Its module is loaded once a process. Raises FunctionError."""
    where, name = split(call)
    try:
        module = _load(context.directory / where) if is_file(where) else _import(where, context.directory)
    except FunctionError:
        raise
    except SyntaxError as error:
        raise FunctionError(f"cannot load {where}: {error.filename}:{error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        raise FunctionError(f"cannot load {where}: {type(error).__name__}: {error}") from error
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise FunctionError(_missing(name, where, [n for n, v in vars(module).items() if callable(v)]))
    if not callable(found):
        raise FunctionError(f"{call} is not a function but {type(found).__name__}: name a function")
    if inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found):
        raise FunctionError(f"{call} is asynchronous: name a plain function")
    function: Callable[..., Any] = found
    return function


def bind(function: Callable[..., Any], arguments: int, options: Mapping[str, Any], context: Context) -> partial[Any]:
    """The function with its options filled in, and the context where it has a parameter of that name.

    ``arguments`` is how many it is called with besides. Raises FunctionError when they do not fit.
    """
    keywords = dict(options)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-in functions have none
        return partial(function, **keywords)
    parameter = signature.parameters.get("context")
    if parameter is not None and parameter.kind is not parameter.POSITIONAL_ONLY and "context" not in keywords:
        keywords["context"] = context
    try:
        signature.bind(*[None] * arguments, **keywords)
    except TypeError as error:
        name = getattr(function, "__qualname__", repr(function))
        raise FunctionError(
            f"{name}{signature} cannot be called with {'a row or batch' if arguments else 'no argument'} and "
            f"the options {', '.join(sorted(options)) or '(none)'}: {error}"
        ) from None
    return partial(function, **keywords)


def _import(where: str, directory: Path) -> ModuleType:
    with _lock:
        try:
            return importlib.import_module(where)
        except ModuleNotFoundError as error:
            if error.name is None or not (where + ".").startswith(error.name + "."):
                raise
    beside = Path(*where.split(".")).with_suffix(".py")
    if (directory / beside).is_file():
        step = f"for the file beside the pipeline, write {beside}:…"
    else:
        step = f"install it, or write {beside}:… for a file beside the pipeline"
    raise FunctionError(f"there is no module {where}: {step}")


def _load(file: Path) -> ModuleType:
    """The module in a file, under a name of its own, so that it cannot stand in for another module.

    It may import the files beside it, by their plain names or relatively (``from . import other``).
    """
    file = file.resolve()
    source = _source(file)
    digest = hashlib.sha256(str(file.parent).encode("utf-8", "surrogateescape")).hexdigest()[:12]
    version = hashlib.sha256(source).hexdigest()[:12]
    package = f"etlcore_beside_{digest}"
    name = f"{package}.{file.stem}_{version}"
    with _lock:
        if name in sys.modules:
            return sys.modules[name]
        _siblings.add(file.parent)
        if package not in sys.modules:
            sys.modules[package] = _package(package, file.parent)
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module


def _package(name: str, directory: Path) -> ModuleType:
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(directory)]
    return importlib.util.module_from_spec(spec)


class _Siblings:
    """Finds modules beside the loaded files, once nothing else has a module of that name.

    An entry of ``sys.path`` would do too, but every other import of the process would see it, and before the
    standard library if it came first.
    """

    def __init__(self) -> None:
        self._directories: list[str] = []

    def add(self, directory: Path) -> None:
        if str(directory) not in self._directories:
            self._directories.append(str(directory))
        if self not in sys.meta_path:
            sys.meta_path.append(self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return PathFinder.find_spec(name, self._directories) if path is None else None


_siblings = _Siblings()


def _source(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise FunctionError(
            f"there is no file {file}: check the path, which is relative to the pipeline file"
        ) from None
    except OSError as error:
        raise FunctionError(f"cannot read {file}: {error.strerror or error}") from None


def _names(tree: ast.Module) -> set[str] | None:
    """The names that a module's top level binds; None where that cannot be told from its text."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            if any(alias.name == "*" for alias in node.names):
                return None
            names.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return None if "__getattr__" in names else names


def _missing(name: str, where: str, names: Sequence[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, names, n=1)
    return f"there is no {name} in {where}" + (f": did you mean {close[0]}?" if close else ": check the name")
