"""Measurements, by name:

    python -m tests.benchmarks stop
    python -m tests.benchmarks stop --shards 8 --json stop.json
    python -m tests.benchmarks decode
    python -m tests.benchmarks sls

They print what they find and judge nothing; run them on a machine that has nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from . import decode, sls, stop
from .measure import machine

CASES = {"stop": stop, "decode": decode, "sls": sls}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cases = parser.add_subparsers(dest="case", required=True)
    for name, module in CASES.items():
        case = cases.add_parser(name, help=module.__doc__)
        case.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
        module.options(case)
    given = parser.parse_args(arguments)
    found = CASES[given.case].run(given)
    print(found.text())  # noqa: T201
    if given.json is not None:
        given.json.write_text(
            json.dumps({"case": given.case, "machine": machine(), **found.to_json()}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
