"""The official client's ConsumerWorker as a process of its own: what etlcore is compared with and shares groups with.

    http_proxy=http://127.0.0.1:PORT python official_consumer.py PROJECT LOGSTORE GROUP NAME FILE [HEARTBEAT [FETCH]]

It is used as it is published, with its own defaults where nothing else is said. Each log that it was given is a line of
FILE before it is committed. SIGTERM shuts it down, and its end is waited for.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from aliyun.log.consumer import ConsumerProcessorBase, ConsumerWorker, CursorPosition, LogHubConfig

ENDPOINT = "http://cn-emulator.log.aliyuncs.com"  # never resolved: requests go to the proxy


class Processor(ConsumerProcessorBase):  # type: ignore[misc]
    """Appends the id of each log to a file, then commits."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self._file = file

    def process(self, log_groups: Any, check_point_tracker: Any) -> None:
        ids = [content.Value for group in log_groups.LogGroups for log in group.Logs for content in log.Contents]
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, b"".join(b'{"id": "%s"}\n' % number.encode() for number in ids))
        finally:
            os.close(descriptor)
        self.save_checkpoint(check_point_tracker, force=True)


def main() -> None:
    project, logstore, group, name, file, *times = sys.argv[1:]
    heartbeat = int(times[0]) if times else None
    fetch = float(times[1]) if times[1:] else None
    config = LogHubConfig(
        ENDPOINT,
        os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"],
        os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
        project,
        logstore,
        group,
        name,
        cursor_position=CursorPosition.BEGIN_CURSOR,
        heartbeat_interval=heartbeat,
        data_fetch_interval=fetch,
    )
    worker = ConsumerWorker(Processor, config, args=(file,))
    signal.signal(signal.SIGTERM, lambda number, frame: worker.shutdown())
    worker.start()
    while worker.is_alive():
        worker.join(0.05)


if __name__ == "__main__":
    main()
