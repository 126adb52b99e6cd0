"""The official command line (``aliyunlog`` of aliyun-log-cli), with the emulator as its HTTP proxy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from etlcore_sls.emulator import Emulator, Samples
from etlcore_sls.pytest_plugin import EmulatorFactory

ALIYUNLOG = os.environ.get("ALIYUNLOG") or shutil.which("aliyunlog")
pytestmark = pytest.mark.skipif(
    ALIYUNLOG is None,
    reason="needs aliyunlog: pip install aliyun-log-cli in an environment of its own, and set ALIYUNLOG to the command",
)

Command = Callable[..., Any]
WHEN = ("--from_time=2000-01-01 00:00:00", "--to_time=2100-01-01 00:00:00")


@pytest.fixture
def emulator(sls_emulator_factory: EmulatorFactory) -> Emulator:
    return sls_emulator_factory(samples=Samples(logs=240, shards=2))


@pytest.fixture(params=["v1", "v4"])
def aliyunlog(request: pytest.FixtureRequest, emulator: Emulator, tmp_path: Path) -> Command:
    """Run ``aliyunlog log …`` and return what it printed, from JSON."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),  # no configuration but this
        "http_proxy": emulator.endpoint,
    }
    options = [
        f"--access-id={emulator.key.access_key_id}",
        f"--access-key={emulator.key.secret}",
        "--region-endpoint=http://cn-emulator.log.aliyuncs.com",
        f"--sign-version={request.param}",
        "--region-id=cn-emulator",
    ]

    def run(*arguments: str) -> Any:
        assert ALIYUNLOG is not None
        command = [ALIYUNLOG, "log", *arguments, *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    return run


def test_projects_logstores_and_shards(aliyunlog: Command) -> None:
    assert aliyunlog("list_project")["projects"][0]["projectName"] == "demo"
    aliyunlog("create_project", "--project_name=mine", "--project_des=of my own")
    aliyunlog("create_logstore", "--project_name=mine", "--logstore_name=logs", "--shard_count=3")
    assert aliyunlog("list_logstore", "--project_name=mine")["logstores"] == ["logs"]
    place = ("--project_name=mine", "--logstore_name=logs")
    aliyunlog("split_shard", *place, "--shardId=0", f"--split_hash={'1' * 32}")
    aliyunlog("merge_shard", *place, "--shardId=1")
    statuses = [(shard["shardID"], shard["status"]) for shard in aliyunlog("list_shards", *place)]
    assert statuses == [(n, "readonly" if n < 3 else "readwrite") for n in range(6)]


def test_logs_are_pulled_and_read_by_time(aliyunlog: Command) -> None:
    pulled = aliyunlog("pull_log", "--project_name=demo", "--logstore_name=nginx", "--shard_id=0", *WHEN)
    assert pulled["count"] == 120
    assert pulled["logs"][0]["__topic__"] == "nginx_access"
    logs = aliyunlog("get_log", "--project=demo", "--logstore=nginx", "--offset=200", *WHEN)
    assert len(logs) == 40
    assert all(log["request_uri"].startswith("/") for log in logs)


def test_consumer_groups_and_their_checkpoints(aliyunlog: Command, emulator: Emulator) -> None:
    place = ("--project=demo", "--logstore=nginx")
    aliyunlog("create_consumer_group", *place, "--consumer_group=mine", "--timeout=60")
    assert aliyunlog("list_consumer_group", *place) == [{"name": "mine", "order": False, "timeout": 60}]
    end = aliyunlog("get_end_cursor", "--project_name=demo", "--logstore_name=nginx", "--shard_id=1")["cursor"]
    group = (*place, "--consumer_group=mine")
    aliyunlog("update_check_point", *group, "--shard=1", f"--check_point={end}", "--force_success=true")
    checkpoints = aliyunlog("get_check_point_fixed", *group)
    assert [one["checkpoint"] for one in checkpoints] == ["", end]
    assert emulator.control.group_state("demo", "nginx", "mine")["rows_behind"] == 120
