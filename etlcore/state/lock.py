"""One run at a time: a lock on a file in the state directory, for each pipeline.

The system gives the lock back however the process ends, kill -9 included. The file says who holds it, so that a
second run can be told; it is never removed, as two processes could then hold a lock on two files of one name.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import socket
import time
import weakref
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from etlcore.state.database import make_directory
from etlcore.state.errors import StateError, from_os

log = logging.getLogger("etlcore")

_PATIENCE = 10.0  # seconds for a holder that has just come to say who it is, and for who merely looks
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a pipeline to itself, as it said."""

    pipeline: str
    what: str
    """``run``, ``replay`` or ``reset``."""
    pid: int
    host: str
    started: str
    """ISO 8601 in UTC."""
    run: str | None = None
    """The id of its run, once it has one."""

    def __str__(self) -> str:
        since = datetime.fromisoformat(self.started).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        return f"{self.what}{f' {self.run}' if self.run else ''}, process {self.pid} on {self.host}, since {since}"

    @property
    def here(self) -> bool:
        """It is, or was, on this machine."""
        return self.host == socket.gethostname()

    def may_live(self) -> bool:
        """False when its process is known to have ended."""
        if not self.here:
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True


class AlreadyRunning(StateError):
    """Somebody else has the pipeline to itself; ``holder`` says who, where that is known."""

    def __init__(self, pipeline: str, directory: Path, what: str, holder: Holder | None) -> None:
        if holder is None:
            who, step = "another process", "wait until it has ended"
        else:
            who = str(holder)
            step = f"stop it first (kill {holder.pid})" if holder.here else f"stop it first, on {holder.host}"
            if holder.here and holder.pid == os.getpid():
                step = "it is on another thread of this program: wait until it has ended"
        if what == "run":
            step += ", or give this run a state directory of its own: --state"
        super().__init__(f"the pipeline {pipeline} is in use with the state directory {directory}, by {who}: {step}")
        self.holder = holder


class RunLock:
    """A pipeline to oneself, from `hold` until `release` or the end of the process."""

    def __init__(self, file: int | None, holder: Holder) -> None:
        self._file = file
        self._holder = holder
        if file is not None:
            _held.add(self)

    def note_run(self, run: str) -> None:
        """Say which run it is."""
        self._holder = replace(self._holder, run=run)
        self._say(self._holder)

    def release(self) -> None:
        if self._file is not None:
            self._say(None)
            self._forget()

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def _say(self, holder: Holder | None) -> None:
        # Who holds the lock is for people: a full disk must not keep the run from going on.
        if self._file is not None:
            with suppress(OSError):
                os.ftruncate(self._file, 0)
                if holder is not None:
                    os.pwrite(self._file, (json.dumps(asdict(holder)) + "\n").encode(), 0)

    def _forget(self) -> None:
        """Close the file; the lock goes with the last descriptor that shares it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


_held: weakref.WeakSet[RunLock] = weakref.WeakSet()


def _leave_to_parent() -> None:
    # A process forked by a stage must not keep the lock when its parent is killed.
    for lock in list(_held):
        lock._forget()


os.register_at_fork(after_in_child=_leave_to_parent)


def hold(directory: Path, pipeline: str, what: str) -> RunLock:
    """Have a pipeline to oneself; the state directory is made when it is missing.

    Raises AlreadyRunning when somebody else has it, and StateError when the directory cannot be used.
    """
    make_directory(directory)
    path = lock_file(directory, pipeline)
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise from_os(path, error, "the lock file") from error
    own = Holder(pipeline, what, os.getpid(), socket.gethostname(), datetime.now(UTC).isoformat(timespec="seconds"))
    try:
        locked = _lock(file, path, directory, own)
    except BaseException:
        os.close(file)
        raise
    if not locked:
        os.close(file)
        return RunLock(None, own)
    lock = RunLock(file, own)
    lock._say(own)
    return lock


def _lock(file: int, path: Path, directory: Path, own: Holder) -> bool:
    """True once the lock is ours; False on a file system that has none."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            holder = _read(file)
            if holder is not None and holder.may_live():
                raise AlreadyRunning(own.pipeline, directory, own.what, holder) from None
            # What is written there is of an earlier one: whoever holds it now is about to say so, or merely looks.
            if time.monotonic() > deadline:
                raise AlreadyRunning(own.pipeline, directory, own.what, None) from None
            time.sleep(0.02)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise from_os(path, error, "the lock file") from error
            log.warning(
                "%s: its file system has no locks, so nothing keeps a second run of %s away", directory, own.pipeline
            )
            return False


def holder_of(directory: Path, pipeline: str) -> Holder | None:
    """Who has a pipeline to itself at the moment; None when nobody has. Raises StateError."""
    path = lock_file(directory, pipeline)
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(
            f"the lock file {path} cannot be read ({error.strerror}): look at it as the user whose it is"
        ) from error
    try:
        holder = _read(file)
        if holder is None:
            return None  # given back in order
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(file) or holder
        except OSError:  # no locks there
            return holder if holder.may_live() else None
        return None  # its holder was killed
    finally:
        os.close(file)


def lock_file(directory: Path, pipeline: str) -> Path:
    """Where the lock of a pipeline is: its name made fit for every file system, and told apart from similar ones."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", pipeline).strip("-")[:40]
    digest = hashlib.sha256(pipeline.encode()).hexdigest()[:12]
    return directory / f"{readable}-{digest}.lock"


def _read(file: int) -> Holder | None:
    """Who is named in a lock file; None while that is being written, or when it says nothing."""
    try:
        found: Any = json.loads(os.pread(file, 4096, 0))
        return Holder(**found)
    except (OSError, ValueError, TypeError):
        return None
