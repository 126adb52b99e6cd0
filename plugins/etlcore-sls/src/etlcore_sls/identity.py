"""The name under which a consumer appears in its group: the same after a restart, never that of two at a time.

The service keeps a vanished consumer's shards for it until the group's timeout has passed. A consumer that comes back
under the same name gets them at once; two that use one name would both be given the same shards. So names are kept in
files of the state directory, and a running consumer holds the lock on its file: the system gives the lock back however
the process ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
import uuid
from pathlib import Path
from types import TracebackType


class Identity:
    """A consumer name that nobody else uses as long as this object is open."""

    def __init__(self, name: str, file: int | None = None) -> None:
        self.name = name
        self._file = file

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)  # and with it goes the lock
            self._file = None

    def __enter__(self) -> Identity:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def take_identity(directory: Path) -> Identity:
    """The first free name of those kept in ``directory`` (made when missing), or a new one.

    Raises OSError when the directory cannot be written to.
    """
    directory.mkdir(parents=True, exist_ok=True)
    number = 0
    while True:
        file = os.open(directory / f"sls-consumer-{number}.name", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            number += 1
            continue
        except OSError:  # a file system without locks: a name for this run alone
            os.close(file)
            return Identity(_new_name(_host()))
        return Identity(_name_in(file), file)


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname()).strip("-")[:40] or "host"


def _new_name(host: str) -> str:
    return f"{host}-{uuid.uuid4().hex[:12]}"


def _name_in(file: int) -> str:
    """The name that is kept in a locked file; a new one where there is none, or where it came from another host."""
    host = _host()
    kept = os.pread(file, 200, 0).decode("ascii", "replace").strip()
    if re.fullmatch(re.escape(host) + r"-[0-9a-f]{12}", kept):
        return kept
    name = _new_name(host)
    os.ftruncate(file, 0)
    os.pwrite(file, f"{name}\n".encode(), 0)
    with contextlib.suppress(OSError):
        os.fsync(file)
    return name
