"""`ivm zoo`: the embedded experts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ivm_data.cli.console import say, show
from ivm_data.cli.options import parse_changes

app = typer.Typer(help="The embedded experts: list them, train them from nothing.", no_args_is_help=True)


@app.command("list")
def show_list() -> None:
    """Show the embedded experts and their model cards."""
    from ivm_data.zoo.embedded import NAMES, WEIGHTS

    show(["name", "model card"], [(name, str(WEIGHTS / name / "README.md")) for name in (*NAMES, "ivm")])


@app.command("train")
def train_expert(
    name: Annotated[str, typer.Argument(help="grounder, segmenter or lmm.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint and its model card.")],
    changes: Annotated[list[str], typer.Option("--set", help="Replace a field of TrainConfig: steps=100")] = [],  # noqa: B006
) -> None:
    """Train an embedded expert from nothing: `ivm zoo train segmenter --out my-sam`."""
    from ivm_data.outputs import check
    from ivm_data.zoo.embedded import train

    check("zoo", out)
    scores = train(name, out, parse_changes(changes), say)
    show(["score", "held out"], sorted(scores.items()), title=str(out))
