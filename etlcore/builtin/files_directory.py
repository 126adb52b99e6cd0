"""A directory that files are published into: which are being written, and when each of them is done."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from etlcore.builtin.appender import Appender, AppendError
from etlcore.builtin.files_staged import SUFFIX, Compression, publish


@dataclass(frozen=True, slots=True)
class Rolling:
    """When a file is done."""

    max_bytes: int | None
    """Once it holds so many bytes, before compression."""
    seconds: float | None
    """So long after its first row, whether or not rows come."""
    max_open: int
    """When more files than this are open: then the one is done that was written to longest ago."""


class Directory:
    """The files of one worker, one at a time for each partition.

    `append` returns once the rows are on the disk. When a file is done, it is published. A publication that fails
    takes nothing back: it is tried again with the next rows, by `close`, and by the next run.
    """

    def __init__(
        self,
        target: Path,
        staging: Path,
        prefix: str,
        rolling: Rolling,
        compression: Compression,
        *,
        log: logging.Logger,
    ) -> None:
        """``prefix`` begins the names of the files; no other worker or stage has the same."""
        self._target = target
        self._staging = staging
        self._prefix = prefix
        self._rolling = rolling
        self._compression = compression
        self._log = log
        self._open: dict[str, _Writing] = {}  # by partition, the one written to longest ago first
        self._done: list[tuple[Path, str]] = []  # whole files that could not be published yet, and their partitions
        self._number = 0
        self._changed = threading.Condition()  # its lock guards all of the above
        self._closed = False
        self._clock: threading.Thread | None = None
        if rolling.seconds is not None:
            self._clock = threading.Thread(target=self._publish_in_time, name="etl-files-rolling", daemon=True)
            self._clock.start()

    def append(self, partition: str, data: bytes) -> None:
        """Add whole lines to the partition's file. Raises AppendError: then none of them counts."""
        with self._changed:
            writing = self._open.pop(partition, None) or self._begun(partition)
            self._open[partition] = writing
            writing.appender.append(data)
            if self._rolling.max_bytes is not None and writing.appender.length >= self._rolling.max_bytes:
                self._finish(partition)
            self._try_to_publish()

    def close(self) -> None:
        """Publish everything. Raises AppendError when that fails; the rows are safe all the same."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._clock is not None:
            self._clock.join()
        with self._changed:
            for partition in list(self._open):
                self._finish(partition)
            self._publish_done()

    def _begun(self, partition: str) -> _Writing:
        if len(self._open) >= self._rolling.max_open:
            self._finish(next(iter(self._open)))
        while True:
            self._number += 1
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
            file = self._staging / partition / f"{self._prefix}-{stamp}-{self._number:05d}{SUFFIX}"
            if not file.exists() and not any((self._target / partition).glob(f"{file.name}*")):
                break
        appender = Appender(file, log=self._log)
        appender.open()
        self._changed.notify_all()
        return _Writing(appender, time.monotonic())

    def _finish(self, partition: str) -> None:
        appender = self._open.pop(partition).appender
        appender.close()
        if appender.length:
            self._done.append((appender.file, partition))
        else:
            appender.file.unlink(missing_ok=True)

    def _publish_done(self) -> None:
        while self._done:
            file, partition = self._done[0]
            publish(file, self._target / partition, self._compression)
            self._done.pop(0)
            self._tidy(file.parent)

    def _tidy(self, directory: Path) -> None:
        """Remove what is empty of a partition's place among the unfinished files."""
        with suppress(OSError):  # it is not empty
            while directory != self._staging:
                directory.rmdir()
                directory = directory.parent

    def _try_to_publish(self) -> None:
        try:
            self._publish_done()
        except AppendError as error:
            self._log.warning("%s: its rows are safe in %s, and it is tried again", error, self._staging)

    def _publish_in_time(self) -> None:
        assert self._rolling.seconds is not None
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                for partition, writing in list(self._open.items()):
                    if writing.since + self._rolling.seconds <= now:
                        self._finish(partition)
                self._try_to_publish()
                dues = [writing.since + self._rolling.seconds for writing in self._open.values()]
                if self._done:
                    dues.append(now + self._rolling.seconds)
                self._changed.wait(min(dues) - now if dues else None)


@dataclass(frozen=True, slots=True)
class _Writing:
    appender: Appender
    since: float
    """When its first row came."""
