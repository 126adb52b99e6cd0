"""Components of the caller's own in a pipeline that is built in code: classes, functions, and lists of rows."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from etlcore.batch import Batch, Row
from etlcore.components import Context, RowTransform, Sink, Source, Transform
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
        while name in self.names() or (name in self._own and self._own[name] != (kind, cls)):
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
    if kind == "source" and not callable(given) and _may_be_rows(given):
        return _named(_Rows, "rows", {"rows": given})
    if kind == "sink" and isinstance(given, list):
        return _named(_Into, "list", {"rows": given})
    if callable(given):
        name = str(getattr(given, "__name__", type(given).__name__))
        _check_callable(kind, name, given)
        parts = {"source": _Generator, "transform": _Function, "sink": _Taker}
        cls = _named(parts[kind], name if name.isidentifier() else "function", {"function": staticmethod(given)})
        cls.__doc__ = inspect.getdoc(given)
        return cls
    wanted = {"source": "rows, a generator function", "transform": "a function", "sink": "a list, a function"}[kind]
    raise TypeError(
        f"a {kind} is the name of a component, {wanted} or a subclass of {base.__name__}, not {given!r:.80}"
    )


def _may_be_rows(given: Any) -> bool:
    if isinstance(given, Mapping | str | bytes):
        return False
    return isinstance(given, Iterable) or as_batches(given) is not None


def _check_callable(kind: Kind, name: str, function: Any) -> None:
    """Refuse a function that cannot do its part before anything is read. Raises TypeError."""
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{name} is asynchronous: a {kind} is a plain function, which may call asyncio.run")
    given = {"source": [], "transform": ["a row"], "sink": ["a list of rows"]}[kind]
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return  # of some that are written in C nothing is known
    try:
        signature.bind(*given)
    except TypeError as error:
        raise TypeError(
            f"{name}{signature} cannot be a {kind}: it is called with {given[0] if given else 'nothing'} ({error})"
        ) from None


def as_batches(made: Any) -> list[Batch] | None:
    """A batch, a list of dicts, a pyarrow RecordBatch or Table as batches; None for anything else."""
    from etlcore.builtin.python_batches import as_batch

    return as_batch(made)


def _batches(made: Any, who: str) -> list[Batch]:
    """The same, and a row. Raises TypeError for anything else."""
    found = [Batch.from_rows([made])] if isinstance(made, dict) else as_batches(made)
    if found is None:
        raise TypeError(
            f"{who} gave {type(made).__name__}: a row is a dict; lists of dicts, batches and pyarrow tables will do"
        )
    return found


def _check_alone(stage: str, workers: int) -> None:
    if workers > 1:
        raise ValueError(f"{workers} workers of {stage} would each give all the rows: set workers=1")


def _named(base: type[Any], name: str, members: dict[str, Any]) -> type[Any]:
    return type(name, (base,), members)


class _Rows(Source):
    replayable = False
    rows: ClassVar[Any]
    used: ClassVar[bool] = False
    """An iterator gives its rows once."""

    def open(self, context: Context) -> None:
        _check_alone(context.stage, context.workers)
        if isinstance(self.rows, Iterator):
            if type(self).used:
                raise ValueError("its rows were an iterator, which is used up: give a list, or a function that yields")
            type(self).used = True

    def read(self) -> Iterator[Batch | None]:
        whole = None if isinstance(self.rows, list) else as_batches(self.rows)
        if whole is not None:
            yield from (batch.slice(0, len(batch)) for batch in whole)  # without positions
            return
        waiting: list[Row] = []
        for item in self.rows:
            if isinstance(item, dict):
                waiting.append(item)
                if len(waiting) < _ROWS:
                    continue
            if waiting:
                yield Batch.from_rows(waiting)
                waiting = []
            if not isinstance(item, dict):
                yield from _batches(item, "the rows")
        yield Batch.from_rows(waiting)


class _Generator(Source):
    replayable = False
    function: ClassVar[Any]
    """Called without arguments; yields rows, batches or None."""

    def open(self, context: Context) -> None:
        _check_alone(context.stage, context.workers)

    def read(self) -> Iterator[Batch | None]:
        for made in self.function():
            if made is None:
                yield None
            else:
                yield from _batches(made, type(self).__name__)


class _Function(RowTransform):
    function: ClassVar[Any]
    """From a row to a row, several or None."""

    def map(self, row: Row) -> Row | Iterable[Row] | None:
        made = self.function(row)
        if made is None or isinstance(made, dict):
            return made
        if isinstance(made, str | bytes) or not isinstance(made, Iterable):
            raise TypeError(f"{type(self).__name__} returned {type(made).__name__}: return a dict, several, or None")
        rows = list(made)
        wrong = next((row for row in rows if not isinstance(row, dict)), None)
        if wrong is not None:
            raise TypeError(f"{type(self).__name__} returned {type(wrong).__name__} among its rows: return dicts")
        return rows


class _Into(Sink):
    rows: ClassVar[list[Row]]

    def write(self, batch: Batch) -> None:
        self.rows.extend(batch.rows)


class _Taker(Sink):
    function: ClassVar[Any]
    """Takes a list of rows."""

    def write(self, batch: Batch) -> None:
        self.function(batch.rows)
