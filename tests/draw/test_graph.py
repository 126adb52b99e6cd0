"""`etl graph`: every stage and every edge is in the drawing, and nothing lies on top of anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etlcore import draw
from etlcore.plugins import Plugins
from etlcore.spec import load_text
from etlcore.spec.model import Pipeline

ETL = str(Path(sys.executable).with_name("etl"))
PLUGINS = Plugins()
SVG = "{http://www.w3.org/2000/svg}"

DIAMOND = """
name: diamond
stages:
  numbers: {source: generate}
  left: {transform: select, with: {columns: {id: id}}, from: numbers, workers: 4}
  right: {transform: parse_uri, with: {column: uri}, from: numbers, workers: 2, ordered: true}
  joined: {sink: console, from: [left, right], workers: 2, key: id}
  raw: {sink: blackhole, from: numbers}
"""


def test_text() -> None:
    assert draw.text(load_text(DIAMOND)).splitlines() == [
        "numbers (source generate)",
        "├─ left (transform select, 4 workers)",
        "│  └─ joined (sink console, 2 workers, by id)",
        "├─ right (transform parse_uri, 2 workers, ordered)",
        "│  └─ joined (above)",
        "└─ raw (sink blackhole)",
    ]


def test_mermaid() -> None:
    assert draw.mermaid(load_text(DIAMOND)).splitlines() == [
        "flowchart LR",
        '    s0(["numbers<br>source generate"])',
        '    s1["left<br>transform select, 4 workers"]',
        '    s2["right<br>transform parse_uri, 2 workers, ordered"]',
        '    s3[("raw<br>sink blackhole")]',
        '    s4[("joined<br>sink console, 2 workers, by id")]',
        "    s0 --> s1",
        "    s0 --> s2",
        "    s0 --> s3",
        "    s1 --> s4",
        "    s2 --> s4",
    ]


def test_named_outputs_are_named(site: object) -> None:
    """In all three."""
    from tests.spec.conftest import PLUGIN, STAGES

    site.install("probe-etl", "1.0", {"probe": "probe_etl"}, {"probe_etl.py": PLUGIN, "probe_stages.py": STAGES})  # type: ignore[attr-defined]
    pipeline = load_text(
        "stages:\n"
        "  g: {source: generate}\n"
        "  r: {transform: probe.route, with: {needed: 1}}\n"
        "  a: {sink: blackhole}\n"
        "  b: {sink: blackhole, from: [r.errors, r.late]}\n"
    )
    assert "[errors]─ b (sink blackhole)" in draw.text(pipeline)
    assert '-->|"late"|' in draw.mermaid(pipeline)
    assert {element.text for element in ElementTree.fromstring(draw.svg(pipeline)).iter(f"{SVG}text")} >= {
        "errors",
        "late",
    }


@st.composite
def pipelines(draw_: st.DrawFn) -> Pipeline:
    """Any graph: each transform and sink reads from some of the stages above it, and every output is read."""
    count = draw_(st.integers(1, 9))
    lines, readable, unread = ["stages:"], list[str](), set[str]()
    for number in range(count):
        name = f"s{number}_{'long_' * draw_(st.integers(0, 4))}"
        if readable and draw_(st.booleans()):
            inputs = draw_(st.lists(st.sampled_from(readable), min_size=1, max_size=4, unique=True))
            workers = draw_(st.integers(1, 3))
            lines.append(
                f"  {name}: {{transform: filter, with: {{where: id > 1}}, from: {inputs}, workers: {workers}}}"
            )
            unread -= set(inputs)
        else:
            lines.append(f"  {name}: {{source: generate}}")
        readable.append(name)
        unread.add(name)
    sinks = draw_(st.integers(1, 3))
    for number in range(sinks):
        rest = unread if number == 0 else set(draw_(st.lists(st.sampled_from(readable), min_size=1, unique=True)))
        lines.append(f"  out{number}: {{sink: blackhole, from: {sorted(rest)}}}")
    return load_text("\n".join(lines), plugins=PLUGINS)


@settings(max_examples=60, deadline=None)
@given(pipelines())
def test_boxes_are_apart_and_edges_run_between_them(pipeline: Pipeline) -> None:
    drawing = ElementTree.fromstring(draw.svg(pipeline))
    width, height = float(drawing.get("width", 0)), float(drawing.get("height", 0))
    boxes = [
        tuple(float(rect.get(key, 0)) for key in ("x", "y", "width", "height")) for rect in drawing.iter(f"{SVG}rect")
    ]
    assert len(boxes) == len(pipeline.stages)
    for index, (x, y, w, h) in enumerate(boxes):
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height + 1
        for x2, y2, w2, h2 in boxes[:index]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 + 0.2 or y2 + h2 <= y + 0.2, "two boxes overlap"
    edges = [path for path in drawing.iter(f"{SVG}path") if path.get("class") == "edge"]
    assert len(edges) == sum(len(stage.inputs) for stage in pipeline.stages)
    assert [text.text for text in drawing.iter(f"{SVG}text") if text.get("class") == "name"] != []
    assert {stage.name for stage in pipeline.stages} <= {text.text for text in drawing.iter(f"{SVG}text")}

    lines = draw.text(pipeline)
    chart = draw.mermaid(pipeline)
    for stage in pipeline.stages:
        assert f"{stage.name} (" in lines
        assert f'"{stage.name}<br>' in chart
    assert chart.count("-->") == len(edges)


def test_a_chain_that_is_longer_than_pythons_stack() -> None:
    stages = [f"  s{number}: {{transform: filter, with: {{where: id > 1}}}}" for number in range(1100)]
    pipeline = load_text("\n".join(["stages:", "  in: {source: generate}", *stages, "  out: {sink: blackhole}"]))
    assert len(draw.text(pipeline).splitlines()) == 1102
    assert draw.mermaid(pipeline).count("-->") == 1101


@pytest.mark.parametrize(
    ("arguments", "begins"),
    [
        ([], "numbers (source generate)\n"),
        (["--format", "mermaid"], "flowchart LR\n"),
        (["--format", "svg"], "<svg "),
        (["-o", "p.svg"], "<svg "),
        (["-o", "p.mmd"], "flowchart LR\n"),
        (["-o", "p.txt"], "numbers (source generate)\n"),
        (["-o", "p.svg", "--format", "text"], "numbers (source generate)\n"),
    ],
)
def test_the_command(tmp_path: Path, arguments: list[str], begins: str) -> None:
    (tmp_path / "p.yaml").write_text(DIAMOND, encoding="utf-8")
    done = subprocess.run(
        [ETL, "graph", "p.yaml", *arguments], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    shown = done.stdout
    if "-o" in arguments:
        assert shown == ""
        shown = (tmp_path / arguments[1]).read_text(encoding="utf-8")
    assert shown.startswith(begins)
    assert shown.endswith("\n")


def graph_to(target: Path | str, directory: Path) -> subprocess.CompletedProcess[str]:
    (directory / "p.yaml").write_text(DIAMOND, encoding="utf-8")
    return subprocess.run(
        [ETL, "graph", "p.yaml", "-o", str(target)],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "dir.svg").mkdir()
    for target, message in (
        ("dir.svg", "dir.svg: Is a directory"),
        ("no/p.svg", "no/p.svg: No such file or directory"),
        ("/dev/full", "/dev/full: No space left on device"),
    ):
        done = graph_to(target, tmp_path)
        assert (done.returncode, done.stdout) == (74, "")
        assert done.stderr.startswith("etl: ")
        assert done.stderr.endswith(f"{message}\n")
    assert sorted(os.listdir(tmp_path)) == ["dir.svg", "p.yaml"], "nothing is left behind"


def test_a_file_is_replaced_as_a_whole_and_stays_what_it_was(tmp_path: Path) -> None:
    (tmp_path / "real.svg").write_text("old")
    (tmp_path / "real.svg").chmod(0o640)
    (tmp_path / "link.svg").symlink_to("real.svg")
    (tmp_path / "p.yaml").write_text(DIAMOND, encoding="utf-8")
    # A file may grow to 1 KiB only, and the drawing is larger: as on a full disk, it cannot be written to its end.
    limited = 'ulimit -f 1; trap "" XFSZ; exec "$0" graph p.yaml -o link.svg'
    full = subprocess.run(
        ["bash", "-c", limited, ETL], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert (full.returncode, (tmp_path / "real.svg").read_text()) == (74, "old"), full.stderr
    assert graph_to("link.svg", tmp_path).returncode == 0
    assert (tmp_path / "link.svg").is_symlink()
    assert (tmp_path / "real.svg").read_text().startswith("<svg ")
    assert (tmp_path / "real.svg").stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["link.svg", "p.yaml", "real.svg"]
    assert graph_to("/dev/stdout", tmp_path).stdout.startswith("numbers (source generate)\n")


def test_a_pipeline_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("stages: {}\n", encoding="utf-8")
    done = subprocess.run(
        [ETL, "graph", "p.yaml", "-o", "p.svg"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "p.yaml:1:9: `stages` is empty" in done.stderr
    assert not (tmp_path / "p.svg").exists()
