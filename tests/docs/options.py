"""The options of components as Markdown, out of their `Config` models, which are the only place that describes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from etlcore.plugins import Component, Plugins
from etlcore.plugins.describe import describe
from etlcore.plugins.options import Option
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
    (described,) = (it for it in describe(plugins, component.name) if it.kind == component.kind)
    yield f"\n### `{component.kind}: {component.name}`\n\n"
    yield f"{described.summary}. {described.promise}\n"
    if described.about:
        yield f"\n{_markdown(described.about)}\n"
    if not described.options:
        yield "\nNo options.\n"
        return
    yield "\n| option | type | default | meaning |\n|---|---|---|---|\n"
    for option in described.options:
        yield f"| `{option.name}` | {_cell(option.type)} | {_default(option)} | {_cell(option.description)} |\n"


def _markdown(about: str) -> str:
    return re.sub(r"``(.+?)``", r"`\1`", about)


def _default(option: Option) -> str:
    if option.required:
        return "(needed)"
    return option.default_text if option.default is None else f"`{option.default_text}`"


def _cell(text: str | None) -> str:
    """Text as it stands in a table; what is not between backticks means nothing to Markdown."""
    parts = " ".join((text or "").replace("|", r"\|").split()).split("`")
    return "`".join(part if index % 2 else re.sub(r"([*<])", r"\\\1", part) for index, part in enumerate(parts))
