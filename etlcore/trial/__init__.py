"""Parts of a pipeline tried out: rows are given to some stages, and what comes out of others is looked at.

Nothing outside is read or written: the sources are those that were given rows, and sinks only remember. All else is
real: the stages, the channels between them, workers, error policies, dead letters and the drain.

`excerpt` runs a part of a pipeline, `cases` the tests of its file, and `compare` says how rows differ; `coverage` and
`junit` are about the results.
"""

from __future__ import annotations

from etlcore.trial.cases import CaseError, CaseResult, run_case, run_tests, select_cases
from etlcore.trial.compare import Difference
from etlcore.trial.coverage import Coverage, coverage
from etlcore.trial.excerpt import Buried, Outcome, TrialError, try_out
from etlcore.trial.junit import junit

__all__ = [
    "Buried",
    "CaseError",
    "CaseResult",
    "Coverage",
    "Difference",
    "Outcome",
    "TrialError",
    "coverage",
    "junit",
    "run_case",
    "run_tests",
    "select_cases",
    "try_out",
]
