"""Ends of bounded runs: cursors compared, moments to come, names kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from etlcore_sls.holdings import Shard
from etlcore_sls.identity import take_identity
from etlcore_sls.service_clock import ServiceClock
from etlcore_sls.until import Until, at_or_after
from etlcore_sls.wire.cursor import encode_cursor


@pytest.mark.parametrize(
    ("cursor", "end", "reached"),
    [
        (encode_cursor(9), encode_cursor(10), False),
        (encode_cursor(10), encode_cursor(10), True),
        (encode_cursor(100), encode_cursor(20), True),  # as numbers, not as text
        (None, encode_cursor(0), False),
        ("opaque", "opaque", True),
        ("opaque", encode_cursor(0), False),
    ],
)
def test_cursors_are_compared_as_numbers(cursor: str | None, end: str, reached: bool) -> None:
    assert at_or_after(cursor, end) is reached


def test_no_pull_straddles_a_moment_whose_cursors_are_not_known() -> None:
    now = [1000.0]
    until = Until(1010, ServiceClock(lambda: now[0]))
    assert until.pause() == 0
    assert not until.can_be_fixed()
    now[0] = 1009.5
    assert until.pause() > 0
    now[0] = 1010.5  # the service counts whole seconds
    assert until.pause() > 0
    assert not until.can_be_fixed()
    now[0] = 1011
    assert until.can_be_fixed()
    until.fix({0: encode_cursor(5)})
    assert until.pause() == 0
    assert until.end(Shard(0, "shard 0")) == encode_cursor(5)


def test_a_shard_that_is_new_is_beyond_the_end() -> None:
    until = Until("end")
    until.fix({0: encode_cursor(5)})
    assert until.beyond(Shard(1, "shard 1"))
    assert not until.beyond(Shard(0, "shard 0"))


# --- names -----------------------------------------------------------------------------------------------------------


def test_a_name_is_kept_and_used_by_one_at_a_time(tmp_path: Path) -> None:
    first, second = take_identity(tmp_path), take_identity(tmp_path)
    assert first.name != second.name
    name = first.name
    first.close()
    with take_identity(tmp_path) as again:
        assert again.name == name
    second.close()


def test_a_name_is_free_again_however_its_process_ended(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from etlcore_sls.identity import take_identity;"
        "print(take_identity(pathlib.Path(sys.argv[1])).name, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, os.fspath(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        with take_identity(tmp_path) as other:
            assert other.name != name
        process.kill()
        process.wait()
        with take_identity(tmp_path) as again:
            assert again.name == name


@pytest.mark.parametrize("kept", ["", "another-host-0123456789ab\n", "\x00\xff garbage", "a" * 5000])
def test_a_name_that_is_not_ours_is_replaced(tmp_path: Path, kept: str) -> None:
    """A state directory that was copied from another machine must not give two machines one name."""
    file = tmp_path / "sls-consumer-0.name"
    file.write_text(kept)
    with take_identity(tmp_path) as identity:
        assert identity.name not in kept
        assert file.read_text() == f"{identity.name}\n"
