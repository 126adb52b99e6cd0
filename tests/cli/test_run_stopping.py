"""`etl run` from outside: signals, the deadline, exit codes, and what the next run reads. Real ones."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
Numbers = Callable[[str], list[int]]


def test_a_run_to_the_end_of_its_input(gated: Any, numbers: Numbers) -> None:
    (gated.path / "open").touch()
    code, out, err = gated.run("p.yaml")
    assert code == 0
    assert numbers(out) == list(range(20))
    first, *report = err.splitlines()
    assert first == "gated: 3 stages; state in .etl"
    assert report[0].startswith("gated: end of input, ")
    assert report[1:] == [
        "stage    worker  in  out  filtered  dead  abandoned",
        "numbers  1       -   20   -         -     -",
        "gate     1       20  20   0         0     0",
        "out      1       20  20   -         0     0",
        "balanced: 20 read = 20 delivered + 0 filtered + 0 dead-lettered + 0 abandoned",
        "committed: numbers: worker 0/1, at the end",
    ]


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.name)
def test_a_signal_drains_what_was_read(gated: Any, numbers: Numbers, stop: signal.Signals) -> None:
    run = gated.start("p.yaml")
    gated.wait_file("reached")
    run.send(stop)
    run.wait_for(f"{stop.name}: reading nothing new; draining, at most 30 s. A second signal abandons what is left.\n")
    (gated.path / "open").touch()
    assert run.end() == 0
    first = numbers(run.out)
    assert first == list(range(len(first)))
    assert 4 <= len(first) < 20  # the queue held some, and not all
    assert f"gated: stopped by {stop.name}, " in run.err
    assert f"balanced: {len(first)} read = {len(first)} delivered" in run.err
    assert "committed: numbers: worker 0/1, all that was read" in run.err
    code, out, _ = gated.run("p.yaml")
    assert code == 0
    assert numbers(out) == list(range(len(first), 20))


def test_a_second_signal_abandons_and_the_next_run_reads_exactly_that_again(gated: Any, numbers: Numbers) -> None:
    run = gated.start("p.yaml", "--report", "report.json")
    gated.wait_file("reached")
    run.wait_for('{"n":2}', "out")
    run.send(signal.SIGINT)
    run.wait_for("reading nothing new")
    run.send(signal.SIGTERM)
    assert run.end() == 3
    assert numbers(run.out) == [0, 1, 2]
    report = gated.json("report.json")
    done = report["balance"]["delivered"]
    assert done in (2, 3)  # the third row is printed; whether the sink's worker came to say so is another matter
    left = report["balance"]["read"] - done
    now = "a second signal (SIGTERM): stopping now. Rows in flight are abandoned; the next run reads them again.\n"
    assert now in run.err.partition("gated: stopped by SIGINT")[0], "before the report"
    assert "gated: stopped by SIGINT; abandoned at a second signal (SIGTERM), " in run.err
    assert "still busy: gate: worker 0: 1 row for " in run.err
    assert f"{done} delivered + 0 filtered + 0 dead-lettered + {left} abandoned" in run.err
    assert f"behind: numbers: worker 0/1: {left} rows read and not committed" in run.err
    assert run.err.splitlines()[-1] == f"exit 3: {left} rows were abandoned; the next run reads them again"
    assert (report["exit_code"], report["abandoned_because"]) == (3, "a second signal (SIGTERM)")
    (gated.path / "open").touch()
    code, out, _ = gated.run("p.yaml")
    assert code == 0
    assert numbers(out) == list(range(done, 20))


def test_a_third_signal_ends_the_process_at_once(gated: Any, numbers: Numbers) -> None:
    run = gated.start("p.yaml")
    gated.wait_file("reached")
    run.wait_for('{"n":2}', "out")
    run.send(signal.SIGINT)
    run.wait_for("reading nothing new")
    run.send(signal.SIGTERM, signal.SIGHUP)  # both are pending before the process sees either
    assert run.end() == 3
    assert "balanced" not in run.err
    (gated.path / "open").touch()
    code, out, _ = gated.run("p.yaml")
    assert code == 0
    assert numbers(run.out + out)[-17:] == list(range(3, 20))  # none is missing; some may come twice


def test_at_the_deadline_the_stuck_worker_is_named_with_its_stack(gated: Any) -> None:
    run = gated.start("p.yaml", "--timeout", "1", "--report", "report.json")
    gated.wait_file("reached")
    run.send(signal.SIGINT)
    assert run.end() == 3
    assert "draining, at most 1 s." in run.err
    assert "\nthe deadline of 1 s: stopping now. Rows in flight are abandoned; " in run.err
    assert "abandoned at the deadline of 1 s, " in run.err
    lines = run.err.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("stuck: gate: worker 0: 1 row for "))
    assert lines[at].endswith(", in process")
    stack = lines[at + 1 : -1]
    assert any("gate.py" in line and "in pass_gate" in line for line in stack)
    assert any("in wait_in_the_gate" in line for line in stack)
    assert not any("threading.py" in line for line in stack)
    assert lines[-1].startswith("exit 3: ")
    (stuck,) = gated.json("report.json")["stuck"]
    assert (stuck["stage"], stuck["worker"], stuck["rows"], stuck["doing"]) == ("gate", 0, 1, "process")
    assert any("wait_in_the_gate" in frame for frame in stuck["stack"])


def test_a_drain_names_who_is_late(gated: Any) -> None:
    run = gated.start("p.yaml")
    gated.wait_file("reached")
    run.send(signal.SIGINT)
    run.wait_for("draining: waiting for gate: ")
    (gated.path / "open").touch()
    assert run.end() == 0
    (line, *_) = [line for line in run.err.splitlines() if "waiting for" in line]
    assert " (1 worker busy, in process), the oldest for " in line
    assert line.endswith(" s left")


def test_the_end_of_input_has_no_deadline_while_rows_move(place: Any) -> None:
    # Six rows of half a second each take longer than the deadline of one second that a stop would have.
    place.write("slow.py", "import time\n\n\ndef work(row):\n    time.sleep(0.5)\n    return row\n")
    place.write(
        "p.yaml",
        """
        stages:
          numbers: {source: generate, with: {rows: 6, fields: {n: "{id}"}}}
          slow: {transform: python, with: {call: "slow.py:work"}, batch: {rows: 1}}
          out: {sink: blackhole}
        """,
    )
    code, _, err = place.run("p.yaml", "--timeout", "1")
    assert code == 0
    assert "6 delivered" in err


def test_a_stage_that_fails_stops_the_run_and_the_cause_is_named_once(place: Any, numbers: Numbers) -> None:
    place.write(
        "bad.py", "def work(row):\n    if row['n'] == 5:\n        raise ValueError('five is right out')\n    return row"
    )
    place.write(
        "p.yaml",
        """
        stages:
          numbers: {source: generate, with: {rows: null, batch: 1, fields: {n: "{id}"}}}
          bad: {transform: python, with: {call: "bad.py:work"}, queue: {rows: 2}, batch: {rows: 1}}
          out: {sink: console}
        """,
    )
    code, out, err = place.run("p.yaml", "--report", "report.json")
    assert code == 1
    assert numbers(out) == [0, 1, 2, 3, 4]
    assert "stage bad failed: reading nothing new; draining, at most 30 s." in err
    assert err.count("five is right out") == 1
    lines = err.splitlines()
    assert lines[-3].startswith("cause: stage bad, in process (1 row in hand): ")
    assert "ValueError: five is right out" in lines[-3]
    assert lines[-2] == "  --log-level debug (or ETL_DEBUG=1) shows the traceback"
    assert lines[-1].startswith("exit 1: stage bad stopped the run; ")
    assert re.search(r" abandoned; the next run reads (it|them) again$", lines[-1])
    assert "Traceback" not in err
    (failure,) = place.json("report.json")["failures"]
    assert (failure["stage"], failure["during"]) == ("bad", "process")
    assert "Traceback" in failure["traceback"]
    place.env["ETL_DEBUG"] = "1"
    code, _, err = place.run("p.yaml")
    assert code == 1
    assert "Traceback" in err
    assert "line 3, in work" in err


def test_workers_that_fail_alike_are_one_cause(place: Any) -> None:
    place.write(
        "bad.py",
        """
        import threading

        TOGETHER = threading.Barrier(3)

        def work(row):
            TOGETHER.wait(60)
            raise ValueError("alike")
        """,
    )
    place.write(
        "p.yaml",
        """
        stages:
          numbers: {source: generate, with: {rows: 100}}
          bad: {transform: python, with: {call: "bad.py:work"}, workers: 3, batch: {rows: 1}}
          out: {sink: blackhole}
        """,
    )
    code, _, err = place.run("p.yaml", "--quiet")
    assert code == 1
    assert err.count("alike") == 1
    assert re.search(
        r"^cause: stage bad, in process \(3 rows in hand\): .*ValueError: alike.*\n"
        r"  and 2 more workers of bad in the same way$",
        err,
        re.MULTILINE,
    )


def test_a_stage_that_cannot_open_stops_the_run_before_a_row_is_read(place: Any) -> None:
    place.write("out.py", "raise OSError('no such server')\n\n\ndef write(row):\n    pass\n")
    place.write("p.yaml", "stages: {numbers: {source: generate}, out: {sink: python, with: {call: 'out.py:write'}}}\n")
    code, _, err = place.run("p.yaml")
    assert code == 1
    assert "cause: stage out, in open: " in err
    assert "no such server" in err
    assert "balanced: 0 read" in err
    assert err.splitlines()[-1] == "exit 1: stage out stopped the run"


IMPORT_BLOCKS = """
    import pathlib
    from etlcore import Component, hookimpl

    HERE = pathlib.Path(__file__).parent
    (HERE / "importing").touch()
    (HERE / "fifo").read_text()

    @hookimpl
    def etl_components():
        yield Component("blocks", "source", "blocks:Never")
