"""What `etl run` writes where there is no terminal: lines, JSON, the report, and nothing secret. Real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
from itertools import pairwise
from typing import Any

import pytest

SIMPLE = """
    name: simple
    stages:
      numbers: {source: generate, with: {rows: 5, fields: {n: "{id}"}}}
      out: {sink: console}
"""


def objects(text: str) -> list[dict[str, Any]]:
    """Every line as JSON; each must be one object."""
    found = [json.loads(line) for line in text.splitlines()]
    assert all(isinstance(one, dict) for one in found)
    return found


# -- plain lines ------------------------------------------------------------------------------------------------------


def test_a_status_line_every_few_seconds(gated: Any) -> None:
    run = gated.start("p.yaml")
    run.wait_for("queued")
    (gated.path / "open").touch()
    assert run.end() == 0
    lines = [line for line in run.err.splitlines() if "queued" in line]
    seconds = [float(re.match(r"([\d.]+)s ", line)[1]) for line in lines]  # type: ignore[index]
    assert re.fullmatch(r"[\d.]+s numbers \d+ read [\d.]+/s \| out 3 delivered \| queued \d+", lines[0])
    assert all(later - earlier >= 4.9 for earlier, later in pairwise(seconds))


def test_messages_of_stages_and_of_their_packages(place: Any, site: Any) -> None:
    stage = """
        import logging
        import warnings
        from etlcore import RowTransform

        class Talks(RowTransform):
            def map(self, row):
                self.context.log.info("row %d", row["n"])
                logging.getLogger("talks_stages").info("by its own logger")
                logging.getLogger("someone.else").info("of no interest")
                logging.getLogger("someone.else").warning("of interest")
                warnings.warn("do this instead", UserWarning)
                return row
    """
    plugin = """
        from etlcore import Component, hookimpl

        @hookimpl
        def etl_components():
            yield Component("talks", "transform", "talks_stages:Talks")
    """
    site.install("talks", "1.0", {"talks": "talks"}, {"talks.py": plugin, "talks_stages.py": stage})
    place.env["PYTHONPATH"] = str(site.path)
    place.write(
        "p.yaml",
        """
        stages:
          numbers: {source: generate, with: {rows: 1, fields: {n: "{id}"}}}
          work: {transform: talks}
          out: {sink: console}
        """,
    )
    code, out, err = place.run("p.yaml")
    assert (code, out) == (0, '{"n":0}\n')
    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert re.search(rf"^{moment} INFO    work: row 0$", err, re.MULTILINE)
    assert re.search(rf"^{moment} INFO    talks_stages: by its own logger$", err, re.MULTILINE)
    assert re.search(rf"^{moment} WARNING someone.else: of interest$", err, re.MULTILINE)
    assert re.search(rf"^{moment} WARNING py.warnings: .*UserWarning: do this instead", err, re.MULTILINE)
    assert "of no interest" not in err
    _, _, quiet = place.run("p.yaml", "--quiet", "--state", "other")
    assert "row 0" not in quiet
    assert "of interest" in quiet
    assert "balanced" not in quiet
    _, _, err = place.run("p.yaml", "--log-format", "json", "--state", "third")
    logs = {one["message"]: one for one in objects(err) if one["event"] == "log"}
    assert (logs["row 0"]["stage"], logs["row 0"]["worker"], logs["row 0"]["level"]) == ("work", 0, "info")
    assert logs["of interest"]["logger"] == "someone.else"


# -- quiet ------------------------------------------------------------------------------------------------------------


def test_quiet_says_nothing_when_all_is_well(place: Any) -> None:
    place.write("p.yaml", SIMPLE)
    code, out, err = place.run("p.yaml", "--quiet")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 5


def test_quiet_says_nothing_of_a_drain_that_goes_well(gated: Any) -> None:
    run = gated.start("p.yaml", "-q")
    gated.wait_file("reached")
    run.send(signal.SIGINT)
    (gated.path / "open").touch()
    assert run.end() == 0
    assert run.err == ""


def test_quiet_shows_the_report_when_something_is_wrong(gated: Any) -> None:
    run = gated.start("p.yaml", "-q", "--timeout", "1")
    gated.wait_file("reached")
    run.send(signal.SIGINT)
    assert run.end() == 3
    warning, head, *_ = run.err.splitlines()
    assert warning.startswith("the deadline of 1 s: stopping now. ")
    assert head.startswith("gated: stopped by SIGINT; abandoned at the deadline of 1 s, ")
    assert "stuck: gate: worker 0" in run.err


# -- JSON -------------------------------------------------------------------------------------------------------------


def test_every_line_is_json(gated: Any) -> None:
    run = gated.start("p.yaml", "--log-format", "json", "--report", "report.json")
    gated.wait_file("reached")
    run.wait_for('"event": "status"')
    run.send(signal.SIGINT)
    run.wait_for('"event": "late"')
    (gated.path / "open").touch()
    assert run.end() == 0
    events = objects(run.err)
    assert all({"time", "level", "event"} <= set(event) for event in events)
    first, *_, last = events
    assert (first["event"], first["pipeline"]) == ("started", "gated")
    assert [stage["name"] for stage in first["stages"]] == ["numbers", "gate", "out"]
    (stopping,) = [event for event in events if event["event"] == "stopping"]
    assert (stopping["reason"], stopping["timeout"]) == ("SIGINT", 30.0)
    status = next(event for event in events if event["event"] == "status")
    assert [stage["name"] for stage in status["stages"]] == ["numbers", "gate", "out"]
    assert status["stages"][2]["rows_out"] == 3
    late = next(event for event in events if event["event"] == "late")
    assert (late["stage"], late["busy"], late["level"]) == ("gate", 1, "warning")
    reached = [(event["stage"], event["what"]) for event in events if event["event"] == "stage"]
    drained = [stage for stage, what in reached if what == "drained"]
    assert drained == ["numbers", "gate", "out"]
    assert last["event"] == "report"
    report = gated.json("report.json")
    assert {key: last[key] for key in report} == report


def test_rows_that_are_given_up_are_an_event(gated: Any) -> None:
    run = gated.start("p.yaml", "--log-format", "json", "--quiet")
    gated.wait_file("reached")
    run.send(signal.SIGINT, signal.SIGTERM)
    assert run.end() == 3
    *_, event, report = objects(run.err)
    assert (event["event"], event["level"]) == ("abandoning", "warning")
    # Of two signals at once, the system says which one comes first.
    assert event["because"] in ("a second signal (SIGTERM)", "a second signal (SIGINT)")
    assert report["event"] == "report"


def test_quiet_json_is_quiet(place: Any) -> None:
    place.write("p.yaml", SIMPLE)
    assert place.run("p.yaml", "--quiet", "--log-format", "json") == (0, place.run("p.yaml", "--state", "s")[1], "")


def test_a_wrong_pipeline_in_json(place: Any) -> None:
    place.write("p.yaml", "stages:\n  numbers: {source: generat}\n  out: {sink: consol}\n")
    code, out, err = place.run("p.yaml", "--log-format", "json")
    assert (code, out) == (2, "")
    first, second = objects(err)
    assert (first["event"], first["level"], first["file"], first["line"]) == ("problem", "error", "p.yaml", 2)
    assert "generate" in first["hint"]
    assert second["line"] == 3


# -- the report as data -----------------------------------------------------------------------------------------------


def test_the_report_as_a_file(place: Any) -> None:
    place.write("p.yaml", SIMPLE)
    (place.path / "out").mkdir()
    os.umask(umask := os.umask(0))
    code, _, _ = place.run("p.yaml", "--report", "out/report.json")
    assert code == 0
    report = place.json("out/report.json")
    assert (report["schema"], report["exit_code"], report["pipeline"], report["reason"]) == (
        1,
        0,
        "simple",
        "end of input",
    )
    assert report["balance"]["read"] == report["balance"]["delivered"] == 5
    assert report["balance"]["balanced"] is True
    assert [(row["stage"], row["rows_in"], row["rows_out"]) for row in report["stages"]] == [
        ("numbers", 0, 5),
        ("out", 5, 5),
    ]
    (committed,) = report["committed"]
    assert (committed["partition"], committed["position"], committed["at_end"]) == ("worker 0/1", 5, True)
    assert os.listdir(place.path / "out") == ["report.json"]  # nothing temporary is left
    assert stat.S_IMODE((place.path / "out" / "report.json").stat().st_mode) == 0o666 & ~umask


def test_a_report_replaces_the_former_one_and_follows_links(place: Any) -> None:
    place.write("p.yaml", SIMPLE)
    (place.path / "real.json").write_text("old")
    (place.path / "real.json").chmod(0o640)
    (place.path / "report.json").symlink_to("real.json")
    assert place.run("p.yaml", "--report", "report.json")[0] == 0
    assert (place.path / "report.json").is_symlink()
    assert place.json("real.json")["exit_code"] == 0
    assert stat.S_IMODE((place.path / "real.json").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("no/such/report.json", "--report: the directory no/such does not exist"),
        (".", "--report: . is a directory"),
        ("/dev/null", "--report: /dev/null is not a regular file"),
        ("p.yaml", "--report: p.yaml is the pipeline file"),
    ],
)
def test_a_report_that_cannot_be_written_is_known_before_the_run(place: Any, file: str, message: str) -> None:
    place.write("p.yaml", SIMPLE)
    code, out, err = place.run("p.yaml", "--report", file)
    assert (code, out) == (2, "")
    assert err.startswith(message + "\n  -> ")
    assert not (place.path / ".etl").exists()


# -- the state --------------------------------------------------------------------------------------------------------


def test_where_the_state_is(place: Any) -> None:
    (place.path / "sub").mkdir()
    place.write("sub/p.yaml", SIMPLE)

    def rows(*arguments: str) -> int:
        code, out, _ = place.run("sub/p.yaml", *arguments)
        assert code == 0
        return len(out.splitlines())

    assert rows() == 5
    assert (place.path / "sub" / ".etl").is_dir()
    assert rows() == 0
    assert rows("--state", "given") == 5
    assert (place.path / "given").is_dir()
    place.env["ETL_STATE"] = str(place.path / "from-env")
    assert rows() == 5
    assert (place.path / "from-env").is_dir()
    assert rows("--state", "given") == 0


def test_a_state_that_cannot_be_used(place: Any) -> None:
    place.write("p.yaml", SIMPLE)
    (place.path / "file").write_text("")
    code, out, err = place.run("p.yaml", "--state", "file/state")
    assert (code, out) == (2, "")
    assert err.startswith("the state directory file/state cannot be made: ")
    assert "  -> choose another: --state" in err
    (place.path / "bad").mkdir()
    (place.path / "bad" / "state.db").write_bytes(b"this is no database" * 100)
    code, out, err = place.run("p.yaml", "--state", "bad")
    assert (code, out) == (2, "")
    assert "the state file bad/state.db is not an etlcore state file" in err
    assert "Traceback" not in err
    assert len(err.splitlines()) == 1


def test_dead_letters_are_counted_with_their_place(place: Any) -> None:
    place.write(
        "odd.py",
        """
        from etlcore import Reject

        def even(row):
            if row["n"] % 2:
                raise Reject("odd")
            return row
        """,
    )
    place.write(
        "p.yaml",
        """
        stages:
          numbers: {source: generate, with: {rows: 2000, fields: {n: "{id}"}}}
          even: {transform: python, with: {call: "odd.py:even"}}
          out: {sink: blackhole}
        """,
    )
    code, _, err = place.run("p.yaml")
    assert code == 0
    assert "balanced: 2,000 read = 1,000 delivered + 0 filtered + 1,000 dead-lettered + 0 abandoned" in err
    assert "dead letters: 1,000, in .etl/state.db" in err


# -- wrong command lines ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", ["x", "-1", "nan", "inf", ""])
def test_a_timeout_is_a_number_of_seconds(place: Any, seconds: str) -> None:
    place.write("p.yaml", SIMPLE)
    code, out, err = place.run("p.yaml", "--timeout", seconds)
    assert (code, out) == (2, "")
    assert f"{seconds!r} is no number of seconds\n  -> write --timeout 30" in err


def test_a_wrong_pipeline(place: Any) -> None:
    place.write("p.yaml", "stages:\n  numbers: {source: generat}\n  out: {sink: console}\n")
    code, out, err = place.run("p.yaml")
    assert (code, out) == (2, "")
    assert err.startswith("p.yaml:2:21: ")
    assert "did you mean `generate`?" in err
    code, out, err = place.run("nothing.yaml")
    assert (code, out) == (2, "")
    assert err.startswith("nothing.yaml: cannot be read: No such file or directory")


# -- plugins that watch -----------------------------------------------------------------------------------------------


def test_plugins_are_told_of_drained_stages_and_of_the_end(place: Any, site: Any) -> None:
    plugin = """
        import json, os
        from etlcore import hookimpl

        def note(what):
            with open(os.environ["NOTES"], "a") as file:
                file.write(json.dumps(what) + "\\n")

        @hookimpl
        def etl_stage_drained(pipeline, stage, counts):
            note([pipeline, stage, counts])

        @hookimpl
        def etl_run_finished(report):
            note(report)
    """
    failing = """
        from etlcore import hookimpl

        @hookimpl
        def etl_run_finished(report):
            raise {error}
    """
    site.install("notes", "1.0", {"notes": "notes"}, {"notes.py": plugin})
    site.install("fails", "1.0", {"fails": "fails"}, {"fails.py": failing.format(error="ValueError('no good')")})
    site.install("exits", "1.0", {"exits": "exits"}, {"exits.py": failing.format(error="SystemExit('bye')")})
    site.install("other", "1.0", {"other": "other"}, {"other.py": failing.format(error="ValueError('not asked for')")})
    place.env |= {"PYTHONPATH": str(site.path), "NOTES": str(place.path / "notes")}
    place.write("p.yaml", "plugins: [fails, exits, notes]\n" + "\n".join(line[4:] for line in SIMPLE.splitlines()))
    code, _, err = place.run("p.yaml", "--report", "report.json", "--quiet")
    assert code == 0
    first, second, report = [json.loads(line) for line in (place.path / "notes").read_text().splitlines()]
    assert first[:2] == ["simple", "numbers"]
    assert second[:2] == ["simple", "out"]
    expected = {"workers": 1, "rows_in": 5, "rows_out": 5, "filtered": 0, "added": 0, "dead": 0, "abandoned": 0}
    assert second[2] == expected
    assert report == place.json("report.json")
    warnings = err.splitlines()
    assert len(warnings) == 2
    assert "etl_run_finished of plugin fails (fails) raised ValueError: no good" in warnings[0]
    assert "etl_run_finished of plugin exits (exits) raised SystemExit: bye" in warnings[1]


# -- secrets ----------------------------------------------------------------------------------------------------------


def test_secrets_are_masked_everywhere(place: Any, site: Any) -> None:
    stage = """
        from urllib.parse import quote
        from etlcore import Sink
        from pydantic import BaseModel, SecretStr

        class Leaks(Sink):
            class Config(BaseModel):
                key: SecretStr

            def write(self, batch):
                key = self.config.key.get_secret_value()
                self.context.log.warning("signing with %s", key)
                raise OSError(f"GET /?key={quote(key, safe='')} and {key!r} failed")
    """
    plugin = """
        from etlcore import Component, hookimpl

        @hookimpl
        def etl_components():
            yield Component("leaks", "sink", "leaks_stages:Leaks")
    """
    site.install("leaks", "1.0", {"leaks": "leaks"}, {"leaks.py": plugin, "leaks_stages.py": stage})
    secret = 'a/b"c\nd'
    place.env |= {"PYTHONPATH": str(site.path), "THE_KEY": secret}
    place.write("p.yaml", "stages: {numbers: {source: generate}, out: {sink: leaks, with: {key: '${THE_KEY}'}}}\n")
    for form in ("text", "json"):
        code, _, err = place.run("p.yaml", "--log-format", form, "--log-level", "debug", "--report", "report.json")
        assert code == 1
        assert "signing with ********" in err
        assert "GET /?key=******** and '********' failed" in err
        for written in (err, (place.path / "report.json").read_text()):
            for shown in (secret, "a/b", "a%2Fb", 'b\\"c'):
                assert shown not in written


def test_a_component_that_cannot_be_made(place: Any, site: Any) -> None:
    stage = """
        from etlcore import Sink

        class Picky(Sink):
            def __init__(self, colour):
                pass

            def write(self, batch):
                pass
    """
    plugin = """
        from etlcore import Component, hookimpl

        @hookimpl
        def etl_components():
            yield Component("picky", "sink", "picky_stages:Picky")
    """
    site.install("picky", "1.0", {"picky": "picky"}, {"picky.py": plugin, "picky_stages.py": stage})
    place.env["PYTHONPATH"] = str(site.path)
    place.write("p.yaml", "stages: {numbers: {source: generate}, out: {sink: picky}}\n")
    code, out, err = place.run("p.yaml")
    assert (code, out) == (2, "")
    assert err.startswith("stage `out`: its sink `picky` cannot be made: TypeError: ")
    assert "  -> a component is made without arguments" in err
    assert "Traceback" not in err
