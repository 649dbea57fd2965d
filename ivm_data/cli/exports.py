"""`ivm export`: labels in the formats of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ivm_data.cli import completions
from ivm_data.cli.console import say, show
from ivm_data.cli.options import NamedGate, parse_changes
from storage.errors import ConfigError
from storage.records import Status


def export(
    name: Annotated[
        str,
        typer.Argument(metavar="FORMAT", help="Without it the formats are listed.", autocompletion=completions.formats),
    ] = "",
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder of a labeled data set.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to make.", show_default=False)] = None,
    statuses: Annotated[
        list[str],
        typer.Option("--status", help="May be repeated; 'any' for all.", show_default="accepted and no_target"),
    ] = [],  # noqa: B006
    recipe: Annotated[str | None, typer.Option(help="Hash of the recipe, where the folder holds several.")] = None,
    where: Annotated[str, typer.Option(help="SQL condition over the labels view: quality > 0.9")] = "",
    human: Annotated[bool, typer.Option("--human", help="A person's mask, where there is one.")] = False,
    gate: NamedGate = None,
    options: Annotated[list[str], typer.Option("--set", help="An option of the format: masks=polygons")] = [],  # noqa: B006
) -> None:
    """Write labels for another tool: `ivm export coco --data data --out coco --where "quality > 0.9"`."""
    from ivm_data.exports.formats import describe, describe_all
    from ivm_data.exports.run import Selection
    from ivm_data.exports.run import export as run

    if not name:
        rows = [(known.name, known.makes.splitlines()[0], known.loses) for known in describe_all()]
        show(["format", "what becomes what", "lost"], rows)
        return
    if data is None or out is None:
        raise ConfigError(f"give --data and --out; with --set {name} may have {', '.join(describe(name).options)}")
    chosen = {} if not statuses else {"statuses": tuple(map(str, Status)) if "any" in statuses else tuple(statuses)}
    selection = Selection(recipe=recipe, where=where, human=human, gate=gate or "", **chosen)
    counts = run(name, data, out, selection, parse_changes(options))
    say(
        f"{out}: {counts.labels} labels, {counts.no_target} without a target, {counts.images} images, "
        f"{counts.left_out} left out"
    )
