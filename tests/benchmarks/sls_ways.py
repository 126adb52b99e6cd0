"""What `etl run` is measured against, as programs: `python -m … loop|official ENDPOINT GROUP ARGUMENT`.

They print how many logs they have read.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from aliyun.log import LogClient
from aliyun.log.pulllog_response import PullLogResponse

PROJECT, LOGSTORE = "demo", "nginx"
KEY = os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"], os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"]
FETCH_SECONDS = 0.02  # with less it is no faster, and without any pause it keeps a core busy while there is nothing


def loop(endpoint: str, group: str, way: str) -> None:
    """One shard after the other, page after page; no consumer group, and nothing is committed."""
    client = LogClient(endpoint, *KEY, source="loop")
    client._isRowIp = True
    read = {"columns": _columns, "one_column": _one_column, "dicts": _dicts}[way]
    logs = 0
    for shard in client.list_shards(PROJECT, LOGSTORE).get_shards_info():
        cursor = client.get_begin_cursor(PROJECT, LOGSTORE, shard["shardID"]).get_cursor()
        end = client.get_end_cursor(PROJECT, LOGSTORE, shard["shardID"]).get_cursor()
        while cursor != end:
            response = client.pull_logs(PROJECT, LOGSTORE, shard["shardID"], cursor, count=1000, end_cursor=end)
            logs += read(response)
            cursor = response.get_next_cursor()
    print(logs)  # noqa: T201


def _one_column(response: Any) -> int:
    return _columns(response, frozenset({"request_uri"}))


def _columns(response: Any, wanted: frozenset[str] | None = None) -> int:
    from etlcore_sls.body import Columns, read_body

    count = 0
    for piece in read_body(response._raw_uncompressed_body, wanted):
        assert isinstance(piece, Columns)
        count += len(piece.logs.column("request_uri"))
    return count


def _dicts(response: Any) -> int:
    return len([row["request_uri"] for row in response.get_flatten_logs_json()])


def official(endpoint: str, group: str, logs: str) -> None:
    """The official consumer, asked as often as it can be, making the SDK's dicts, with its own checkpoints."""
    from aliyun.log.consumer import ConsumerProcessorBase, ConsumerWorker, CursorPosition, LogHubConfig

    count = 0
    lock, done = threading.Lock(), threading.Event()

    class Processor(ConsumerProcessorBase):  # type: ignore[misc]
        def process(self, log_groups: Any, check_point_tracker: Any) -> None:
            nonlocal count
            dicts = PullLogResponse.loggroups_to_flattern_list(log_groups)
            uris = [row["request_uri"] for row in dicts]
            self.save_checkpoint(check_point_tracker)
            with lock:
                count += len(uris)
                if count >= int(logs):
                    done.set()

    config = LogHubConfig(
        endpoint,
        *KEY,
        PROJECT,
        LOGSTORE,
        group,
        "official",
        cursor_position=CursorPosition.BEGIN_CURSOR,
        heartbeat_interval=1,
        data_fetch_interval=FETCH_SECONDS,
        max_fetch_log_group_size=1000,
        worker_pool_size=4,
    )
    ConsumerWorker(Processor, config).start()
    done.wait()
    print(count, flush=True)  # noqa: T201
    os._exit(0)  # its own way to stop takes seconds, which are not measured here


WAYS: dict[str, Callable[[str, str, str], None]] = {"loop": loop, "official": official}

if __name__ == "__main__":
    WAYS[sys.argv[1]](*sys.argv[2:])
