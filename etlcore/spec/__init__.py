"""A YAML file becomes a checked `Pipeline`, or a list of problems with file:line:column.

The way of a file: `document` makes plain values of YAML and keeps the place of each in a side table; `fill` puts in
what ``${…}`` stands for; `pipeline` reads the top-level keys, `stages` each stage, `options` a stage's options by its
component's own model, and `graph` the edges. Each of them reports all that it finds, and goes on.
"""

from __future__ import annotations

from etlcore.spec.pipeline import load, load_text
from etlcore.spec.problems import Problem, SpecError

__all__ = ["Problem", "SpecError", "load", "load_text"]
