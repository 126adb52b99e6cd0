"""Good files, and what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from etlcore.plugins import Plugins
from etlcore.spec import SpecError, load, load_text
from etlcore.spec.model import Input, Queue, Take

GS = "g: {source: generate}"


def stages(text: str, **more: Any) -> dict[str, Any]:
    return {stage.name: stage for stage in load_text(text, **more).stages}


def test_the_smallest_one_and_its_defaults(tmp_path: Path) -> None:
    file = tmp_path / "numbers 1.yaml"
    file.write_text("stages: {g: {source: generate}, o: {sink: console}}")
    pipeline = load(file)
    assert pipeline.name == "numbers 1"
    assert pipeline.file == file
    assert pipeline.directory == tmp_path.resolve()
    assert (pipeline.shutdown_timeout, pipeline.commit_interval) == (30.0, 1.0)
    source, sink = pipeline.stages
    assert (source.kind, source.component, source.inputs) == ("source", "generate", ())
    assert (sink.kind, sink.component, sink.inputs) == ("sink", "console", (Input("g"),))
    assert sink.cls.__name__ == "Console"
    assert (sink.workers, sink.queue, sink.take, sink.ordered, sink.key) == (1, Queue(), Take(), False, None)
    assert str(sink.place) == f"{file}:1:33"


def test_a_chain_needs_no_from() -> None:
    found = stages(
        """
stages:
  g: {source: generate}
  a: {transform: select, with: {columns: [id]}}
  b: {transform: select, with: {columns: [id]}, from:   a}
  o: {sink: console}
"""
    )
    assert [str(i) for stage in found.values() for i in stage.inputs] == ["g", "a", "b"]


def test_a_diamond_and_a_second_sink() -> None:
    found = stages(
        """
stages:
  g: {source: generate}
  a: {transform: select, with: {columns: [id]}}
  b: {transform: select, with: {columns: [id]}, from: g}
  o: {sink: console, from: [a, b]}
  p: {sink: blackhole, from: [g]}
"""
    )
    assert found["b"].inputs == (Input("g"),)
    assert found["o"].inputs == (Input("a"), Input("b"))
    assert found["p"].inputs == (Input("g"),)


def test_a_stage_may_read_from_one_below_it() -> None:
    found = stages("stages: {o: {sink: console, from: g}, g: {source: generate}}")
    assert found["o"].inputs == (Input("g"),)


def test_named_outputs(probe: None) -> None:
    text = """
stages:
  g: {source: generate}
  r: {transform: probe.route, with: {needed: 1}}
  main: {sink: console}
  errors: {sink: blackhole, from: r.errors}
  late: {sink: blackhole, from: [r.late, g]}
"""
    assert stages(text)["errors"].inputs == (Input("r", "errors"),)
    with pytest.raises(SpecError) as raised:
        load_text(text.replace("r.errors", "r.erors").replace("  late:", "  zzz:").replace("r.late", "r.zzz"))
    assert [(str(p.place)[-4:], p.message, p.hint) for p in raised.value.problems] == [
        (
            ":4:3",
            "nobody reads the output `r.late`: its rows would go nowhere",
            "add a stage with from: r.late (sink: blackhole throws rows away)",
        ),
        ("6:35", "stage `r` has no output `erors`", "did you mean `r.errors`?"),
        ("7:33", "stage `r` has no output `zzz`", "it has `r.errors` and `r.late`, and `r` itself"),
    ]


def test_a_component_that_is_missing_is_the_only_problem() -> None:
    text = """
stages:
  g: {source: generate}
  r: {transform: sort.by_level, with: {anything: 1}}
  o: {sink: console, from: [r.errors, r.late]}
"""
    with pytest.raises(SpecError) as raised:
        load_text(text)
    assert [p.message for p in raised.value.problems] == ["no plugin named `sort` is installed (for `sort.by_level`)"]


def test_the_main_output_of_a_stage_with_named_ones_may_be_unread(probe: None) -> None:
    found = stages(
        """
stages:
  g: {source: generate}
  r: {transform: probe.route, with: {needed: 1}}
  o: {sink: console, from: [r.errors, r.late]}
"""
    )
    assert found["o"].inputs == (Input("r", "errors"), Input("r", "late"))


def test_bounds() -> None:
    found = stages(
        """
defaults:
  workers: 2
  queue: {rows: 100, bytes: 1MiB}
  batch: {rows: 10, seconds: 250ms}
stages:
  g: {source: generate}
  a: {transform: select, with: {columns: [id]}, workers: 4, queue: 20, batch: 1}
  b: {transform: select, with: {columns: [id]}, queue: {bytes: 10 kB}, batch: {bytes: 4 MiB}, key: id}
  o: {sink: console, workers: 1, ordered: on}
"""
    )
    assert (found["g"].workers, found["g"].take) == (2, Take())
    assert (found["a"].workers, found["a"].queue, found["a"].take) == (4, Queue(20, 2**20), Take(rows=1))
    assert (found["b"].workers, found["b"].queue, found["b"].take) == (2, Queue(100, 10_000), Take(bytes=4 * 2**20))
    assert found["b"].key == "id"
    assert (found["o"].queue, found["o"].take) == (Queue(100, 2**20), Take(rows=10, seconds=0.25))
    assert found["o"].ordered is True


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("5", 5),
        ("0.5", 0.5),
        ("500ms", 0.5),
        ("30 s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("1d", 86400),
    ],
)
def test_durations(written: str, seconds: float) -> None:
    text = f"stages: {{{GS}, o: {{sink: console}}}}\nshutdown: {{timeout: {written}}}\ncommit: {{interval: {written}}}"
    pipeline = load_text(text)
    assert (pipeline.shutdown_timeout, pipeline.commit_interval) == (seconds, seconds)


@pytest.mark.parametrize(
    ("written", "size"),
    [("1", 1), ("1_000", 1000), ("10MB", 10**7), ("64MiB", 2**26), ("1.5 kib", 1536), ("2GB", 2 * 10**9)],
)
def test_sizes(written: str, size: int) -> None:
    assert stages(f"stages: {{{GS}, o: {{sink: console, queue: {{bytes: {written}}}}}}}")["o"].queue.bytes == size


def test_anchors_merge_keys_and_keys_for_them() -> None:
    found = stages(
        """
