"""Names as people type them: the close one that they meant, and lists of them in a sentence."""

from __future__ import annotations

from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> str | None:
    """The name out of ``known`` that ``name`` most likely stands for, or None when nothing is close."""
    from difflib import get_close_matches

    folded = {_fold(candidate): candidate for candidate in known}
    matches = get_close_matches(_fold(name), folded, n=1, cutoff=0.7)
    return folded[matches[0]] if matches else None


def _fold(name: str) -> str:
    return name.casefold().replace("-", "_")


def quoted(names: Iterable[str], conjunction: str = "and") -> str:
    """The names in backticks, as they stand in a sentence: ```a`, `b` and `c```."""
    listed = [f"`{name}`" for name in names]
    if len(listed) < 2:
        return "".join(listed)
    return f"{', '.join(listed[:-1])} {conjunction} {listed[-1]}"


def one_line(text: str) -> str:
    """A text of somebody else's as it may stand in a listing: on one line, without what steers a terminal."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())
