"""A call that may block, in a thread of its own: what a model waits with."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Waiting:
    """Calls at once; afterwards it has the ``result`` or the ``error``."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.result: Any = None
        self.error: Exception | None = None
        self._call = call
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._thread.start()

    def _go(self) -> None:
        try:
            self.result = self._call()
        except Exception as error:  # noqa: BLE001 - looked at by the model
            self.error = error

    def ended(self, patience: float) -> bool:
        """Wait up to so many seconds for the call to return or raise."""
        self._thread.join(patience)
        return not self._thread.is_alive()
