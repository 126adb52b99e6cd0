"""The emulator as a process: how it starts, what it says, and when it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aliyun.log import LogClient
from click.testing import CliRunner
from etlcore_sls.cli import sls
from etlcore_sls.emulator import AccessKey, EmulatorError, EmulatorProcess, Samples
from etlcore_sls.emulator.control import RemoteControl

COMMAND = [sys.executable, "-m", "etlcore_sls.emulator"]
PATIENCE = 60.0

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes with their output in pipes; what is still there after the test is killed."""
    started: list[subprocess.Popen[str]] = []

    def run(*command: str, **options: object) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, text=True, **{**pipes, **options})  # type: ignore[call-overload]
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _answers(port: int) -> bool:
    try:
        RemoteControl(f"http://127.0.0.1:{port}").last_event()
    except OSError:
        return False
    return True


def _wait_until_gone(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while _answers(port):
        assert time.monotonic() < deadline, "the emulator is still there"
        time.sleep(0.05)


# --- EmulatorProcess -------------------------------------------------------------------------------------------------


def test_it_answers_when_it_is_made_and_is_gone_when_it_is_closed() -> None:
    with EmulatorProcess(samples=Samples(logs=10, shards=1)) as emulator:
        assert emulator.endpoint == f"http://127.0.0.1:{emulator.port}"
        client = LogClient(emulator.endpoint, emulator.key.access_key_id, emulator.key.secret, source="s")
        client._isRowIp = True
        assert client.list_logstore("demo").get_body()["logstores"] == ["nginx"]
    assert not _answers(emulator.port)
    emulator.close()


def test_keys_are_handed_over_unseen() -> None:
    key = AccessKey("my-id", "my-secret", "my-token")
    with EmulatorProcess(keys=[key]) as emulator:
        assert emulator.key == key
        client = LogClient(emulator.endpoint, key.access_key_id, key.secret, key.security_token, "s")
        client._isRowIp = True
        assert client.list_project().get_count() == 0
        command = ["ps", "-ww", "-o", "args=", "-p", str(emulator.pid)]
        seen_by_all = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "etlcore_sls.emulator" in seen_by_all
    assert "my-secret" not in seen_by_all


def test_ctrl_c_in_the_terminal_does_not_reach_it() -> None:
    with EmulatorProcess() as emulator:
        assert os.getpgid(emulator.pid) != os.getpgid(0)


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EmulatorError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*in use; choose another"):
            EmulatorProcess(port=port)


def test_an_option_that_is_wrong() -> None:
    with pytest.raises(EmulatorError, match="exit status 2"):
        EmulatorProcess(options=["--no-such-option"])


_PARENT = """
import sys
from etlcore_sls.emulator import EmulatorProcess
emulator = EmulatorProcess()
print(emulator.port, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_dies_with_the_process_that_started_it(start: Start, number: int) -> None:
    parent = start(sys.executable, "-c", _PARENT)
    assert parent.stdout is not None
    port = int(parent.stdout.readline())
    assert _answers(port)
    parent.send_signal(number)
    parent.wait(PATIENCE)
    _wait_until_gone(port)


def test_it_ends_when_its_standard_input_does(start: Start) -> None:
    process = start(*COMMAND, "--parent-pipe", "--announce", "--quiet", "--no-samples")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("[]\n")
    process.stdin.flush()
    port = json.loads(process.stdout.readline())["port"]
    assert _answers(port)
    assert process.communicate(timeout=PATIENCE) == ("", ""), "closes standard input, and waits"
    assert process.returncode == 0


# --- the command line ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_stops_cleanly_on_a_signal(start: Start, number: int) -> None:
    process = start(*COMMAND, "--announce", "--logs", "10")
    assert process.stdout is not None
    announcement = json.loads(process.stdout.readline())
    assert announcement["pid"] == process.pid
    port = announcement["port"]
    assert _answers(port)
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, "")
    assert err.splitlines() == [
        f"SLS emulator on http://127.0.0.1:{port}, everything in memory. Ctrl-C stops it.",
        "  sample logs: project demo, logstore nginx",
        "  access key:  etlcore-demo-id / etlcore-demo-secret",
        f"  a pipeline:  endpoint: http://127.0.0.1:{port}",
        f"  SDK and CLI: export http_proxy=http://127.0.0.1:{port}, endpoint http://cn-emulator.log.aliyuncs.com",
    ]


def test_keys_of_ones_own(start: Start) -> None:
    process = start(*COMMAND, "--announce", "--no-samples", "--quiet", "--key", "a:b", "--key", "c:d:token")
    assert process.stdout is not None
    port = json.loads(process.stdout.readline())["port"]
    for key in (("a", "b", None), ("c", "d", "token")):
        client = LogClient(f"http://127.0.0.1:{port}", *key, source="s")
        client._isRowIp = True
        assert client.list_project().get_count() == 0
    process.terminate()
    assert process.communicate(timeout=PATIENCE) == ("", "")


def test_without_announce_a_failure_is_one_line_and_status_2(tmp_path: Path, start: Start) -> None:
    process = start(*COMMAND, "--data", str(tmp_path))
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (2, "")
    assert err == f"etl sls emulator: data file {tmp_path} cannot be opened: Is a directory\n"


def test_a_host_that_is_not_this_machine(start: Start) -> None:
    process = start(*COMMAND, "--host", "no such host", "--no-samples")
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (2, "")
    assert err.startswith("etl sls emulator: cannot listen on no such host: ")
    assert err.endswith("; --host must be an address of this machine\n")


def test_beyond_this_machine_it_warns(start: Start) -> None:
    process = start(*COMMAND, "--host", "0.0.0.0", "--no-samples", "--announce")
    assert process.stdout is not None
    assert _answers(json.loads(process.stdout.readline())["port"])
    process.terminate()
    _, err = process.communicate(timeout=PATIENCE)
    assert "  anyone who reaches this address and knows the access key can read and write\n" in err


def test_standard_input_that_is_no_list_of_keys(start: Start) -> None:
    process = start(*COMMAND, "--parent-pipe")
    _, err = process.communicate("hello\n", timeout=PATIENCE)
    assert process.returncode == 2
    assert err == "etl sls emulator: with --parent-pipe, standard input must begin with a line of keys in JSON\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "70000"], "70000 is not in the range 0<=x<=65535"),
        (["--shards", "0"], "0 is not in the range 1<=x<=1000"),
        (["--logs", "many"], "'many' is not a valid integer range"),
        (["--key", "id-alone"], "'id-alone': write it as ID:SECRET"),
    ],
)
def test_options_that_are_wrong(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(sls, ["emulator", *arguments])
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_help() -> None:
    result = CliRunner().invoke(sls, ["--help"])
    assert result.exit_code == 0
    assert "emulator  Run an SLS server on this machine" in result.output
    result = CliRunner().invoke(sls, ["emulator", "--help"])
    assert result.exit_code == 0
    assert "--data" in result.output
    result = CliRunner().invoke(sls, ["emulate"])
    assert result.exit_code == 2
    assert "No such command 'emulate'" in result.output


_MODULES = """
import sys
from etlcore_sls.emulator import Emulator, Samples, Settings
with Emulator(Settings(samples=Samples(logs=100))) as emulator:
    emulator.control.state()
heavy = {"aliyun", "pyarrow", "pydantic", "requests", "google"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


def test_it_needs_neither_the_sdk_nor_pyarrow(start: Start) -> None:
    out, err = start(sys.executable, "-c", _MODULES).communicate(timeout=PATIENCE)
    assert (out, err) == ("[]\n", "")


def test_the_pytest_plugin_loads_nothing_before_it_is_used(start: Start) -> None:
    code = "import sys, etlcore_sls.pytest_plugin; print([n for n in sys.modules if n.startswith('etlcore_sls.em')])"
    out, err = start(sys.executable, "-c", code).communicate(timeout=PATIENCE)
    assert (out, err) == ("[]\n", "")
