"""What a measurement gives, and how it is shown."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Series:
    """Several measurements of one thing, in seconds."""

    name: str
    seconds: list[float]

    @property
    def median(self) -> float:
        return median(self.seconds)

    def line(self) -> str:
        times = "once" if len(self.seconds) == 1 else f"{len(self.seconds)} times"
        spread = f"{min(self.seconds):.2f} … {max(self.seconds):.2f}"
        return f"  {self.name:<30} median {self.median:8.3f} s   {spread}   ({times})"


@dataclass(frozen=True)
class Comparison:
    """etlcore and something else that does the same, measured in one run on one machine."""

    title: str
    ours: Series
    theirs: Series

    @property
    def ratio(self) -> float:
        """How many times longer the other one took."""
        return self.theirs.median / self.ours.median

    def text(self) -> str:
        return "\n".join(
            [self.title, self.ours.line(), self.theirs.line(), f"  {self.ratio:.1f} times as long, by the medians"]
        )

    def to_json(self) -> dict[str, Any]:
        series = [
            {"name": one.name, "median_seconds": one.median, "seconds": one.seconds} for one in (self.ours, self.theirs)
        ]
        return {"title": self.title, "series": series, "ratio": self.ratio}


def machine() -> dict[str, Any]:
    """Where it was measured."""
    return {"python": platform.python_version(), "system": platform.platform(), "cores": os.cpu_count()}
