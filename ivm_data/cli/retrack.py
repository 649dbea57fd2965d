"""`ivm retrack`: masks that people corrected, carried to the frames beside them."""

from __future__ import annotations

from typing import Annotated

import typer

from ivm_data.cli.console import OutputFormat, show
from ivm_data.cli.options import DataFolder


def retrack(
    data: DataFolder,
    recipe: Annotated[str | None, typer.Option(help="Hash of the recipe, where the folder holds several.")] = None,
    form: Annotated[OutputFormat, typer.Option("--format", help="table, csv or json.")] = "table",
) -> None:
    """Carry corrected masks to the frames of an episode beside them: `ivm retrack --data data`."""
    from ivm_data.engine import retracking

    done = retracking.retrack(data, recipe)
    row = (done.corrected, done.carried, done.changed, done.kept, ", ".join(done.parts))
    show(["corrected frames", "carried anew", "rows appended", "judged, left alone", "parts"], [row], form)
