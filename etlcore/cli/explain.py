"""`etl explain`: what happens to a row in any failure, and how each stage will run."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from etlcore.cli.whereabouts import table

_COLUMNS = ("stage", "component", "workers", "queue", "batch", "order", "on_error")
_USUAL = ("the default", "there is one worker", "of each partition")
"""What reasons begin with that tell nothing; the JSON has them, too."""


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON.")
def explain(file: str, as_json: bool) -> None:
    """Say what the pipeline FILE guarantees, without running it.

    For each way from a source to a sink: whether a row arrives at most once, at least once or effectively once, why,
    what each kind of stop or crash costs there, and what to change for more. Then how each stage will run, and why.
    """
    from etlcore.explain import Way
    from etlcore.explain import explain as ways_of
    from etlcore.spec import load
    from etlcore.stage_plan import plan

    pipeline = load(file)
    ways, stages = ways_of(pipeline), plan(pipeline)
    if as_json:
        data = {
            "pipeline": pipeline.name,
            "ways": [way.to_json() for way in ways],
            "stages": [asdict(stage) for stage in stages],
        }
        click.echo(json.dumps(data, ensure_ascii=False, indent=2))
        return

    def show(way: Way) -> None:
        click.echo(f"{' -> '.join(way.stages)}: {way.guarantee}")
        for reason in way.why:
            click.echo(f"  because  {reason}")
        width = max(len(end) for end, _ in way.costs)
        for end, cost in way.costs:
            click.echo(f"  costs    {end:<{width}}  {cost}")
        for change in way.more:
            click.echo(f"  for more {change}")
        click.echo()

    for way in ways:
        show(way)
    head = [name.replace("_", " ") for name in _COLUMNS]
    for line in table([head, *([str(getattr(stage, name)) for name in _COLUMNS] for stage in stages)]):
        click.echo(line)
    because = [
        [stage.stage, name.replace("_", " "), f"{getattr(stage, name)}: {reason}"]
        for stage in stages
        for name, reason in stage.why.items()
        if not reason.startswith(_USUAL)
    ]
    if because:
        click.echo("\nbecause")
        for line in table(because, indent="  "):
            click.echo(line)
