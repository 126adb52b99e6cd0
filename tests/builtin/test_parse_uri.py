"""The transform `parse_uri`: what it takes apart, what it refuses, and the same for rows and for columns."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from etlcore import Batch
from etlcore.builtin import parse_uri as parse_uri_module
from etlcore.builtin import uri as uri_module
from tests.builtin.forms import Row, agree


def parsed(use: Any, uri: Any, **options: Any) -> Row:
    """What one row becomes, checked to be the same for rows and for columns; without the column itself."""
    stage = use("transform", "parse_uri", **options)
    batch = Batch.from_rows([{"request_uri": uri}])
    (row,) = stage.process(batch).rows
    of_columns = stage.process(Batch.from_arrow(batch.arrow))
    assert of_columns.columnar
    assert of_columns.rows == [row]
    assert row.pop("request_uri") == uri
    return row


def refused(use: Any, context: Any, uri: Any) -> str:
    """The reason, checked to be the same for rows and for columns."""
    stage = use("transform", "parse_uri")
    batch = Batch.from_rows([{"request_uri": uri, "other": 1}])
    reasons = []
    forms = [batch]
    if not (isinstance(uri, str) and any("\ud800" <= character <= "\udfff" for character in uri)):
        forms.append(Batch.from_arrow(batch.arrow))
    for form in forms:
        context.rejected.clear()
        assert stage.process(form).rows == []
        ((row, reason),) = context.rejected
        assert row == {"request_uri": uri, "other": 1}
        reasons.append(reason)
    assert len(set(reasons)) == 1
    return str(reasons[0])


@pytest.mark.parametrize(
    ("uri", "path", "query"),
    [
        ("/", "/", {}),
        ("/a/b", "/a/b", {}),
        ("/a?x=1&y=2", "/a", {"x": "1", "y": "2"}),
        ("/a?", "/a", {}),
        ("/a?x", "/a", {"x": ""}),
        ("/a?x=", "/a", {"x": ""}),
        ("/a?=1", "/a", {"": "1"}),
        ("/a?&&x=1&", "/a", {"x": "1"}),
        ("/a?x=1=2", "/a", {"x": "1=2"}),
        ("/a?x=1?y", "/a", {"x": "1?y"}),
        ("/a%20b", "/a b", {}),
        ("/a+b?c+d=e+f", "/a+b", {"c d": "e f"}),
        ("/a%2Bb?c%2Bd=e%2bf", "/a+b", {"c+d": "e+f"}),
        ("/%E4%B8%AD?%E4%B8%AD=%e6%96%87", "/中", {"中": "文"}),
        ("/中?q=é", "/中", {"q": "é"}),
        ("/中%20a?q=é%20b", "/中 a", {"q": "é b"}),
        ("/a%2Fb?x=%26%3D%25", "/a/b", {"x": "&=%"}),
        ("/a?x=%0A", "/a", {"x": "\n"}),
        ("/a#frag", "/a", {}),
        ("/a?x=1#y=2", "/a", {"x": "1"}),
        ("*", "*", {}),
        ("//a/b", "//a/b", {}),
        ("http://example.com/a?x=1", "/a", {"x": "1"}),
        ("HTTPS://user@example.com:8443/a%20b", "/a b", {}),
        ("http://example.com", "/", {}),
        ("http://example.com?x=1", "/", {"x": "1"}),
        ("/a;p=1?x=1;y=2", "/a;p=1", {"x": "1;y=2"}),
        ('/a"<>[]{}|\\^`', '/a"<>[]{}|\\^`', {}),
    ],
)
def test_path_and_query(use: Any, uri: str, path: str, query: Row) -> None:
    assert parsed(use, uri) == {"path": path, "query": query}


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        (None, "missing"),
        ("", "empty"),
        ("a/b", "neither a path that begins with / nor an absolute URI"),
        ("-", "neither a path that begins with / nor an absolute URI"),
        ("example.com:443", "neither a path that begins with / nor an absolute URI"),
        ("?x=1", "no path before the query"),
        ("#x", "empty"),
        ("/%", "bad percent escape '%' at character 2"),
        ("/a%2", "bad percent escape '%2' at character 3"),
        ("/a?x=%zz", "bad percent escape '%zz' at character 6"),
        ("/a?x=%2g1", "bad percent escape '%2g' at character 6"),
        ("/a?x=%u4e2d", "bad percent escape '%u4' at character 6"),
        ("/a?x=%e4%b8", "escapes that are not UTF-8 in '%e4%b8'"),
        ("/%ff", "escapes that are not UTF-8 in '/%ff'"),
        ("/%C0%AF", "escapes that are not UTF-8"),
        ("/%ed%a0%80", "escapes that are not UTF-8"),
        ("/?%ff=1", "escapes that are not UTF-8 in '%ff'"),
        ("/a b", "space at character 3"),
        ("/a?x=a b", "space at character 7"),
        ("/a\tb", "control character U+0009 at character 3"),
        ("/a\n", "control character U+000A at character 3"),
        ("/a\x00", "control character U+0000 at character 3"),
        ("/a\x7f", "control character U+007F at character 3"),
        ("/é\x85", "control character U+0085 at character 3"),
        ("/\ud800", "lone surrogate U+D800 at character 2"),
        (b"/\xff", "bytes that are not UTF-8"),
        (7, "holds int, not text"),
        (["/"], "holds list, not text"),
    ],
)
def test_malformed_rows_are_dead_letters_with_the_reason(use: Any, context: Any, uri: Any, reason: str) -> None:
    assert refused(use, context, uri).startswith(f"request_uri: {reason}")


def test_a_long_uri_does_not_make_a_long_reason(use: Any, context: Any) -> None:
    assert len(refused(use, context, "/" + "%ff" * 10_000)) < 200


def test_bytes_are_read_as_utf8(use: Any) -> None:
    assert parsed(use, "/中?x=1".encode()) == {"path": "/中", "query": {"x": "1"}}


def test_a_column_that_is_missing_altogether(use: Any, context: Any) -> None:
    stage = use("transform", "parse_uri")
    for batch in (Batch.from_rows([{"a": 1}]), Batch.from_arrow(pa.RecordBatch.from_pydict({"a": [1]}))):
        assert stage.process(batch).rows == []
    assert context.rejected == [({"a": 1}, "request_uri: missing")] * 2


def test_good_and_bad_rows_part_ways(use: Any, context: Any) -> None:
    rows = [{"request_uri": "/a"}, {"request_uri": "/%"}, {"request_uri": "/b"}, {"request_uri": None}]
    stage = use("transform", "parse_uri", query=None)
    for batch in (Batch.from_rows(rows), Batch.from_arrow(Batch.from_rows(rows).arrow)):
        context.rejected.clear()
        assert [row["path"] for row in stage.process(batch).rows] == ["/a", "/b"]
        assert [row["request_uri"] for row, _ in context.rejected] == ["/%", None]


# Outputs


def test_parameters_become_columns(use: Any) -> None:
    uri = "/a?user=7&q=x&other=1"
    assert parsed(use, uri, params=["user", "q", "absent"]) == {"path": "/a", "user": "7", "q": "x", "absent": None}
    assert parsed(use, uri, params={"who": "user"}, path=None) == {"who": "7"}


def test_parameters_and_the_whole_query(use: Any) -> None:
    assert parsed(use, "/a?x=1", params=["x"], query="query") == {"path": "/a", "query": {"x": "1"}, "x": "1"}


def test_names_and_prefix(use: Any) -> None:
    assert parsed(use, "/a?x=1", path="p", query="q", prefix="uri_") == {"uri_p": "/a", "uri_q": {"x": "1"}}
    assert parsed(use, "/a?x=1", path=None) == {"query": {"x": "1"}}
    assert parsed(use, "/a?x=1", params=["x"], prefix="_") == {"_path": "/a", "_x": "1"}


def test_another_column(use: Any) -> None:
    stage = use("transform", "parse_uri", column="url", query=None)
    assert stage.process(Batch.from_rows([{"url": "/a"}])).rows == [{"url": "/a", "path": "/a"}]


@pytest.mark.parametrize(("repeated", "x", "y"), [("first", "1", "3"), ("last", "2", "3"), ("list", ["1", "2"], ["3"])])
def test_repeated_parameters(use: Any, repeated: str, x: Any, y: Any) -> None:
    made = parsed(use, "/a?x=1&y=3&x=2", params=["x", "y", "z"], query="query", repeated=repeated)
    assert made == {"path": "/a", "query": {"x": x, "y": y}, "x": x, "y": y, "z": None}
    assert list(made["query"]) == ["x", "y"], "in the order in which they first came"


def test_a_column_that_is_there_is_replaced_in_its_place(use: Any) -> None:
    stage = use("transform", "parse_uri", path="request_uri", query=None)
    batch = Batch.from_rows([{"request_uri": "/a%20b?x", "z": 1}])
    for form in (batch, Batch.from_arrow(batch.arrow)):
        out = stage.process(form)
        assert out.rows == [{"request_uri": "/a b", "z": 1}]
        assert list(out.rows[0]) == ["request_uri", "z"]


def test_the_other_columns_are_not_touched(use: Any) -> None:
    other = pa.array([1, 2, 3], pa.int16())
    columns = pa.RecordBatch.from_arrays([other, pa.array(["/a", "/b", "/c"])], names=["n", "request_uri"])
    out = use("transform", "parse_uri").process(Batch.from_arrow(columns)).arrow
    assert out.schema.field("n").type == pa.int16()
    assert out.column("n").buffers()[1].address == other.buffers()[1].address
    assert out.schema.field("path").type == pa.string()
    assert out.schema.field("query").type == pa.map_(pa.string(), pa.string())


def test_the_types_of_the_columns_do_not_depend_on_the_rows(use: Any) -> None:
    stage = use("transform", "parse_uri", params=["x"], query="query", repeated="list")
    schemas = []
    for uris in ([], ["/a"], ["/a?x=1&x=2"]):
        columns = pa.RecordBatch.from_arrays([pa.array(uris, pa.string())], names=["request_uri"])
        schemas.append(stage.process(Batch.from_arrow(columns)).arrow.schema)
    assert schemas[0] == schemas[1] == schemas[2]


def test_the_rows_given_are_not_changed(use: Any) -> None:
    rows = [{"request_uri": "/a"}]
    use("transform", "parse_uri").process(Batch.from_rows(rows))
    assert rows == [{"request_uri": "/a"}]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": None, "query": None}, "nothing to add: name a column for path or query, or list some params"),
        ({"path": "a", "query": "a"}, "two outputs would be called 'a': rename one"),
        ({"params": ["path"]}, "two outputs would be called 'path': rename one"),
        ({"params": ["x", "x"]}, "parameter 'x' is listed twice: name each once"),
        ({"repeated": "middle"}, "'first', 'last' or 'list'"),
        ({"path": ""}, "at least 1 character"),
    ],
)
def test_options_that_make_no_sense_are_refused(use: Any, options: Row, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        use("transform", "parse_uri", **options)


# Against others, and against itself

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(path=texts, pairs=st.lists(st.tuples(texts, texts), max_size=4))
@example(path="", pairs=[("", "")])
def test_what_was_encoded_comes_back(use: Any, path: str, pairs: list[tuple[str, str]]) -> None:
    """Encoded by the standard library, decoded here; and as the standard library itself decodes it."""
    encoded = urlencode(pairs)
    uri = "/" + quote(path) + ("?" + encoded if pairs else "")
    made = parsed(use, uri, repeated="list")
    wanted: dict[str, list[str]] = {}
    for name, value in pairs:
        wanted.setdefault(name, []).append(value)
    assert made == {"path": "/" + path, "query": wanted}
    listed = [(name, value) for name, values in made["query"].items() for value in values]
    assert sorted(listed) == sorted(parse_qsl(encoded, keep_blank_values=True))


uris = st.text(st.sampled_from("/a?&=%2+#:*é中\x00\x7f \t") | st.sampled_from("EeFf089"), max_size=12)
cells = st.none() | uris | uris.map(lambda text: "/" + text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(
    values=st.lists(cells, max_size=6),
    options=st.fixed_dictionaries(
        {}, optional={"params": st.just(["a", ""]), "repeated": st.sampled_from(["first", "last", "list"])}
    ),
)
def test_rows_and_columns_agree(use: Any, context: Any, values: list[str | None], options: Row) -> None:
    stage = use("transform", "parse_uri", **options)
    columns = pa.RecordBatch.from_arrays(
        [pa.array(values, pa.string()), pa.array(range(len(values)), pa.int32())], names=["request_uri", "n"]
    )
    outcomes = []
    for batch in (Batch.from_arrow(columns), Batch.from_rows(columns.to_pylist())):
        context.rejected.clear()
        outcomes.append((stage.process(batch).rows, list(context.rejected)))
    assert outcomes[0] == outcomes[1]
    rows, rejected = outcomes[0]
    assert len(rows) + len(rejected) == len(values)


pieces = st.sampled_from(
    ["a", "b", "x=1", "y", "=", "a=", "=b", "a=1=2", "a%20b=%41", "中=é", "x=%E4%B8%AD", "x=+", "%2B=%26", "", "&", "+"]
)
BROKEN = ["%FF", "%E4%B8", "%4", "%zz", " ", "\x7f", "\x85", "#x", "#", "?"]
lively = st.builds(
    lambda start, path, query, odd: start + "/".join(path) + ("?" + "&".join(query) if query else "") + odd,
    st.sampled_from(["/", "/", "/", "//", "http://h", "https://h:1/", "*", "?", ""]),
    st.lists(st.sampled_from(["a", "b.c", "%2F", "+", "中", "%C3%A9", "a%00"]), max_size=3),
    st.lists(pieces, max_size=5),
    st.just("") | st.sampled_from(BROKEN),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(
    values=st.lists(st.none() | lively, max_size=12),
    kind=st.sampled_from([pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]),
    cut=st.integers(0, 3),
    options=st.fixed_dictionaries(
        {"repeated": st.sampled_from(["first", "last", "list"])},
        optional={
            "params": st.sampled_from([["a"], {"it": "x", "n": "n", "b": "b"}]),
            "query": st.sampled_from([None, "query"]),
            "prefix": st.just("uri_"),
        },
    ),
)
@example(values=["/a" + it for it in BROKEN], kind=pa.string(), cut=0, options={"repeated": "first"})
@example(values=["/a?b=" + it for it in BROKEN], kind=pa.string(), cut=1, options={"params": ["b"]})
def test_lively_uris_in_rows_and_in_columns_agree(
    use: Any, values: list[str | None], kind: pa.DataType, cut: int, options: Row
) -> None:
    stage = use("transform", "parse_uri", **options)
    column = pa.array(values, pa.string()).cast(kind).slice(cut)
    agree(stage, stage, [pa.RecordBatch.from_pydict({"request_uri": column, "n": list(range(len(column)))})])


def test_only_what_needs_a_look_is_looked_at_singly(use: Any, monkeypatch: Any) -> None:
    looked_at: list[str] = []

    def parse(uri: str) -> Any:
        looked_at.append(uri)
        return uri_module.parse(uri)

    monkeypatch.setattr(parse_uri_module, "parse", parse)
    regular = [f"/item/{n}?user={n}&q=caf%C3%A9+au+lait&page" for n in range(100)]
    odd = ["http://host/a", "/a#b", "/a?x=1&x=2", "/%FF"]
    batch = Batch.from_arrow(pa.RecordBatch.from_pydict({"request_uri": [*regular, *odd, *regular]}))
    out = use("transform", "parse_uri").process(batch)
    assert len(out) == 203
    assert out.rows[1]["query"] == {"user": "1", "q": "café au lait", "page": ""}
    assert looked_at == odd
