"""Parts of a pipeline tried out: rows are given to some stages, and what comes out of others is looked at.

Nothing outside is read or written: the sources are those that were given rows, and sinks only remember. All else is
real: the stages, the channels between them, workers, error policies, dead letters and the drain.
"""

from __future__ import annotations

from etlcore.trial.excerpt import Buried, Outcome, TrialError, try_out

__all__ = ["Buried", "Outcome", "TrialError", "try_out"]
