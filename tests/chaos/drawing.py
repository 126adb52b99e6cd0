"""A pipeline drawn from a seed, and what must become of each row in it.

A row's outcome is told for every way through the graph from the source to a sink: a row that goes two ways is delivered
twice. So each sink knows which ``(id, via)`` it must have in the end, and which stage may have refused it instead.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

SLOW = 0.002  # seconds for a row
EXACT = ("exact", "sqlite")
"""Sinks that keep positions beside the rows, so that every row counts once whatever happens."""


@dataclass
class Node:
    """A stage behind the source. ``does`` is what `stages.step` or the kind of sink is told."""

    name: str
    kind: str
    does: str
    inputs: list[str]
    every: int = 0
    """A transform does it to each row whose id is one less than a multiple of this."""
    settings: dict[str, Any] = field(default_factory=dict)
    """``workers``, ``queue`` and so on."""
    options: dict[str, Any] = field(default_factory=dict)

    def hits(self, number: int) -> bool:
        return self.every > 0 and number % self.every == self.every - 1


@dataclass(frozen=True)
class Way:
    """One way of a row: where it must arrive, or which stage ends it; every stage on it may have refused it."""

    sink: str
    via: str
    ends: str | None
    """``filtered``, ``dead`` or ``dropped``; None: it arrives at the sink."""
    refused_at: tuple[tuple[str, str], ...]
    """The ``(stage, via)`` under which a dead letter may stand in for the row."""


class Drawing:
    """``nodes`` in the order of the file."""

    def __init__(self, seed: int, *, calm: bool = False) -> None:
        """``calm``: nothing fails by chance."""
        self.dice = random.Random(f"pipeline {seed}")
        self.calm = calm
        self.nodes: list[Node] = []
        self.shape = self.dice.choice(["chain", "diamond", "fan-out", "both"])
        getattr(self, "_draw_" + self.shape.replace("-", "_"))()
        self.exact = next((node.name for node in self.nodes if node.does in EXACT), None)

    # --- drawing -----------------------------------------------------------------------------------------------------

    def _draw_chain(self) -> None:
        last = "logs"
        for _ in range(self.dice.randint(1, 3)):
            last = self._transform([last])
        self._sink([last])

    def _draw_diamond(self) -> None:
        top = self._transform(["logs"])
        arms = [self._transform([top]) for _ in range(self.dice.randint(2, 3))]
        self._sink([self._transform(arms)])

    def _draw_fan_out(self) -> None:
        top = self._transform(["logs"])
        for _ in range(self.dice.randint(2, 3)):
            self._sink([self._transform([top]) if self.dice.random() < 0.5 else top])

    def _draw_both(self) -> None:
        top = self._transform(["logs"])
        arms = [self._transform([top]) for _ in range(2)]
        self._sink(arms)
        self._sink([arms[0]])

    def _transform(self, inputs: list[str]) -> str:
        dice = self.dice
        does = dice.choice(["pass", "pass", "slow", "slow", "sieve", "reject", "poison", "drop", "flaky", "keep"])
        node = Node(f"t{len(self.nodes)}", "transform", does, inputs, settings=self._bounds())
        options = node.options = {"name": node.name, "does": does}
        if does in ("sieve", "reject", "poison", "drop"):
            options["every"] = node.every = dice.choice([2, 3, 5, 7])
        if does == "slow":
            options["seconds"] = f"${{PAUSE:-{SLOW}}}"
        if does == "flaky":
            options["chance"] = "${CHANCE:-0.05}" if not self.calm else "0"
            node.settings["on_error"] = self._policy(dice.choice(["stop", "dead_letter"]))
        if does in ("poison", "drop"):
            node.settings["on_error"] = self._policy("dead_letter" if does == "poison" else "drop")
        if does == "keep":
            node.options = {"name": node.name, "batches": dice.randint(2, 4)}
        self._workers(node)
        self.nodes.append(node)
        return node.name

    def _workers(self, node: Node) -> None:
        node.settings["workers"] = workers = self.dice.choice([1, 2, 4])
        if workers > 1 and node.does != "keep":
            way = self.dice.choice(["any", "ordered", "key"])
            if way == "ordered":
                node.settings["ordered"] = True
            elif way == "key":
                node.settings["key"] = "id"

    def _bounds(self) -> dict[str, Any]:
        dice = self.dice
        return {"queue": dice.choice([5, 20, 100]), "batch": dice.choice([1, 3, 10])}

    def _policy(self, then: str) -> dict[str, Any]:
        policy: dict[str, Any] = {"then": then, "retries": self.dice.randint(0, 2), "wait": "2ms"}
        return policy

    def _sink(self, inputs: list[str]) -> None:
        kinds = ["files", "python", "flaky"]
        if not any(node.does in EXACT for node in self.nodes):
            kinds += EXACT  # a source leads to one such sink at most
        does = self.dice.choice(kinds)
        node = Node(f"s{len(self.nodes)}", "sink", does, inputs, settings=self._bounds())
        if does == "flaky":
            node.settings["on_error"] = {"then": "stop", "retries": 2, "wait": "2ms"}
            if self.dice.random() < 0.5:
                node.settings["on_error"] = {"retries": 1, "wait": "2ms", "longest_wait": "10ms", "breaker": 2}
        self.nodes.append(node)

    # --- the file ----------------------------------------------------------------------------------------------------

    def text(self, source: str, directory: str) -> str:
        """The pipeline file; ``source`` is the source's stage, as JSON."""
        lines = [
            "name: chaos",
            f"commit: {{interval: {self.dice.choice([20, 50, 200])}ms}}",
            "shutdown: {timeout: 15s}",
            "stages:",
            f"  logs: {source}",
        ]
        lines += [f"  {node.name}: {json.dumps(self._stage(node, directory))}" for node in self.nodes]
        return "\n".join(lines) + "\n"

    def _stage(self, node: Node, directory: str) -> dict[str, Any]:
        stage: dict[str, Any] = {"from": node.inputs, **node.settings}
        if node.kind == "transform":
            if node.does == "keep":
                return {"transform": "chaos.keep", "with": node.options, **stage}
            return {"transform": "python", "with": {"call": "stages.py:step", "options": node.options}, **stage}
        if node.does == "exact":
            return {"sink": "chaos.exact", "with": {"path": f"{node.name}.db"}, **stage}
        if node.does == "sqlite":
            return {"sink": "sqlite", "with": {"path": f"{node.name}.db", "table": "delivered"}, **stage}
        if node.does == "files":
            return {"sink": "files", "with": {"path": f"{node.name}.jsonl"}, **stage}
        chance = "${CHANCE:-0.05}" if node.does == "flaky" and not self.calm else "0"
        options = {"file": f"{directory}/{node.name}.jsonl", "chance": chance}
        return {"sink": "python", "with": {"call": "stages.py:deliver", "per": "batch", "options": options}, **stage}

    # --- what must become of a row -----------------------------------------------------------------------------------

    @property
    def sinks(self) -> list[Node]:
        return [node for node in self.nodes if node.kind == "sink"]

    def ways(self, number: int) -> Iterator[Way]:
        """What must become of the row with this id, on every way."""
        for sink, path in self._paths("logs", []):
            yield self._way(number, sink, path)

    def _paths(self, at: str, path: list[Node]) -> Iterator[tuple[Node, list[Node]]]:
        for node in self.nodes:
            if at in node.inputs:
                if node.kind == "sink":
                    yield node, path
                else:
                    yield from self._paths(node.name, [*path, node])

    @staticmethod
    def _way(number: int, sink: Node, path: list[Node]) -> Way:
        via, places = "", []
        for node in path:
            if node.hits(number):
                ends = {"sieve": "filtered", "drop": "dropped"}.get(node.does, "dead")
                if ends == "dead":
                    places.append((node.name, via))
                return Way(sink.name, via, ends, tuple(places))
            if node.does == "flaky" and node.settings["on_error"]["then"] == "dead_letter":
                places.append((node.name, via))
            via += "/" + node.name
        return Way(sink.name, via, None, tuple(places))