x-busy: &busy {workers: 3, queue: 7}
stages:
  g: {source: generate}
  o: {<<: *busy, sink: console, workers: 2}
"""
    )
    assert (found["o"].workers, found["o"].queue.rows) == (2, 7)


@pytest.mark.parametrize("ends", ["\r\n", "\r", "\n"])
def test_line_ends_and_a_byte_order_mark(tmp_path: Path, ends: str) -> None:
    file = tmp_path / "p.yaml"
    lines = ["# 日志", "stages:", "  g: {source: generate}", "  o: {sink: consle}", ""]
    file.write_bytes(b"\xef\xbb\xbf" + ends.join(lines).encode())
    with pytest.raises(SpecError) as raised:
        load(file)
    assert str(raised.value).splitlines()[:3] == [
        f"{file}:4:13: no plugin named `consle` is installed",
        "      o: {sink: consle}",
        "                ^",
    ]


def test_the_caret_stands_below_wide_characters_and_tabs(tmp_path: Path) -> None:
    text = 'stages:\n  g: {source: generate}\n  o: {description: "日\t志", sink: consle}\n'
    with pytest.raises(SpecError) as raised:
        load_text(text)
    _, line, caret, _ = str(raised.value).splitlines()
    assert line == '      o: {description: "日\t志", sink: consle}'
    assert caret == " " * 26 + "\t" + " " * 11 + "^"


def test_a_long_line_is_cut_around_the_place() -> None:
    text = "stages: {" + ", ".join(f"g{i}: {{source: generate}}" for i in range(500)) + ", o: {sink: consle}}"
    with pytest.raises(SpecError) as raised:
        load_text(text)
    shown = next(str(p) for p in raised.value.problems if "consle" in p.message).splitlines()
    assert len(shown[1]) <= 164
    assert shown[1][shown[2].index("^") :].startswith("consle")


@pytest.mark.parametrize(
    ("make", "message", "hint"),
    [
        (lambda p: None, "cannot be read: No such file or directory", "check the path"),
        (lambda p: p.with_suffix(".yml").write_text(""), "cannot be read: No such file", "did you mean {dir}/p.yml?"),
        (
            lambda p: p.with_name("pp.yaml").write_text(""),
            "cannot be read: No such file",
            "did you mean {dir}/pp.yaml?",
        ),
        (lambda p: p.mkdir(), "cannot be read: Is a directory", ""),
        (lambda p: p.write_bytes(b"a: b\nc: \xff"), "2:4: byte 0xff is not UTF-8", "save the file as UTF-8"),
        (lambda p: p.write_bytes("a: b".encode("utf-16")), "1:1: byte 0xff is not UTF-8", "save the file as UTF-8"),
        (lambda p: p.write_bytes(b"#" * (4 * 1024 * 1024 + 1)), "larger than 4 MiB", "is it a pipeline file?"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, make: Any, message: str, hint: str) -> None:
    file = tmp_path / "p.yaml"
    make(file)
    with pytest.raises(SpecError) as raised:
        load(file)
    (problem,) = raised.value.problems
    assert message in str(problem)
    assert str(file) in str(problem)
    assert hint.format(dir=tmp_path) in problem.hint


def test_plugins_that_no_stage_names_are_loaded_for_their_hooks(site: Any) -> None:
    watcher = """
        from etlcore import hookimpl

        told = []

        @hookimpl
        def etl_run_finished(report):
            told.append(report)
    """
    site.install("watcher", "1", {"watcher": "watcher"}, {"watcher.py": watcher})
    plugins = Plugins()
    load_text(f"plugins: [watcher]\nstages: {{{GS}, o: {{sink: console}}}}", plugins=plugins)
    import watcher as module  # type: ignore[import-not-found]

    plugins.run_finished({"exit": 0})
    assert module.told == [{"exit": 0}]


@pytest.mark.parametrize("file", sorted((Path(__file__).parents[2] / "pipelines").glob("*.yaml")), ids=lambda f: f.name)
def test_the_pipelines_of_this_repository(file: Path) -> None:
    assert load(file, environ={}).stages


def test_thousands_of_stages() -> None:
    chain = "".join(f"  s{i}: {{transform: select, with: {{columns: [id]}}}}\n" for i in range(2000))
    pipeline = load_text(f"stages:\n  {GS}\n{chain}  o: {{sink: console}}\n")
    assert pipeline.stages[-1].inputs == (Input("s1999"),)


def test_transactional_sinks_with_sources_of_their_own() -> None:
    pipeline = load_text(
        """
        stages:
          one: {source: generate}
          two: {source: generate}
          a: {sink: sqlite, from: [one, two], with: {path: a.db, table: a}}
          b: {sink: console, from: one}
          three: {source: generate}
          c: {sink: sqlite, with: {path: a.db, table: c}}
        """
    )
    assert [stage.name for stage in pipeline.stages if stage.cls.__name__ == "SqliteSink"] == ["a", "c"]
