"""A process that is to be killed: `etl run` of a pipeline, but for a component that has a fault put into it.

``python -m etlcore.testing.process FILE``, where FILE holds a pickled `etlcore.testing.runs.Job`.
"""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import sys
from pathlib import Path
from typing import Any, cast

from etlcore.batch import Batch
from etlcore.cli.run import Execution, Options, perform
from etlcore.plugins import Plugins
from etlcore.spec.model import Pipeline
from etlcore.testing.faults import Fault, Moment, Watch, kill, wrapped
from etlcore.testing.parts import appender, feed
from etlcore.testing.runs import Bench, Job


def component(job: Job) -> type[Any]:
    """The class under test."""
    if isinstance(job.component, str):
        plugins = Plugins()
        return plugins.load(plugins.resolve(job.component, job.kind))
    module_name, path, file = job.component
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError:
        found = _from_file(module_name, file)
    for part in path.split("."):
        found = getattr(found, part)
    return cast("type[Any]", found)


def _from_file(name: str, file: str) -> Any:
    """A module that has no place on the path: a file of tests."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _described(job: Job, subject: Any) -> Any:
    if isinstance(subject, Batch):
        return [] if job.key is None else [str(row.get(job.key)) for row in subject.rows]
    return subject if isinstance(subject, dict) else None


def main(order: Path) -> int:
    job: Job = pickle.loads(order.read_bytes())
    faults: tuple[Fault, ...] = ()
    if job.fault is not None:
        moment = cast("Moment", job.fault.moment)
        faults = (Fault(job.fault.method, job.fault.number, moment, kill, job.fault.part),)
    watch = Watch(faults, journal=job.journal, describe=lambda subject: _described(job, subject))
    bench = Bench(
        {
            job.name: wrapped(component(job), watch),
            "feed": feed([Batch.from_rows(rows) for rows in job.rows], job.lockstep),
            "keep": appender(job.out),
        }
    )

    class Performed(Execution):
        def _load(self, plugins: Plugins) -> Pipeline:
            return super()._load(bench)

    options = Options(job.file, job.state, None, quiet=True, log_format="text", log_level=None, timeout=None)
    return perform(options, Performed)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
