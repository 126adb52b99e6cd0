"""Broken pipeline files, each with everything that `etl check` must say about it.

An expectation is ``LINE:COLUMN: message`` and the next step; ``…`` in them stands for any text.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from etlcore.cli import main
from etlcore.spec import SpecError, load_text


@dataclass(frozen=True)
class Broken:
    name: str
    text: str
    expected: list[tuple[str, str]]
    environ: dict[str, str] = field(default_factory=dict)


def case(name: str, text: str, *expected: tuple[str, str], **environ: str) -> Broken:
    return Broken(name, textwrap.dedent(text).lstrip("\n"), list(expected), environ)


SMALLEST = "the smallest one: stages: {numbers: {source: generate}, out: {sink: console}}"

CASES = [
    # -- no pipeline at all --
    case("empty", "", ("1:1: the file holds no pipeline", SMALLEST)),
    case("only a comment", "# nothing\n", ("1:1: the file holds no pipeline", SMALLEST)),
    case("a list", "- source: generate\n", ("1:1: a pipeline file is a mapping with `stages:`, not a list", SMALLEST)),
    case("a word", "stages\n", ("1:1: a pipeline file is a mapping with `stages:`, not stages", SMALLEST)),
    case("no stages", "name: x\n", ("1:1: there is no `stages:`", SMALLEST)),
    case("stages empty", "stages: {}\n", ("1:9: `stages` is empty", SMALLEST)),
    case(
        "stages without value", "stages:\n", ("1:8: `stages` must be a mapping (name: stage), not nothing", "write …")
    ),
    case(
        "stages as a list",
        """
        stages:
          - source: generate
          - sink: console
        """,
        ("2:3: `stages` must be a mapping (name: stage), not a list", "write name: stage, indented below it"),
    ),
    # -- YAML itself --
    case(
        "tab",
        "stages:\n\tg: {source: generate}\n",
        ("2:1: a tab: YAML is indented with spaces", "replace the tab with spaces"),
    ),
    case(
        "two documents",
        "stages: {}\n---\nstages: {}\n",
        ("2:1: a second YAML document starts here: a pipeline file holds one", "remove the line ---, …"),
    ),
    case(
        "indentation",
        """
        stages:
          g:
            source: generate
           o: {sink: console}
        """,
        ("4:4: the line does not fit what stands above it", "check that it is indented as far as its neighbours"),
    ),
    case(
        "colon in a value",
        "name: a: b\n",
        ("1:8: a colon where no key can be", "is the line indented too far? A value that contains ': ' needs quotes"),
    ),
    case(
        "quotes not closed", "name: 'x\nstages: {}\n", ("1:7: not YAML: the quotes are not closed", "close the quotes")
    ),
    case(
        "brace not closed",
        "stages: {g: {source: generate}\n",
        ("1:9: not YAML: the {…} is not closed, or lacks a comma", "close it with }, or check the commas"),
    ),
    case(
        "fill in braces without quotes",
        "stages: {g: {source: generate, with: {rows: ${ROWS}}}}\n",
        ("1:46: not YAML: a { inside {…} or […]", 'inside {…} and […], and before a colon, put quotes around it: "${…'),
    ),
    case(
        "python object",
        """
        stages:
          g: {source: generate}
          o: {sink: !!python/object/apply:os.system [reboot]}
        """,
        ("3:13: the tag !!python/object/apply:os.system means nothing here", "remove it"),
        ("3:13: `sink` must name a component, not be a list", "write sink: NAME, and its options below `with:`"),
    ),
    case(
        "duplicate key",
        """
        stages:
          g: {source: generate, workers: 1, workers: 2}
          o: {sink: console}
          g: {source: generate}
        """,
        ("2:37: `workers` is here twice: the first is in line 2", "remove or rename one of them"),
        ("4:3: `g` is here twice: the first is in line 2", "remove or rename one of them"),
    ),
    case(
        "unknown alias",
        "stages: {g: *missing}\n",
        ("1:13: the alias has no anchor above it", "write &name before the value that *name repeats"),
    ),
    case(
        "recursive alias",
        """
        x-a: &a [*a]
        stages:
          g: {source: generate}
          o: {sink: console}
        """,
        ("1:6: an alias stands inside its own anchor, so it would never end", "remove the alias"),
    ),
    case(
        "billion laughs",
        "x-0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]\n"
        + "".join(f"x-{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)),
        ("1:…: more than 100,000 values once the aliases are expanded", "use fewer aliases (*name) inside what …"),
    ),
    case(
        "billion laughs by merging",
        "x-0: &a0 {k: 1}\n" + "".join(f"x-{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 30)),
        ("…: more than 100,000 values once the aliases are expanded", "use fewer aliases (*name) inside what …"),
    ),
    case("deep", "stages: " + "[" * 200 + "\n", ("1:108: nested more than 100 levels deep", "")),
    case(
        "key that is no text",
        """
        stages:
          g: {source: generate}
          o: {sink: console}
          ? [a, b]
          : {sink: console}
        """,
        ("4:5: a key must be text", "write a name before the colon"),
    ),
    case("control character", "name: a\x01b\n", ("1:8: the character U+0001 is not allowed in YAML", "remove it")),
    # -- keys --
    case(
        "unknown keys",
        """
        nmae: x
        stages:
          g: {source: generate, wrokers: 2}
          o: {sink: console, zzz: 1}
        shutdown: {timout: 3}
        commit: {zzz: 3}
        """,
        ("1:1: unknown key `nmae`", "did you mean `name`?"),
        ("3:25: unknown key `wrokers`", "did you mean `workers`?"),
        ("4:22: unknown key `zzz`", "a stage may have `source`, `transform`, `sink`, `with`, `from`, `workers`, …"),
        ("5:12: unknown key `timout`", "did you mean `timeout`?"),
        ("6:10: unknown key `zzz`", "`commit` may have `interval`"),
    ),
    case(
        "words of other tools",
        """
        steps:
          g: {source: generate}
          o: {sink: console, input: [g], parallelism: 2}
        """,
        ("1:1: unknown key `steps`", "did you mean `stages`?"),
        ("3:22: unknown key `input`", "did you mean `from`?"),
        ("3:34: unknown key `parallelism`", "did you mean `workers`?"),
    ),
    case(
        "an option beside with",
        """
        stages:
          g: {source: generate, rows: 5}
          o: {sink: console}
        """,
        ("2:25: `rows` is an option of `generate`, not a key of the stage", "move it below `with:`"),
    ),
    case(
        "stage names",
        """
        stages:
          1st: {source: generate}
          a.b: {transform: filter, with: {where: "id > 3"}, from: 1st}
          o: {sink: console}
        """,
        ("2:3: `1st` is no name for a stage", "use letters, digits, _ and -, and begin with a letter or _"),
        ("3:3: `a.b` is no name for a stage", "use letters, digits, _ and -, and begin with a letter or _"),
    ),
    case(
        "pipeline name",
        """
        name: ../x
        stages:
          g: {source: generate}
          o: {sink: console}
        """,
        ("1:7: `name` cannot be ../x", "use letters, digits, spaces and _ . -"),
    ),
    case(
        "a stage that is no mapping",
        """
        stages:
          g: {source: generate}
          o: console
        """,
        (
            "3:6: stage `o` must be a mapping with source:, transform: or sink:, not console",
            "write it like o: {sink: …",
        ),
        ("2:3: nobody reads from stage `g`: its rows would go nowhere", "add from: g to a stage, or remove `g`"),
    ),
    case(
        "no kind, two kinds",
        """
        stages:
          g: {source: generate}
          a: {workers: 2}
          o: {transform: select, sink: console, with: {columns: [id]}, from: g}
          p: {sink: console}
        """,
        ("3:3: stage `a` has no source:, transform: or sink:", "say what it is, like sink: console"),
        ("4:26: stage `o` is a transform already: it cannot be a sink as well", "make it two stages"),
    ),
    case(
        "component as a mapping",
        """
        stages:
          g: {source: {generate: {rows: 3}}}
          o: {sink: [console]}
        """,
        ("2:15: `source` must name a component, not be a mapping", "write source: NAME, and its options below `with:`"),
        ("3:13: `sink` must name a component, not be a list", "write sink: NAME, and its options below `with:`"),
    ),
    case(
        "component without a name",
        """
        stages:
          g: {source: }
          o: {sink: ""}
        """,
        ("2:14: `source` must be text, not nothing", "write the name of a component, like source: generate"),
        ("3:13: `sink` must be text, not empty", "write the name of a component, like sink: console"),
    ),
    # -- components --
    case(
        "components that there are not",
        """
        stages:
          g: {source: generat}
          k: {transform: kafka.decode}
          o: {sink: files.parquet}
        """,
        ("2:15: no plugin named `generat` is installed", "did you mean `generate`? Otherwise pip install the …"),
        ("3:18: no plugin named `kafka` is installed (for `kafka.decode`)", "pip install the distribution that …"),
        ("4:13: plugin `files` (etlcore …) offers no component `files.parquet`", "it offers `blackhole`, …"),
    ),
    case(
        "wrong kinds",
        """
        stages:
          g: {source: console}
          s: {transform: generate, from: g}
          o: {sink: select}
        """,
        ("2:15: `console` is a sink, not a source", "write `sink: console`"),
        ("3:18: `generate` is a source, not a transform", "write `source: generate`"),
        ("4:13: `select` is a transform, not a sink", "write `transform: select`"),
    ),
    # -- options --
    case(
        "options",
        """
        stages:
          g:
            source: generate
            with: {rows: "10", columnar: 3, batch: 0, sed: 4}
          s: {transform: select}
          o: {sink: console, with: [x]}
        """,
        ('4:18: option `rows` of `generate`: must be a whole number, not "10"', "leave out the quotes: 10"),
        ("4:34: option `columnar` of `generate`: must be true or false, not 3", "…"),
        ("4:44: option `batch` of `generate`: must be greater than …, not 0", "…"),
        ("4:47: unknown option `sed` of `generate`", "did you mean `seed`?"),
        ("5:3: `select` needs the option `columns`: …", "add it below `with:`: columns: …"),
        ("6:28: `with` must be a mapping (options: name: value), not a list", "write options: name: value, …"),
    ),
    # -- numbers, durations, sizes, truth values --
    case(
        "numbers",
        """
        stages:
          g: {source: generate, workers: 0}
          a: {transform: select, with: {columns: [id]}, workers: 012}
          b: {transform: select, with: {columns: [id]}, workers: 1:30}
          c: {transform: select, with: {columns: [id]}, workers: "4"}
          d: {transform: select, with: {columns: [id]}, workers: 2.5}
          e: {transform: select, with: {columns: [id]}, workers: four}
          f: {transform: select, with: {columns: [id]}, workers: yes}
          h: {transform: select, with: {columns: [id]}, workers: [4]}
          o: {sink: console, workers: }
        """,
        ("2:34: `workers` must be a whole number of at least 1, not 0", "write a whole number of at least 1"),
        ("3:58: `workers` must be a whole number of at least 1, not 012", "a leading zero reads as octal to some: …"),
        ("4:58: `workers` must be a whole number of at least 1, not 1:30", "a number with colons reads as base 60 …"),
        ('5:58: `workers` must be a whole number of at least 1, not "4"', "leave out the quotes: 4"),
        ("6:58: `workers` must be a whole number of at least 1, not 2.5", "write a whole number of at least 1"),
        ("7:58: `workers` must be a whole number of at least 1, not four", "write a whole number of at least 1"),
        ("8:58: `workers` must be a whole number of at least 1, not yes", "write a whole number of at least 1"),
        ("9:58: `workers` must be a whole number of at least 1, not a list", "write a whole number of at least 1"),
        ("10:30: `workers` must be a whole number of at least 1, not nothing", "write a whole number of at least 1"),
    ),
    case(
        "durations",
        """
        stages:
          g: {source: generate}
          o: {sink: console, batch: {rows: 5, seconds: soon}}
        shutdown: {timeout: 1:30}
        commit: {interval: 0s}
        """,
        ("3:48: `seconds` must be a duration, not soon", "write a number of seconds, or like 500ms, 30s, 5m, 1h"),
        ("4:21: `timeout` must be a duration, not 1:30", "write a number of seconds, or like 500ms, 30s, 5m, 1h"),
        ("5:20: `interval` must be a duration above zero, not 0s", "write a number of seconds, or like 500ms, …"),
    ),
    case(
        "queue and batch",
        """
        defaults: {queue: 0, batch: {bytes: 10 Mb/s}}
        stages:
          g: {source: generate}
          a: {sink: console, queue: {rows: -1, bytes: 10 XB}, from: g}
          b: {sink: console, queue: , batch: {}, from: g}
          c: {sink: console, batch: {seconds: 1}, from: g}
          d: {sink: console, batch: {row: 1}, from: g}
        """,
        ("1:19: `queue` must be a whole number of at least 1, not 0", "write a whole number of at least 1"),
        ("1:37: `bytes` must be a size of at least one byte, not 10 Mb/s", "write a number of bytes, or like 64KiB, …"),
        ("4:36: `rows` must be a whole number of at least 1, not -1", "write a whole number of at least 1"),
        ("4:47: `bytes` must be a size of at least one byte, not 10 XB", "write a number of bytes, or like 64KiB, …"),
        ("5:28: `queue` must be a number of rows or a mapping, not nothing", "write queue: 1000, or queue: {rows: …"),
        ("6:30: `seconds` says how long to wait for a batch to fill up, but there is no `rows` …", "add rows: or …"),
        ("7:30: unknown key `row`", "did you mean `rows`?"),
    ),
    case(
        "truth values",
        """
        stages:
          g: {source: generate}
          a: {transform: select, with: {columns: [id]}, ordered: "yes"}
          b: {transform: select, with: {columns: [id]}, ordered: 1}
          o: {sink: console, ordered: maybe}
        """,
        ('3:58: `ordered` must be true or false, not "yes"', "leave out the quotes: yes"),
        ("4:58: `ordered` must be true or false, not 1", "write true or false"),
        ("5:31: `ordered` must be true or false, not maybe", "write true or false"),
    ),
    case(
        "order",
        """
        stages:
          g: {source: generate, ordered: true, key: id, queue: 5, batch: 1}
          a: {transform: select, with: {columns: [id]}, ordered: true, key: id, workers: 2}
          o: {sink: console, ordered: true, workers: 2}
        """,
        ("2:25: `ordered` is about a stage's input, and stage `g` is a source: it has none", "remove it, or move it …"),
        ("2:40: `key` is about a stage's input, and stage `g` is a source: it has none", "remove it, or move it …"),
        ("2:49: `queue` is about a stage's input, and stage `g` is a source: it has none", "remove it, or move it …"),
        ("2:59: `batch` is about a stage's input, and stage `g` is a source: it has none", "remove it, or move it …"),
        ("3:64: `ordered` and `key` cannot be had together: …", "keep one of them"),
        ("4:22: a sink with 2 workers cannot be `ordered`: they write side by side", "remove `ordered`, or …"),
    ),
    case(
        "error policy",
        """
        stages:
          g: {source: generate}
          o: {sink: console, on_error: retry}
        """,
        (
            "3:32: `on_error` must be stop, drop or dead_letter, not retry",
            "write on_error: dead_letter, or on_error: {retries: 5, then: dead_letter}",
        ),
    ),
    # -- the graph --
    case(
        "no source",
        "stages: {o: {sink: console}}\n",
        ("1:1: there is no source", "add a stage with source: generate, or another source"),
        ("1:10: stage `o` has no input: it is a sink, and no stage is above it", "put a source above it, or write …"),
    ),
    case(
        "no sink",
        """
        stages:
          g: {source: generate}
          s: {transform: select, with: {columns: [id]}}
        """,
        ("1:1: there is no sink", "add a stage with sink: console, or another sink"),
        ("3:3: nobody reads from stage `s`: its rows would go nowhere", "add from: s to a stage, or remove `s`"),
    ),
    case(
        "cycle",
        """
        stages:
          g: {source: generate}
          a: {transform: select, with: {columns: [id]}, from: [g, c]}
          b: {transform: select, with: {columns: [id]}}
          c: {transform: select, with: {columns: [id]}}
          o: {sink: console}
        """,
        ("3:55: the stages run in a circle: a -> b -> c -> a", "rows would never arrive: change a `from:` of one …"),
    ),
    case(
        "cycle of one",
        """
        stages:
          g: {source: generate}
          a: {transform: select, with: {columns: [id]}, from: [g, a]}
          o: {sink: console}
        """,
        ("3:55: the stages run in a circle: a -> a", "rows would never arrive: change a `from:` of one of them"),
    ),
    case(
        "from nowhere",
        """
        stages:
          logs: {source: generate}
          a: {sink: console, from: lgos}
          b: {sink: console, from: nowhere}
          c: {sink: console, from: [logs, logs]}
          d: {sink: console, from: []}
          e: {sink: console, from: {logs: 1}}
          f: {sink: console, from: a}
          h: {sink: console, from: h}
          i: {sink: console, from: }
          j: {source: generate, from: logs}
          k: {sink: console}
        """,
        ("3:28: there is no stage `lgos`", "did you mean `logs`?"),
        ("4:28: there is no stage `nowhere`", "the stages to read from are `logs` and `j`"),
        ("5:35: `logs` is named twice in `from`", "remove one of them"),
        ("6:28: `from` names no stage", "name the stages to read from, or leave `from:` out for the one above"),
        ("7:28: `from` must name a stage, not a mapping", "write from: STAGE, or from: [ONE, OTHER]"),
        ("8:28: `a` is a sink: it has no output to read from", "read from what `a` reads from"),
        ("9:28: `h` is a sink: it has no output to read from", "name another stage"),
        ("10:27: `from` must be text, not nothing", "write from: STAGE, or leave it out for the stage above"),
        ("11:25: stage `j` is a source: it has no input", "remove `from:`, or make it a transform"),
    ),
    case(
        "below a sink",
        """
        stages:
          g: {source: generate}
          a: {sink: console}
          b: {sink: console}
          s: {transform: select, with: {columns: [id]}}
          c: {sink: console}
        """,
        ("4:3: stage `b` has no input: the stage above it, `a`, is a sink and has no output", "write from: g"),
        ("5:3: stage `s` has no input: the stage above it, `b`, is a sink and has no output", "write from: g"),
    ),
    case(
        "two sources above a sink",
        """
        stages:
          g: {source: generate}
          h: {source: generate}
          o: {sink: console}
        """,
        ("2:3: nobody reads from stage `g`: its rows would go nowhere", "add from: g to a stage, or remove `g`"),
    ),
    case(
        "named outputs that there are not",
        """
        stages:
          g: {source: generate}
          s: {transform: select, with: {columns: [id]}}
          o: {sink: console, from: s.errors}
          p: {sink: console, from: s}
        """,
        ("4:28: stage `s` has no output `errors`", "it has one output only: write from: s"),
    ),
    case(
        "plugins",
        """
        plugins: [console, nothere]
        stages:
          g: {source: generate}
          o: {sink: console}
        """,
        ("1:20: no plugin named `nothere` is installed", "pip install the distribution that offers it; …"),
    ),
    case(
        "plugins as text",
        """
        plugins: console
        stages:
          g: {source: generate}
          o: {sink: console}
        """,
        ("1:10: `plugins` must be a list, not console", "write plugins: [NAME, ./FILE.py]"),
    ),
    # -- ${…} --
    case(
        "variables",
        """
        stages:
          g:
            source: generate
            with:
              rows: ${ROWS}
              seed: ${SEED_UNSET}
              batch: ${}
              columnar: ${TRUTH:+x}
              rate: ${RATE
              fields: {a: "${file:not-there.txt}", b: "${kafka:topic}", c: "${BATCH:7}"}
          o: {sink: "${SINK}"}
        """,
        ("5:13: option `rows` of `generate`: must be a whole number, not what ${ROWS} stands for", "…"),
        ("6:13: the environment variable SEED_UNSET is not set", "export SEED_UNSET=…, or give a default: ${SEED_…"),
        ("7:14: ${} is no reference", "write ${NAME}, ${NAME:-default} or ${file:path}; a literal ${ is written $${"),
        ("8:17: no plugin named `TRUTH` is installed", "a default is written ${TRUTH:-default}; otherwise pip …"),
        ("9:13: ${ is not closed", "close it with }; a literal ${ is written $${"),
        ("10:19: …/not-there.txt cannot be read: No such file or directory", "the path is relative to the pipeline …"),
        ("10:47: no plugin named `kafka` is installed", "a default is written ${kafka:-default}; otherwise pip …"),
        ("10:68: no plugin named `BATCH` is installed", "a default is written ${BATCH:-default}; otherwise pip …"),
        ("11:13: no plugin named `${SINK}` is installed", "pip install the distribution that offers it; …"),
        ROWS="hunter2",
        SINK="hunter2",
    ),
    case(
        "a variable is never YAML",
        """
        stages:
          g: {source: generate, with: "${OPTIONS}"}
          o: {sink: console}
        """,
        ("2:31: `with` must be a mapping (options: name: value), not what ${OPTIONS} stands for", "write options: …"),
        OPTIONS="{rows: 3}",
    ),
    case(
        "literal secrets are not repeated",
        """
        stages:
          g: {source: generate, password: "hunter2", with: {api_key: hunter2, rows: 1}}
          o: {sink: console}
        """,
        ("2:25: unknown key `password`", "a stage may have …"),
        ("2:53: unknown option `api_key` of `generate`", "the options of `generate` are …"),
    ),
    # -- transactional sinks --
    case(
        "a transactional sink with several workers",
        """
        defaults: {workers: 3}
        stages:
          in: {source: generate, workers: 1}
          out: {sink: sqlite, with: {path: a.db, table: a}, workers: 2, nope: 1}
          also: {source: generate, workers: 1}
          too: {sink: sqlite, with: {path: a.db, table: b}}
        """,
        (
            "4:53: `sqlite` writes rows and positions in one transaction, so stage `out` has one worker, not 2",
            "write workers: 1; the stages in front of it may have several",
        ),
        ("4:65: unknown key `nope`", "…"),
        (
            "6:3: `sqlite` writes rows and positions in one transaction, so stage `too` has one worker, and `defaults` "
            "gives it 3",
            "write workers: 1; …",
        ),
    ),
    case(
        "a source that leads to two transactional sinks",
        """
        stages:
          one: {source: generate}
          two: {source: generate}
          joined: {transform: filter, from: [one, two], with: {where: id > 1}}
          a: {sink: sqlite, from: joined, with: {path: a.db, table: a}}
          b: {sink: sqlite, from: joined, with: {path: b.db, table: b}}
        """,
        (
            "6:3: `one` and `two` lead to two transactional sinks, `a` and `b`: no transaction holds the rows of both…",
            "read the source once more, as a stage of its own, for one of them; or make it two pipelines",
        ),
    ),
    case(
        "sqlite: upsert without a key",
        "stages: {g: {source: generate}, o: {sink: sqlite, with: {path: a.db, table: a, mode: upsert}}}\n",
        ("1:…: …mode: upsert needs a key: write key: COLUMN, or key: [ONE, OTHER]", "…"),
    ),
    case(
        "sqlite: a key without upsert",
        "stages: {g: {source: generate}, o: {sink: sqlite, with: {path: a.db, table: a, key: id}}}\n",
        ("1:…: …`key` does nothing with mode: append: remove it, or write mode: upsert", "…"),
    ),
    case(
        "sqlite: a table that is etlcore's own",
        "stages: {g: {source: generate}, o: {sink: sqlite, with: {path: a.db, table: ETLCORE_positions}}}\n",
        ("1:…: …'ETLCORE_positions' is a name that SQLite or etlcore keep for themselves: choose another", "…"),
    ),
]


def fits(expected: str, found: str) -> bool:
    """Whether the text is the expected one, in which … stands for anything."""
    pattern = ".*".join(re.escape(part) for part in expected.split("…"))
    return re.fullmatch(pattern, found, re.DOTALL) is not None


@pytest.mark.parametrize("broken", CASES, ids=lambda broken: broken.name)
def test_every_problem_is_reported_with_its_place_and_the_next_step(broken: Broken) -> None:
    with pytest.raises(SpecError) as raised:
        load_text(broken.text, file="p.yaml", environ=broken.environ)
    found = [(str(problem.place).removeprefix("p.yaml:"), problem) for problem in raised.value.problems]
    shown = [f"{place}: {problem.message} -> {problem.hint}" for place, problem in found]
    left = list(zip(shown, found, strict=True))
    for message, hint in broken.expected:
        matching = [
            item
            for item in left
            if fits(message, f"{item[1][0]}: {item[1][1].message}") and fits(hint, item[1][1].hint)
        ]
        assert matching, f"missing: {message} -> {hint}\nfound: {shown}"
        left.remove(matching[0])
    assert [item[0] for item in left] == [], "not expected"
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("broken", CASES, ids=lambda broken: broken.name)
def test_the_offending_line_is_shown_with_a_caret_under_the_place(broken: Broken) -> None:
    with pytest.raises(SpecError) as raised:
        load_text(broken.text, file="p.yaml", environ=broken.environ)
    lines = broken.text.split("\n")
    for problem in raised.value.problems:
        assert problem.place is not None
        line = lines[problem.place.line - 1]
        masked = re.sub(r'"?hunter2"?', lambda secret: "*" * len(secret[0]), line)
        assert problem.line == masked
        if line.strip() and len(line) < 100:
            _, quoted, caret, *_ = str(problem).split("\n")
            assert quoted[4:].rstrip() == re.sub(r"[\x00-\x08]", "\ufffd", masked).rstrip()
            assert caret.index("^") - 4 == problem.place.column - 1


@pytest.mark.parametrize("broken", CASES, ids=lambda broken: broken.name)
def test_the_exit_code_is_2(
    broken: Broken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in broken.environ.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "p.yaml"
    file.write_text(broken.text)
    assert main(["check", str(file)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count(f"{file}:") >= len(broken.expected)


def test_one_process_checks_them_all(tmp_path: Path) -> None:
    """The real `etl`: every problem of every file on standard error, the good file on standard output, no traceback."""
    files = []
    for number, broken in enumerate(CASES):
        files.append(tmp_path / f"p{number}.yaml")
        files[-1].write_text(broken.text)
    good = tmp_path / "good.yaml"
    good.write_text("stages: {g: {source: generate}, o: {sink: console}}\n")
    environ = {**os.environ, **{name: value for broken in CASES for name, value in broken.environ.items()}}
    done = subprocess.run(
        [Path(sys.executable).with_name("etl"), "check", *files, good], capture_output=True, text=True, env=environ
    )
    assert done.returncode == 2
    assert done.stdout == f"{good}: ok (2 stages)\n"
    assert "Traceback" not in done.stderr
    for file, broken in zip(files, CASES, strict=True):
        printed = re.findall(rf"^{re.escape(str(file))}:(.*)$", done.stderr, re.MULTILINE)
        for message, _ in broken.expected:
            assert any(fits(message, line) for line in printed), (broken.name, message)


def test_there_are_many() -> None:
    assert len(CASES) >= 40
