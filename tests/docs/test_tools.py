"""The tools that read the pages: what they would overlook, no other test could see."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks_of
from tests.docs.terminal import Step, Terminal, settled, steps
from tests.docs.write import refreshed

PAGE = """
<!-- file: numbers.txt -->
```
1
2
```

<!-- not run: it would take too long -->

```sh
sleep 1000
```

<!-- not compared: it is another one every time -->
<!-- needs: sh -->
```console
$ cat numbers.txt | \\
    wc -l
2
$ echo $?
```
"""


def test_blocks_and_their_marks() -> None:
    file, far, commands = blocks_of(PAGE, "page")
    assert (file.text, file.marks, str(file)) == ("1\n2\n", {"file": "numbers.txt"}, "page:3")
    assert far.marks == {}, "a mark stands directly above its block"
    assert set(commands.marks) == {"not compared", "needs"}
    assert steps(commands) == [Step("cat numbers.txt | \\\n    wc -l", "2\n"), Step("echo $?", "")]


def test_what_is_settled_and_what_is_not() -> None:
    assert settled("run: end of input, 1.2 s") == settled("run: end of input, 30 s")
    assert settled("2024-05-01 08:00:00 INFO    x") == settled("2026-11-23 08:00:01 INFO    x")
    for seconds in ("0.1606010426", "12.160601042605", "3"):  # digits that look like a time or an id
        assert settled(f'"seconds": {seconds},') == settled('"seconds": 0.5,')
    assert settled("20,000 read") != settled("19,999 read")
    assert settled("exit 3: 5 rows were abandoned") != settled("exit 3: 4 rows were abandoned")
    assert settled("a\nb") != settled("b\na")
    for passing in (
        "5.0s logs 18,400 read 1/s | out 1 delivered | queued 288",
        "1m 05s a 1 read | queued 0",
    ):
        assert settled(f"{passing}\na") == ["a"]


def test_a_terminal_remembers_and_tells_everything(tmp_path: Path) -> None:
    with Terminal(tmp_path) as terminal:
        assert terminal.run("export NAME=value; cd pipelines") == ""
        assert terminal.run("echo $NAME; echo wrong >&2; (exit 7)") == "value\nwrong\n"
        assert terminal.run("echo $?") == "7\n"
        assert terminal.run("ls sls_uri.yaml; cat") == "sls_uri.yaml\n"
        with pytest.raises(EOFError, match="ended the shell"):
            terminal.run("exit")


def test_writing_changes_what_is_wrong_and_nothing_else() -> None:
    text = (ROOT / "docs" / "stages.md").read_text(encoding="utf-8")
    stale = text.replace('{"status":', '{"state":').replace("| `rows` | ", "| `lines` | ")
    assert stale != text
    assert refreshed(stale, "stages.md") == text
