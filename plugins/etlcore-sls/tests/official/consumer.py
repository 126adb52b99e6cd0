"""The official `ConsumerWorker` as a program of its own: as it is published, with the emulator as its HTTP proxy.

    http_proxy=http://127.0.0.1:PORT python consumer.py '{"port": …, "kind": …, "options": {…}, "timeout": …}'

``port`` is where rows are handed over (`desk.py`), ``kind`` one of `KINDS`, ``options`` go to `LogHubConfig`, and
``timeout`` is the group's. Lines of standard input are orders: ``shutdown``, or ``forward SECONDS``, which sets the
clock of this process forward as an administrator would that of the machine. The program says ``worker ended`` and
``heartbeats ended`` when those threads have ended, and ``poll`` whenever a thread sleeps for exactly half a second,
which is how the worker waits for its shards while it stops.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

from desk import hand_over, say

ahead = 0.0
_now, _sleep = time.time, time.sleep
time.time = lambda: _now() + ahead  # before the SDK is imported: it may copy the name

from aliyun.log.consumer import ConsumerProcessorBase, ConsumerWorker, CursorPosition, LogHubConfig  # noqa: E402
from aliyun.log.consumer.tasks import ConsumerProcessorAdaptor  # noqa: E402

settings: dict[str, Any] = json.loads(sys.argv[1])
port: int = settings["port"]


def numbers(log_groups: Any) -> list[str]:
    """The field ``n`` of each log that a processor is given."""
    return [content.Value for group in log_groups.LogGroups for log in group.Logs for content in log.Contents]


class Commits(ConsumerProcessorBase):  # type: ignore[misc]
    """Commits every batch that was handled."""

    def process(self, log_groups: Any, check_point_tracker: Any) -> None:
        hand_over(port, numbers(log_groups))
        self.save_checkpoint(check_point_tracker, force=True)


class Remembers(ConsumerProcessorBase):  # type: ignore[misc]
    """Saves its place in memory, as the base class does for all that comes within three seconds."""

    def process(self, log_groups: Any, check_point_tracker: Any) -> None:
        hand_over(port, numbers(log_groups))
        check_point_tracker.save_check_point(False)


class WithoutBase(ConsumerProcessorBase):  # type: ignore[misc]
    """Forgets to call the constructor of its base class."""

    def __init__(self) -> None:
        self.count = 0

    def process(self, log_groups: Any, check_point_tracker: Any) -> None:
        self.count += len(hand_over(port, numbers(log_groups)) or ())


def function() -> ConsumerProcessorAdaptor:
    """A function, which says by False that its rows are not to be committed."""
    return ConsumerProcessorAdaptor(lambda shard, log_groups: hand_over(port, numbers(log_groups)))


KINDS = {"commits": Commits, "remembers": Remembers, "without base": WithoutBase, "function": function}


def obey(worker: ConsumerWorker) -> None:
    global ahead
    for line in sys.stdin:
        order, *rest = line.split()
        if order == "forward":
            ahead += float(rest[0])
        else:
            worker.shutdown()


def tell_the_end(thread: threading.Thread, name: str) -> None:
    thread.join()
    say(port, f"{name} ended")


def sleep(seconds: float) -> None:
    if seconds == 0.5:
        say(port, "poll")
    _sleep(seconds)


def main() -> None:
    time.sleep = sleep
    config = LogHubConfig(**settings["options"], cursor_position=CursorPosition.BEGIN_CURSOR)
    config.consumer_group_time_out = settings["timeout"]
    worker = ConsumerWorker(KINDS[settings["kind"]], config)
    worker.start()
    threading.Thread(target=obey, args=(worker,), daemon=True).start()
    while worker.heart_beat.ident is None:  # the worker starts them
        _sleep(0.01)
    tellers = [
        threading.Thread(target=tell_the_end, args=(thread, name))
        for thread, name in ((worker, "worker"), (worker.heart_beat, "heartbeats"))
    ]
    for teller in tellers:
        teller.start()
    for teller in tellers:  # were the interpreter to end first, the worker could do nothing more
        teller.join()


if __name__ == "__main__":
    main()
