"""The transform that takes request URIs apart."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from etlcore.batch import Batch, Row
from etlcore.builtin.columns import column_of, put, values_of, without
from etlcore.builtin.options import Options
from etlcore.builtin.uri import Malformed, Parameters, parse
from etlcore.builtin.uri_columns import UriColumns, one_each, parse_column
from etlcore.components import Transform

if TYPE_CHECKING:
    import pyarrow as pa

Query = dict[str, Any]


class ParseUri(Transform):
    """Adds the path and the query parameters of a URI as columns, percent-decoded as UTF-8.

    A row whose URI is malformed (an incomplete escape, escapes that are no UTF-8, a space or control character, not a
    path) or missing goes to the dead letters with the reason. The column itself and all others stay as they are; a
    column that is there already is replaced. A parameter that a URI lacks is null, one without a value is "".
    """

    example = """
        stages:
          requests: {source: generate, with: {rows: 3, fields: {uri: "/item/{int:1:500}?user={int:1:9000}&q=a%20b"}}}
          parsed:
            transform: parse_uri
            with: {column: uri, params: {user_id: user, searched: q}}
          out: {sink: console}
    """

    class Config(Options):
        column: str = Field("request_uri", min_length=1, description="The column that holds the URI.")
        path: str | None = Field("path", min_length=1, description="Name of the column for the path; null for none.")
        query: str | None = Field(
            "query",
            min_length=1,
            description="Name of the column for all parameters, a mapping of name to value; null for none. Left out, "
            "there is none when `params` is given.",
        )
        params: dict[str, str] | list[str] = Field(
            [],
            description="Parameters that get a column each: a list of names, or a mapping of column name to parameter.",
        )
        prefix: str = Field("", description="Put before the names of all new columns.")
        repeated: Literal["first", "last", "list"] = Field(
            "first",
            description="What counts of a parameter that is given several times; list makes every value a list.",
        )

        @field_validator("params")
        @classmethod
        def _each_once(cls, params: dict[str, str] | list[str]) -> dict[str, str] | list[str]:
            twice = sorted({name for name in params if list(params).count(name) > 1})
            if twice:
                raise ValueError(f"parameter {twice[0]!r} is listed twice: name each once")
            return params

        @model_validator(mode="after")
        def _something_to_do(self) -> ParseUri.Config:
            names = self.outputs()
            if not names:
                raise ValueError("nothing to add: name a column for path or query, or list some params")
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"two outputs would be called {twice[0]!r}: rename one")
            return self

        @property
        def query_column(self) -> str | None:
            """The column of all parameters, without prefix; None when there is none."""
            return None if self.params and "query" not in self.model_fields_set else self.query

        @property
        def selected(self) -> dict[str, str]:
            """Column name, without prefix, to parameter."""
            return dict(self.params) if isinstance(self.params, dict) else {name: name for name in self.params}

        def outputs(self) -> list[str]:
            """The new columns in their order."""
            names = [self.path, self.query_column, *self.selected]
            return [self.prefix + name for name in names if name is not None]

    config: Config

    def process(self, batch: Batch) -> Batch:
        if batch.columnar:
            column = column_of(batch.arrow, self.config.column)
            wanted = self.config.query_column is not None or bool(self.config.selected)
            quick = None if column is None else parse_column(column, parameters=wanted)
            if quick is not None:
                return self._apart(batch, quick)
        parsed, refused = self._parse(values_of(batch, self.config.column))
        self._reject(batch, refused)
        if not batch.columnar:
            return Batch.from_rows(self._add_to_rows(batch.rows, parsed))
        made = self._arrays([p for p in parsed if p is not None])
        return self._put(without(batch, refused), made)

    def _apart(self, batch: Batch, quick: UriColumns) -> Batch:
        """A batch of which some URIs have been taken apart; the others are taken one by one."""
        import pyarrow as pa
        import pyarrow.compute as pc

        made = self._quick_arrays(quick)
        if len(quick.rows) == len(batch):
            return self._put(batch, made)
        numbers = pa.array(range(len(batch)), pa.int64())
        rest = numbers.filter(pc.invert(pc.is_in(numbers, value_set=quick.rows)))
        parsed, wrong = self._parse(values_of(batch.take(rest), self.config.column))
        places = rest.to_pylist()
        refused = {places[index]: reason for index, reason in wrong.items()}
        self._reject(batch, refused)
        singly = self._arrays([p for p in parsed if p is not None])
        good = pa.array([place for place, p in zip(places, parsed, strict=True) if p is not None], pa.int64())
        order = pc.array_sort_indices(pa.concat_arrays([quick.rows, good]))
        joined = [pa.concat_arrays(pair).take(order) for pair in zip(made, singly, strict=True)]
        return self._put(without(batch, refused), joined)

    def _reject(self, batch: Batch, refused: dict[int, str]) -> None:
        if refused:
            self.context.reject(batch.take(list(refused)), list(refused.values()))

    def _put(self, batch: Batch, made: list[pa.Array]) -> Batch:
        record_batch = batch.arrow
        for name, column in zip(self.config.outputs(), made, strict=True):
            record_batch = put(record_batch, name, column)
        return Batch.from_arrow(record_batch)

    def _parse(self, values: list[Any]) -> tuple[list[_Parsed | None], dict[int, str]]:
        """What each value holds, None where it is refused; and the refused ones with their reasons."""
        parsed: list[_Parsed | None] = []
        refused: dict[int, str] = {}
        for index, value in enumerate(values):
            try:
                parsed.append(parse(value if type(value) is str else _text(value)))
            except Malformed as error:
                parsed.append(None)
                refused[index] = f"{self.config.column}: {error}"
        return parsed, refused

    def _add_to_rows(self, rows: list[Row], parsed: list[_Parsed | None]) -> list[Row]:
        prefix, gather = self.config.prefix, _GATHER[self.config.repeated]
        path = None if self.config.path is None else prefix + self.config.path
        query = None if self.config.query_column is None else prefix + self.config.query_column
        selected = [(prefix + new, name) for new, name in self.config.selected.items()]
        out = []
        for row, found in zip(rows, parsed, strict=True):
            if found is None:
                continue
            made = dict(row)
            if path is not None:
                made[path] = found[0]
            if query is not None or selected:
                parameters = gather(found[1])
                if query is not None:
                    made[query] = parameters
                for new, name in selected:
                    made[new] = parameters.get(name)
            out.append(made)
        return out

    def _arrays(self, parsed: list[_Parsed]) -> list[pa.Array]:
        """The new columns in their order."""
        import pyarrow as pa

        value = pa.list_(pa.string()) if self.config.repeated == "list" else pa.string()
        gathered = [_GATHER[self.config.repeated](parameters) for _, parameters in parsed]
        made: list[pa.Array] = []
        if self.config.path is not None:
            made.append(pa.array([path for path, _ in parsed], pa.string()))
        if self.config.query_column is not None:
            made.append(_map_column(gathered, value))
        for name in self.config.selected.values():
            made.append(pa.array([query.get(name) for query in gathered], value))
        return made

    def _quick_arrays(self, quick: UriColumns) -> list[pa.Array]:
        """The same out of columns, in which no parameter is repeated."""
        made: list[pa.Array] = [] if self.config.path is None else [quick.path]
        listed = self.config.repeated == "list"
        if self.config.query_column is not None:
            made.append(quick.map_column(listed=listed))
        for name in self.config.selected.values():
            column = quick.parameter(name)
            made.append(one_each(column) if listed else column)
        return made


_Parsed = tuple[str, Parameters]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed("bytes that are not UTF-8") from None
    raise Malformed("missing" if value is None else f"holds {type(value).__name__}, not text")


def _first(parameters: Parameters) -> Query:
    found: Query = dict(parameters)
    if len(found) == len(parameters):  # nothing is repeated, as usual
        return found
    found = {}
    for name, value in parameters:
        found.setdefault(name, value)
    return found


def _list(parameters: Parameters) -> Query:
    found: Query = {}
    for name, value in parameters:
        found.setdefault(name, []).append(value)
    return found


_GATHER: dict[str, Callable[[Parameters], Query]] = {"first": _first, "last": dict, "list": _list}


def _map_column(queries: list[Query], value: pa.DataType) -> pa.MapArray:
    """Dicts as a column of maps; much faster than a list of pairs for each row."""
    import pyarrow as pa

    offsets = pa.array([0, *accumulate(map(len, queries))], pa.int32())
    names = pa.array([name for query in queries for name in query], pa.string())
    values = pa.array([one for query in queries for one in query.values()], value)
    return pa.MapArray.from_arrays(offsets, names, values)
