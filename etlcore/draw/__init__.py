"""A pipeline's graph as text, as Mermaid and as SVG. Nothing is opened or read; only names and edges are drawn."""

from __future__ import annotations

from etlcore.draw.mermaid import mermaid
from etlcore.draw.svg import svg
from etlcore.draw.text import text

__all__ = ["mermaid", "svg", "text"]
