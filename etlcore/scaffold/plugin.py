"""A whole plugin package: entry point, components, their tests under the contract, a pipeline, README and CI.

The texts are the files beside this one. A line that ends in ``#@source`` is for packages with a source only, and one
that ends in ``#@!source`` for those without; so for ``transform`` and ``sink``. ``@name@`` and its like are filled in.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from importlib.resources import files

from etlcore import __version__
from etlcore.plugins.records import KINDS, Kind

NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
"""What a plugin may be called."""

_MARK = re.compile(r" *#@(!?)(source|transform|sink)$")
_FILES = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "gitignore.txt": ".gitignore",
    "ci.yml.txt": ".github/workflows/test.yml",
    "init.py.txt": "src/@package@/__init__.py",
    "source.py.txt": "src/@package@/source.py",
    "transform.py.txt": "src/@package@/transform.py",
    "sink.py.txt": "src/@package@/sink.py",
    "test_contract.py.txt": "tests/test_contract.py",
    "pipeline.yaml.txt": "pipelines/@name@.yaml",
}


def plugin_files(name: str, kinds: Collection[Kind]) -> dict[str, str]:
    """The package's files: texts by relative paths. ``name`` must match `NAME`; ``kinds`` are its components."""
    chosen = [kind for kind in KINDS if kind in kinds]
    contracts = sorted(f"{kind.capitalize()}Contract" for kind in chosen)
    words = {
        "name": name,
        "dist": f"{name}-etl",
        "package": f"{name.replace('-', '_')}_etl",
        "title": name.replace("_", " ").replace("-", " ").capitalize(),
        "etlcore": __version__,
        "contracts": ", ".join(contracts),
    }
    made = {}
    for template, path in _FILES.items():
        kind = template.partition(".")[0]
        if kind in KINDS and kind not in chosen:
            continue
        text = files("etlcore.scaffold").joinpath("plugin", template).read_text(encoding="utf-8")
        made[_filled(path, words)] = _filled("".join(_kept(text, chosen)), words).rstrip("\n") + "\n"
    return made


def _kept(text: str, chosen: list[Kind]) -> Iterator[str]:
    for line in text.splitlines():
        mark = _MARK.search(line)
        if mark is None:
            yield f"{line}\n"
        elif (mark[2] in chosen) != bool(mark[1]):
            yield f"{line[: mark.start()].rstrip()}\n"


def _filled(text: str, words: dict[str, str]) -> str:
    return re.sub(r"@(\w+)@", lambda found: words[found[1]], text)
