"""etlcore: a plugin-driven ETL framework. The public names, nothing else.

Names are loaded when they are first used, so that ``import etlcore`` (and ``etl --help``) costs next to nothing:
pyarrow and pydantic are imported only by a run that needs them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etlcore.api import Pipeline as Pipeline
    from etlcore.api import RunFailed as RunFailed
    from etlcore.api import check as check
    from etlcore.api import load as load
    from etlcore.api import run as run
    from etlcore.batch import Batch as Batch
    from etlcore.batch import Position as Position
    from etlcore.components import Context as Context
    from etlcore.components import Reject as Reject
    from etlcore.components import RetryAfter as RetryAfter
    from etlcore.components import RowsFailed as RowsFailed
    from etlcore.components import RowTransform as RowTransform
    from etlcore.components import Sink as Sink
    from etlcore.components import Source as Source
    from etlcore.components import TransactionalSink as TransactionalSink
    from etlcore.components import Transform as Transform
    from etlcore.plugins import Command as Command
    from etlcore.plugins import Component as Component
    from etlcore.plugins import SecretScheme as SecretScheme
    from etlcore.plugins import hookimpl as hookimpl

__version__ = "0.1.0"

_HOMES = {
    "Batch": "etlcore.batch",
    "Command": "etlcore.plugins",
    "Component": "etlcore.plugins",
    "Context": "etlcore.components",
    "Pipeline": "etlcore.api",
    "Position": "etlcore.batch",
    "Reject": "etlcore.components",
    "RetryAfter": "etlcore.components",
    "RowTransform": "etlcore.components",
    "RowsFailed": "etlcore.components",
    "RunFailed": "etlcore.api",
    "SecretScheme": "etlcore.plugins",
    "Sink": "etlcore.components",
    "Source": "etlcore.components",
    "TransactionalSink": "etlcore.components",
    "Transform": "etlcore.components",
    "check": "etlcore.api",
    "load": "etlcore.api",
    "run": "etlcore.api",
    "hookimpl": "etlcore.plugins",
}

__all__ = [
    "Batch",
    "Command",
    "Component",
    "Context",
    "Pipeline",
    "Position",
    "Reject",
    "RetryAfter",
    "RowTransform",
    "RowsFailed",
    "RunFailed",
    "SecretScheme",
    "Sink",
    "Source",
    "TransactionalSink",
    "Transform",
    "__version__",
    "check",
    "hookimpl",
    "load",
    "run",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'etlcore' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOMES))
