"""Importing the SDK, from one thread at a time.

Its modules import each other in circles. Two threads that begin at different ends of a circle would wait for each
other, and Python ends that with an error in one of them; workers open side by side.
"""

from __future__ import annotations

import threading
from importlib import import_module

_lock = threading.Lock()


def load_sdk() -> None:
    """Import the SDK, unless it is imported. Call it before anything else imports a part of it."""
    with _lock:
        import_module("aliyun.log")
        import_module("etlcore_sls.sdk")
