"""What transactional sinks ask of a graph, so that rows and positions can be in one transaction."""

from __future__ import annotations

from etlcore.components import TransactionalSink
from etlcore.plugins.names import quoted
from etlcore.spec.stages import Draft


def check(drafts: list[Draft]) -> None:
    """Report a transactional sink with several workers, and a source that leads to several such sinks."""
    sinks = [draft for draft in drafts if draft.cls is not None and issubclass(draft.cls, TransactionalSink)]
    for sink in sinks:
        if sink.workers > 1:
            _report_workers(sink)
    if len(sinks) > 1:
        _check_sources(drafts, sinks)


def _report_workers(sink: Draft) -> None:
    given = sink.keys.get("workers")
    counts = f"not {sink.workers:,}" if given is not None else f"and `defaults` gives it {sink.workers:,}"
    (given or sink.at).wrong_key(
        f"`{sink.component}` writes rows and positions in one transaction, so stage `{sink.name}` has one "
        f"worker, {counts}",
        "write workers: 1; the stages in front of it may have several",
    )


def _check_sources(drafts: list[Draft], sinks: list[Draft]) -> None:
    by_name = {draft.name: draft for draft in drafts}
    led: dict[str, str] = {}
    """For each source, the first such sink that it leads to."""
    for sink in sinks:
        shared: dict[str, list[str]] = {}
        for source in _sources(sink, by_name):
            if led.setdefault(source, sink.name) != sink.name:
                shared.setdefault(led[source], []).append(source)
        for other, sources in shared.items():
            sink.at.wrong_key(
                f"{quoted(sources)} {'leads' if len(sources) == 1 else 'lead'} to two transactional sinks, "
                f"`{other}` and `{sink.name}`: no transaction holds the rows of both, so neither could tell which "
                "rows it has",
                "read the source once more, as a stage of its own, for one of them; or make it two pipelines",
            )


def _sources(sink: Draft, by_name: dict[str, Draft]) -> list[str]:
    """The sources in front of a sink, in the order of the file; a cycle, which is another problem, is left alone."""
    reached: set[str] = set()
    ahead = [sink.name]
    while ahead:
        for edge in by_name[ahead.pop()].inputs:
            if edge.stage not in reached:
                reached.add(edge.stage)
                ahead.append(edge.stage)
    return [name for name, draft in by_name.items() if name in reached and draft.kind == "source"]
