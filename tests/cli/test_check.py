"""`etl check`, as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ETL = Path(sys.executable).with_name("etl")
GOOD = "stages: {g: {source: generate}, o: {sink: console}}\n"


def etl(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ETL, *arguments], capture_output=True, text=True, timeout=60, **options)


def test_good_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(GOOD.replace("}}", "}, p: {sink: blackhole, from: g}}"))
    done = etl("check", "a.yaml", "b.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "a.yaml: ok (2 stages)\nb.yaml: ok (3 stages)\n", "")


def test_a_wrong_file_among_good_ones(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text("stages:\n  g: {source: generate}\n  o: {sink: consle, wrokers: 2}\n")
    done = etl("check", "b.yaml", "a.yaml", "nothing.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == "a.yaml: ok (2 stages)\n"
    assert done.stderr == (
        "b.yaml:3:13: no plugin named `consle` is installed\n"
        "      o: {sink: consle, wrokers: 2}\n"
        "                ^\n"
        "  -> did you mean `console`? Otherwise pip install the distribution that offers `consle`\n"
        "b.yaml:3:21: unknown key `wrokers`\n"
        "      o: {sink: consle, wrokers: 2}\n"
        "                        ^\n"
        "  -> did you mean `workers`?\n"
        "nothing.yaml: cannot be read: No such file or directory\n"
        "  -> check the path\n"
    )


def test_nothing_is_run_and_nothing_heavy_is_imported(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("stages: {g: {source: generate}, o: {sink: files, with: {path: out.jsonl}}}\n")
    code = "import sys; from etlcore.cli import main; main(['check', 'a.yaml']); print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "False", done
    assert sorted(os.listdir(tmp_path)) == ["a.yaml"]


def test_a_broken_plugin_is_no_concern_of_a_file_that_does_not_name_it(site: Any, tmp_path: Path) -> None:
    site.install("acme-etl", "1.2", {"acme": "acme_etl"}, {"acme_etl.py": "1 / 0"})
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(GOOD.replace("console", "acme"))
    done = etl("check", "a.yaml", "b.yaml", cwd=tmp_path, env=site.environ())
    assert done.returncode == 2
    assert done.stdout == "a.yaml: ok (2 stages)\n"
    assert done.stderr.startswith(
        "b.yaml:1:43: plugin `acme` (acme-etl 1.2) cannot be imported: ZeroDivisionError: division by zero\n"
    )
    assert "  -> pip install --upgrade acme-etl, or tell its authors\n" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_distributions_that_claim_a_name(site: Any, tmp_path: Path) -> None:
    for name in ("acme-etl", "acme-fork"):
        site.install(name, "1.2", {"acme": "acme_etl"})
    (tmp_path / "a.yaml").write_text(GOOD.replace("console", "acme.out"))
    done = etl("check", "a.yaml", cwd=tmp_path, env=site.environ())
    assert done.returncode == 2
    assert "a.yaml:1:43: the name `acme` is claimed by " in done.stderr
    assert "acme-etl 1.2" in done.stderr
    assert "acme-fork 1.2" in done.stderr
    assert "Traceback" not in done.stderr