"""


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.name)
def test_a_signal_while_a_plugin_is_imported_ends_cleanly(place: Any, site: Any, stop: signal.Signals) -> None:
    site.install("blocks", "1.0", {"blocks": "blocks"}, {"blocks.py": IMPORT_BLOCKS})
    os.mkfifo(site.path / "fifo")
    place.env["PYTHONPATH"] = str(site.path)
    place.write("p.yaml", "stages: {numbers: {source: blocks}, out: {sink: console}}\n")
    run = place.start("p.yaml", "--report", "report.json")
    place.wait_file("site/importing")
    run.send(stop)
    assert run.end() == 0
    assert run.err == f"{stop.name} before the run had begun: nothing was read\n"
    assert run.out == ""
    assert not (place.path / "report.json").exists()
    assert not (place.path / ".etl").exists()


def test_a_reader_that_leaves_is_the_cause(gated: Any) -> None:
    (gated.path / "open").touch()
    gated.write(
        "p.yaml", "stages: {numbers: {source: generate, with: {rows: null, batch: 10}}, out: {sink: console}}\n"
    )
    reading, writing = os.pipe()
    run = gated.start("p.yaml", stdout=writing)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.readline().startswith('{"id":0,')
    assert run.end() == 1
    assert run.err.count("standard output was closed by its reader") == 1
    assert "cause: stage out, in write" in run.err
    assert "Traceback" not in run.err
    assert "Exception ignored" not in run.err


def test_the_run_goes_on_when_nobody_reads_its_messages(gated: Any, numbers: Numbers) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [str(gated.etl), "run", "p.yaml"]
    (gated.path / "open").touch()
    done = subprocess.run(
        command, cwd=gated.path, env=gated.env, stdout=subprocess.PIPE, stderr=writing, timeout=120, text=True
    )
    os.close(writing)
    assert done.returncode == 0
    assert numbers(done.stdout) == list(range(20))


def test_both_outputs_closed_by_one_reader(gated: Any) -> None:
    gated.write(
        "p.yaml", "stages: {numbers: {source: generate, with: {rows: null, batch: 10}}, out: {sink: console}}\n"
    )
    script = '"$0" run p.yaml 2>&1 | head -1; exit ${PIPESTATUS[0]}'
    command = ["bash", "-c", script, str(gated.etl)]
    done = subprocess.run(command, cwd=gated.path, env=gated.env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stdout == "p: 2 stages; state in .etl\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    "left",
    [
        "threading.Thread(target=threading.Event().wait, name='forgotten', daemon=False).start()",
        "futures.ThreadPoolExecutor(1, 'forgotten').submit(threading.Event().wait)",
    ],
    ids=["thread", "pool"],
)
def test_a_thread_that_a_plugin_left_behind_does_not_keep_the_process(place: Any, left: str) -> None:
    place.write(
        "leaves.py", f"import threading\nfrom concurrent import futures\n\n{left}\n\ndef work(row):\n    return row\n"
    )
    place.write(
        "p.yaml",
        """
        stages:
          numbers: {source: generate, with: {rows: 5}}
          work: {transform: python, with: {call: "leaves.py:work"}}
          out: {sink: blackhole}
        """,
    )
    code, _, err = place.run("p.yaml")
    assert code == 0
    assert "5 delivered" in err
    assert "etl: ended without threads that were left behind and did not end: forgotten" in err


def test_a_worker_stuck_in_close_is_named_and_does_not_keep_the_process(place: Any, site: Any) -> None:
    stage = """
        import threading
        from etlcore import Sink

        class Stays(Sink):
            def write(self, batch):
                pass

            def close(self):
                threading.Event().wait()
    """
    plugin = """
        from etlcore import Component, hookimpl

        @hookimpl
        def etl_components():
            yield Component("stays", "sink", "stays_stages:Stays")
    """
    site.install("stays", "1.0", {"stays": "stays"}, {"stays.py": plugin, "stays_stages.py": stage})
    place.env["PYTHONPATH"] = str(site.path)
    place.write("p.yaml", "stages: {numbers: {source: generate, with: {rows: 5}}, out: {sink: stays}}\n")
    code, _, err = place.run("p.yaml", "--timeout", "1")
    assert code == 3
    assert "stuck: out: worker 0: 0 rows for 0 s, in close" in err
    assert err.splitlines()[-1] == "exit 3: no row was lost, but a stage did not end by itself"


@pytest.mark.parametrize("write", ["print('x' * 10_000_000)", "os.write(1, b'x' * 10_000_000)"])
def test_a_worker_stuck_in_writing_to_standard_output(place: Any, write: str) -> None:
    place.write("big.py", f"import os\n\ndef write(row):\n    open('reached', 'w').close()\n    {write}\n")
    place.write("p.yaml", "stages: {numbers: {source: generate}, out: {sink: python, with: {call: 'big.py:write'}}}\n")
    reading, writing = os.pipe()  # nobody reads
    run = place.start("p.yaml", "--timeout", "1", stdout=writing)
    place.wait_file("reached")
    run.send(signal.SIGINT)
    assert run.end() == 3
    assert "stuck: out: worker 0: 1,000 rows for " in run.err
    assert "Fatal" not in run.err
    os.close(reading)
    os.close(writing)


def test_a_reader_that_reads_no_messages_holds_up_nothing(place: Any) -> None:
    place.write(
        "noisy.py",
        """
        def work(row, context):
            context.log.warning("x" * 500)
            if row["n"] == 2000:  # far more than a pipe holds
                open("reached", "w").close()
            return row
        """,
    )
    place.write(
        "p.yaml",
        """
        stages:
          numbers: {source: generate, with: {rows: null, batch: 1, fields: {n: "{id}"}}}
          noisy: {transform: python, with: {call: "noisy.py:work"}, queue: {rows: 10}}
          out: {sink: blackhole}
        """,
    )
    reading, writing = os.pipe()
    command = [str(place.etl), "run", "p.yaml", "--report", "report.json"]
    process = subprocess.Popen(command, cwd=place.path, env=place.env, stderr=writing)
    try:
        place.wait_file("reached")
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    finally:
        process.kill()
        os.close(reading)
        os.close(writing)
    report = place.json("report.json")
    assert report["reason"] == "SIGTERM"
    assert report["balance"]["delivered"] == report["balance"]["read"] > 2000


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.name)
def test_a_signal_while_the_interpreter_shuts_down_changes_nothing(place: Any, stop: signal.Signals) -> None:
    """The report has said how the run ended; by then the interpreter has put the system's own handlers back."""
    place.write(
        "last.py",
        f"""
        import os

        class Last:
            def __del__(self, kill=os.kill, process=os.getpid()):
                kill(process, {int(stop)})

        last = Last()

        def write(row):
            pass
        """,
    )
    place.write(
        "p.yaml",
        "stages: {in: {source: generate, with: {rows: 3}}, out: {sink: python, with: {call: 'last.py:write'}}}\n",
    )
    code, _, err = place.run("p.yaml")
    assert "balanced: 3 read = 3 delivered" in err
    assert code == 0
