"""The conformance kit for plugin authors: one class in a plugin's tests yields the whole contract as named checks.

    from etlcore.testing import SinkContract

    class TestMySink(SinkContract):
        component = "acme.out"

        def options(self, directory):
            return {"path": str(directory / "out.jsonl")}

        def stored(self, options):
            return read_back(options["path"])

Each check is one test of pytest, which must be installed beside etlcore. See docs/testing-plugins.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etlcore.testing.sink import SinkContract as SinkContract
    from etlcore.testing.source import SourceContract as SourceContract
    from etlcore.testing.transform import TransformContract as TransformContract

_HOMES = {
    "SinkContract": "etlcore.testing.sink",
    "SourceContract": "etlcore.testing.source",
    "TransformContract": "etlcore.testing.transform",
}

__all__ = ["SinkContract", "SourceContract", "TransformContract"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'etlcore.testing' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
