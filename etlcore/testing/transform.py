"""The contract of a transform, as checks."""

from __future__ import annotations

from etlcore.testing.common import ComponentContract


class TransformContract(ComponentContract):
    """Subclass it as ``class Test…(TransformContract)``."""

    kind = "transform"
