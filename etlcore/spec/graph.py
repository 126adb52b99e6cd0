"""The edges between the stages: found, and checked to be a graph in which every row has a way to a sink."""

from __future__ import annotations

from collections.abc import Iterator

from etlcore.plugins.names import closest, quoted
from etlcore.spec import fields
from etlcore.spec.fields import Value
from etlcore.spec.model import Input
from etlcore.spec.stages import Draft


def connect(drafts: list[Draft]) -> None:
    """Give every stage its inputs, and report what is wrong with the edges."""
    _Graph(drafts).connect()


class _Graph:
    def __init__(self, drafts: list[Draft]) -> None:
        self.drafts = drafts
        self.by_name = {draft.name: draft for draft in drafts}
        self.read: set[tuple[str, str | None]] = set()
        """The outputs that somebody reads, and those that somebody probably meant."""

    def connect(self) -> None:
        for index, draft in enumerate(self.drafts):
            above = self.drafts[index - 1] if index else None
            draft.inputs = tuple(self._inputs(draft, above))
            self.read |= {(found.stage, found.output) for found in draft.inputs}
        self._find_cycles()
        for draft in self.drafts:
            self._check_outputs(draft)

    # -- inputs ---------------------------------------------------------------------------------------------------

    def _inputs(self, draft: Draft, above: Draft | None) -> Iterator[Input]:
        value = draft.keys.get("from")
        if draft.kind == "source":
            if value is not None:
                value.wrong_key(
                    f"stage `{draft.name}` is a source: it has no input", "remove `from:`, or make it a transform"
                )
        elif value is not None:
            yield from self._named(draft, value)
        elif draft.kind is not None:
            found = self._above(draft, above)
            if found:
                yield found

    def _above(self, draft: Draft, above: Draft | None) -> Input | None:
        """Without ``from:`` the input is the stage above, which must have an output."""
        if above is None:
            draft.at.wrong_key(
                f"stage `{draft.name}` has no input: it is a {draft.kind}, and no stage is above it",
                "put a source above it, or write from: STAGE",
            )
            return None
        if above.kind != "sink":
            return Input(above.name)
        index = self.drafts.index(draft)
        candidates = [other.name for other in reversed(self.drafts[:index]) if other.kind in ("source", "transform")]
        if candidates:
            self.read.add((candidates[0], None))
        draft.at.wrong_key(
            f"stage `{draft.name}` has no input: the stage above it, `{above.name}`, is a sink and has no output",
            f"write from: {candidates[0] if candidates else 'STAGE'}",
        )
        return None

    def _named(self, draft: Draft, value: Value) -> Iterator[Input]:
        """What ``from:`` names: one stage or a list of them."""
        listed = list(value.children()) if isinstance(value.value, list) else [value]
        if not listed:
            value.wrong("`from` names no stage", "name the stages to read from, or leave `from:` out for the one above")
        seen: set[str] = set()
        for item in listed:
            if isinstance(item.value, dict | list):
                item.wrong(f"`from` must name a stage, not {item.shown()}", "write from: STAGE, or from: [ONE, OTHER]")
                continue
            name = fields.text(item, "write from: STAGE, or leave it out for the stage above")
            if name is None:
                continue
            if name in seen:
                item.wrong(f"`{name}` is named twice in `from`", "remove one of them")
                continue
            seen.add(name)
            found = self._edge(draft, item, name)
            if found:
                yield found

    def _edge(self, draft: Draft, value: Value, name: str) -> Input | None:
        stage, dot, output = name.partition(".")
        if stage not in self.by_name:
            close = closest(stage, (other for other in self.by_name if other != draft.name))
            others = [other.name for other in self.drafts if other.kind != "sink" and other is not draft]
            if close:
                self.read.add((close, None))
            hint = f"did you mean `{close}{dot}{output}`?" if close else f"the stages to read from are {quoted(others)}"
            value.wrong(f"there is no stage `{stage}`", hint)
            return None
        upstream = self.by_name[stage]
        if upstream.kind == "sink":
            value.wrong(
                f"`{stage}` is a sink: it has no output to read from",
                f"read from what `{stage}` reads from" if upstream is not draft else "name another stage",
            )
            return None
        if not dot:
            return Input(stage)
        outputs = upstream.outputs
        if outputs is not None and output not in outputs:
            close = closest(output, outputs)
            if close:
                hint = f"did you mean `{stage}.{close}`?"
            elif outputs:
                hint = f"it has {quoted(f'{stage}.{other}' for other in outputs)}, and `{stage}` itself"
            else:
                hint = f"it has one output only: write from: {stage}"
            self.read.add((stage, close))
            value.wrong(f"stage `{stage}` has no output `{output}`", hint)
            return None
        return Input(stage, output)

    # -- the whole ------------------------------------------------------------------------------------------------

    def _find_cycles(self) -> None:
        """Report each cycle at the first of its stages in the file."""
        done: set[str] = set()
        for draft in self.drafts:
            if draft.name not in done:
                self._walk(draft.name, done)

    def _walk(self, start: str, done: set[str]) -> None:
        # Depth first against the flow, with a stack of its own: a file may hold thousands of stages in a row.
        trail = {start: iter(self.by_name[start].inputs)}
        while trail:
            name = next(reversed(trail))
            step = next(trail[name], None)
            if step is None:
                done.add(name)
                del trail[name]
            elif step.stage in trail:
                names = list(trail)
                self._report_cycle(names[names.index(step.stage) :])
            elif step.stage not in done:
                trail[step.stage] = iter(self.by_name[step.stage].inputs)

    def _report_cycle(self, against: list[str]) -> None:
        """``against`` runs against the flow: each stage reads from the next one, and the last from the first."""
        flow = against[::-1]
        order = [draft.name for draft in self.drafts]
        begin = flow.index(min(flow, key=order.index))
        flow = flow[begin:] + flow[:begin]
        first = self.by_name[flow[0]]
        value = first.keys.get("from")
        first.at.document.report(
            value.place if value is not None else first.at.key,
            f"the stages run in a circle: {' -> '.join([*flow, flow[0]])}",
            "rows would never arrive: change a `from:` of one of them",
        )

    def _check_outputs(self, draft: Draft) -> None:
        """Every row needs somewhere to go."""
        if draft.kind not in ("source", "transform"):
            return
        outputs = draft.outputs
        if outputs is None and any(stage == draft.name for stage, _ in self.read):
            return  # which outputs it would have is not known
        unread = [output for output in outputs or () if (draft.name, output) not in self.read]
        main = (draft.name, None) in self.read
        if not main and len(unread) == len(outputs or ()):
            draft.at.wrong_key(
                f"nobody reads from stage `{draft.name}`: its rows would go nowhere",
                f"add from: {draft.name} to a stage, or remove `{draft.name}`",
            )
            return
        for output in unread:
            draft.at.wrong_key(
                f"nobody reads the output `{draft.name}.{output}`: its rows would go nowhere",
                f"add a stage with from: {draft.name}.{output} (sink: blackhole throws rows away)",
            )
