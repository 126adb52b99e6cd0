"""Components of the caller's own in a pipeline that is built in code: classes, functions, and lists of rows."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from etlcore.batch import Batch, Row
from etlcore.components import RowTransform, Sink, Source, Transform
from etlcore.plugins import Component, Plugins
from etlcore.plugins.records import Kind

_BASES: dict[Kind, type[Any]] = {"source": Source, "transform": Transform, "sink": Sink}
_ROWS = 1000  # in one batch of a list


class LocalPlugins(Plugins):
    """What is installed, and the components that were handed over in code."""

    def __init__(self) -> None:
        super().__init__()
        self._own: dict[str, tuple[Kind, type[Any]]] = {}

    def add(self, kind: Kind, given: Any) -> str:
        """The name by which a pipeline calls a class, a function, rows (for a source) or a list (for a sink).

        Raises TypeError for anything else.
        """
        cls = _class(kind, given)
        name = base = cls.__name__
        number = 1
        while name in self._own and self._own[name] != (kind, cls):
            number += 1
            name = f"{base}_{number}"
        self._own[name] = (kind, cls)
        return name

    def owns(self, name: str) -> bool:
        """Whether a component is the caller's own."""
        return name in self._own

    def resolve(self, name: str, kind: Kind) -> Component:
        if name in self._own and self._own[name][0] == kind:
            cls = self._own[name][1]
            return Component(name, kind, f"{__name__}:{cls.__name__}")
        return super().resolve(name, kind)

    def load(self, component: Component) -> type[Source] | type[Transform] | type[Sink]:
        if component.name in self._own:
            return self._own[component.name][1]
        return super().load(component)

    def distribution(self, name: str) -> str:
        return "this program" if name in self._own else super().distribution(name)


def _class(kind: Kind, given: Any) -> type[Any]:
    base = _BASES[kind]
    if isinstance(given, type):
        if not issubclass(given, base):
            raise TypeError(f"{given.__name__} is no {base.__name__}: a {kind} must be a subclass of it")
        return given
    if kind == "source" and not callable(given) and isinstance(given, Iterable):
        return _named(_Rows, "rows", {"rows": given})
    if kind == "sink" and isinstance(given, list):
        return _named(_Into, "list", {"rows": given})
    if callable(given):
        name = getattr(given, "__name__", type(given).__name__)
        parts = {"source": _Generator, "transform": _Function, "sink": _Taker}
        cls = _named(parts[kind], name if name.isidentifier() else "function", {"function": staticmethod(given)})
        cls.__doc__ = inspect.getdoc(given)
        return cls
    wanted = {"source": "rows, a generator function", "transform": "a function", "sink": "a list, a function"}[kind]
    raise TypeError(
        f"a {kind} is the name of a component, {wanted} or a subclass of {base.__name__}, not {given!r:.80}"
    )


def _named(base: type[Any], name: str, members: dict[str, Any]) -> type[Any]:
    return type(name, (base,), members)


class _Rows(Source):
    replayable = False
    rows: ClassVar[Iterable[Row]]

    def read(self) -> Iterator[Batch | None]:
        if isinstance(self.rows, Batch):
            yield self.rows.slice(0, len(self.rows))
            return
        waiting: list[Row] = []
        for row in self.rows:
            waiting.append(row)
            if len(waiting) == _ROWS:
                yield Batch.from_rows(waiting)
                waiting = []
        yield Batch.from_rows(waiting)


class _Generator(Source):
    replayable = False
    function: ClassVar[Any]
    """Called without arguments; yields rows, batches or None."""

    def read(self) -> Iterator[Batch | None]:
        for made in self.function():
            yield made if made is None or isinstance(made, Batch) else Batch.from_rows([made])


class _Function(RowTransform):
    function: ClassVar[Any]
    """From a row to a row, several or None."""

    def map(self, row: Row) -> Row | Iterable[Row] | None:
        made: Row | Iterable[Row] | None = self.function(row)
        return made


class _Into(Sink):
    rows: ClassVar[list[Row]]

    def write(self, batch: Batch) -> None:
        self.rows.extend(batch.rows)


class _Taker(Sink):
    function: ClassVar[Any]
    """Takes a list of rows."""

    def write(self, batch: Batch) -> None:
        self.function(batch.rows)
