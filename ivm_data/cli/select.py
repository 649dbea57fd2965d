"""`ivm select`: the best of what the engine kept takes a label's place, after a preview, and reversibly."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from ivm_data.cli.console import OutputFormat, progress_bar, say, show
from ivm_data.cli.options import OWN_MODEL, DataFolder, MaskingModel
from storage.errors import ConfigError


def select(
    data: DataFolder,
    model: MaskingModel = OWN_MODEL,
    recipe: Annotated[str | None, typer.Option(help="Hash of the recipe, where the folder holds several.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Append the labels that change.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Append again what choosers took the place of.")] = False,
    margin: Annotated[
        float | None,
        typer.Option(
            help="By how much likelier right an alternative must be.", show_default="what pays where it is known"
        ),
    ] = None,
    limit: Annotated[int, typer.Option(help="Examples to show.")] = 10,
    form: Annotated[OutputFormat, typer.Option("--format", help="table, csv or json.")] = "table",
) -> None:
    """Choose among a label's mask, proposals, boxes and no target, as true masks taught: `ivm select --data data`."""
    from ivm_data.engine import selecting
    from ivm_data.experts.registry import embedded
    from ivm_model.predictor import Predictor

    if apply and undo:
        raise ConfigError("give either --apply or --undo")
    if undo:
        count, parts = selecting.undo(data, recipe)
        say(f"{count} labels are as they were before, in {', '.join(parts) or 'no part'}")
        return
    predictor = Predictor.from_pretrained(embedded(model))
    with progress_bar() as bar:
        task = bar.add_task("look", total=None)
        tell = lambda labels: bar.update(task, advance=labels)  # noqa: E731
        done = selecting.select(data, predictor.model, recipe, apply=apply, margin=margin, progress=tell)
    sides = Counter((one.was, one.becomes) for one in done.replaced)
    show(["was", "becomes", "labels"], [(*side, count) for side, count in sorted(sides.items())], form)
    rows = [
        (one.sample_id, one.instruction, one.was, one.becomes, one.choice.own, one.choice.other)
        for one in sorted(done.replaced, key=lambda one: -one.choice.gain)[:limit]
    ]
    show(["sample_id", "instruction", "was", "becomes", "P(right)", "P(right) then"], rows, form)
    taught = done.chooser.taught
    say(f"{done.chooser.name}: {taught} true masks taught it; of those labels it made {done.chooser.gained:+d} right")
    say(f"{done.looked} labels looked at, {len(done.replaced)} {'replaced' if apply else 'would be replaced'}")
    if apply:
        say(f"take it back with: ivm select --data {data} --undo")
