"""What the options of the built-in stages have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """Options that refuse what they do not know and do not change once checked."""

    model_config = ConfigDict(extra="forbid", frozen=True)
