"""What a drawing says of a stage."""

from __future__ import annotations

from etlcore.spec.model import Stage


def about(stage: Stage) -> str:
    """Kind and component, and what differs from one plain worker: ``transform parse_uri, 4 workers``."""
    facts = [f"{stage.kind} {stage.component}"]
    if stage.workers > 1:
        facts.append(f"{stage.workers} workers")
    if stage.key is not None:
        facts.append(f"by {stage.key}")
    elif stage.ordered:
        facts.append("ordered")
    return ", ".join(facts)
