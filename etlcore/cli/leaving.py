"""The end of the process: what plugins have left behind must not keep it."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress

_PATIENCE = 3.0  # seconds


def leave_in_time(code: int) -> None:
    """See to it that the process, which has nothing left to do, ends with ``code``.

    The interpreter waits at its exit for threads, also for those of a thread pool. One that never ends is named, and
    the process is ended without it.
    """
    if threading.active_count() > 1:
        threading.Thread(target=_end, args=(code,), name="etl leaving", daemon=True).start()


def _end(code: int) -> None:
    time.sleep(_PATIENCE)
    own = (threading.main_thread(), threading.current_thread())
    names = ", ".join(thread.name for thread in threading.enumerate() if thread not in own)
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"etl: ended without threads that were left behind and did not end: {names}\n")
        sys.stderr.flush()
    os._exit(code)
