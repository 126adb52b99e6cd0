"""The options of components as Markdown, out of their `Config` models, which are the only place that describes them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etlcore.plugins import Component, Plugins
from tests.docs.pages import ROOT

_SECTION = re.compile(
    r"(?P<begin><!-- options of (?P<of>[\w.-]+) \(python -m tests\.docs\.write makes this\) -->\n)"
    r".*?"
    r"(?P<end><!-- end of options -->)",
    re.DOTALL,
)

PLACES = {"etlcore": ROOT / "docs" / "stages.md", "etlcore-sls": ROOT / "docs" / "sls.md"}
"""Where the components of a distribution are described."""


def with_options(text: str) -> str:
    """A page's text with the options in its marked sections as the models have them now."""
    made = {by: "".join(_components(plugins, by)) for plugins in [Plugins()] for by in PLACES}
    return _SECTION.sub(lambda found: f"{found['begin']}{made[found['of']]}{found['end']}", text)


def documented(page: Path) -> bool:
    """Whether a page has a section for options."""
    return bool(_SECTION.search(page.read_text(encoding="utf-8")))


def first_party(plugins: Plugins) -> list[tuple[Component, str]]:
    """The components of this repository, each with its distribution."""
    warnings: list[str] = []  # a broken plugin of somebody else's is nothing to us
    found = ((component, by.partition(" ")[0]) for component, by in plugins.components(warnings.append))
    return [(component, by) for component, by in found if by in PLACES]


def _components(plugins: Plugins, distribution: str) -> Iterator[str]:
    kinds = ("source", "transform", "sink")
    mine = [component for component, by in first_party(plugins) if by == distribution]
    for component in sorted(mine, key=lambda component: kinds.index(component.kind)):
        yield from _component(plugins, component)


def _component(plugins: Plugins, component: Component) -> Iterator[str]:
    cls: Any = plugins.load(component)
    yield f"\n### `{component.kind}: {component.name}`\n\n"
    yield f"{component.summary}. {_promise(cls, component.kind)}\n"
    about = inspect.cleandoc(cls.__doc__ or "")
    if not about.startswith("See "):
        yield f"\n{_markdown(about)}\n"
    fields = cls.Config.model_fields if cls.Config is not None else {}
    if not fields:
        yield "\nNo options.\n"
        return
    yield "\n| option | type | default | meaning |\n|---|---|---|---|\n"
    for name, field in fields.items():
        yield f"| `{name}` | {_type(cls.Config, name)} | {_default(field)} | {_cell(field.description)} |\n"


def _promise(cls: Any, kind: str) -> str:
    """What the component says of itself that delivery depends on."""
    if kind == "source":
        return "Replayable." if cls.replayable else "Not replayable: what was read and not delivered is lost."
    if kind == "transform":
        return "Deterministic." if cls.deterministic else "Not deterministic."
    if cls.transactional:
        return "Transactional."
    return "Idempotent." if cls.idempotent else "Not idempotent: after a crash, rows may be written twice."


def _markdown(about: str) -> str:
    return re.sub(r"``(.+?)``", r"`\1`", about)


def _type(model: Any, name: str) -> str:
    """A type in the words of a pipeline file, out of the model's JSON Schema."""
    schema = model.model_json_schema(mode="validation")
    return _cell(" or ".join(dict.fromkeys(_types(schema["properties"][name], schema))))


def _types(schema: dict[str, Any], root: dict[str, Any]) -> Iterator[str]:
    if "$ref" in schema:
        yield from _types(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    elif "anyOf" in schema:
        for branch in schema["anyOf"]:
            yield from _types(branch, root)
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
        word = _WORDS.get(schema.get("type", ""), "anything")
        yield word + _bounds(schema)


_WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "null"}


def _bounds(schema: dict[str, Any]) -> str:
    bounds = [
        f"{word} {schema[key]:,g}" if isinstance(schema[key], float) else f"{word} {schema[key]:,}"
        for key, word in (("exclusiveMinimum", "above"), ("minimum", "at least"), ("maximum", "at most"))
        if key in schema
    ]
    return f" ({', '.join(bounds)})" if bounds else ""


def _default(field: Any) -> str:
    if field.is_required():
        return "(needed)"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, dict) and value:
        return ", ".join(f"`{key}: {item}`" for key, item in value.items())
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value is None:
        return "null"
    if isinstance(value, float) and value.is_integer():
        return f"`{value:g}`"
    return f"`{value}`" if value != "" else '`""`'


def _cell(text: str | None) -> str:
    """Text as it stands in a table; what is not between backticks means nothing to Markdown."""
    parts = " ".join((text or "").replace("|", r"\|").split()).split("`")
    return "`".join(part if index % 2 else re.sub(r"([*<])", r"\\\1", part) for index, part in enumerate(parts))
