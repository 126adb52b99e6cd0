"""The end of the process: what plugins have left behind must not keep it."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from contextlib import suppress

OWN = "etl "
"""What the names of etlcore's own threads begin with; all of them are daemons, which nobody waits for."""

_PATIENCE = 3.0  # seconds


def ignore_late_signals() -> None:
    """See to it that a stop signal which comes once the exit code is known does not change it.

    The interpreter puts the system's handlers back while it shuts down, and these would end the process by the signal:
    then whoever started it hears of a run that was killed, and its report says that all is well.
    """
    atexit.register(_ignore)


def _ignore() -> None:
    from etlcore.runtime.signals import STOP_SIGNALS

    for number in STOP_SIGNALS:
        with suppress(ValueError, OSError):  # not in the main thread: then nobody else shuts it down either
            signal.signal(number, signal.SIG_IGN)


def leave_in_time(code: int) -> None:
    """See to it that the process, which has nothing left to do, ends with ``code``.

    The interpreter waits at its exit for threads, also for those of a thread pool. One that never ends is named, and
    the process is ended without it.
    """
    if threading.active_count() > 1:
        threading.Thread(target=_end, args=(code,), name="etl leaving", daemon=True).start()


def _end(code: int) -> None:
    time.sleep(_PATIENCE)
    others = (thread for thread in threading.enumerate() if thread is not threading.main_thread())
    names = ", ".join(thread.name for thread in others if not thread.name.startswith(OWN))
    saying = threading.Thread(target=_say, args=(names,), daemon=True)  # whoever reads it may be stuck, too
    saying.start()
    saying.join(1.0)
    os._exit(code)


def _say(names: str) -> None:
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"etl: ended without threads that were left behind and did not end: {names}\n")
        sys.stderr.flush()
