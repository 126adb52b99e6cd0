"""The contract of a source, as checks."""

from __future__ import annotations

from etlcore.testing.common import ComponentContract


class SourceContract(ComponentContract):
    """Subclass it as ``class Test…(SourceContract)``."""

    kind = "source"
