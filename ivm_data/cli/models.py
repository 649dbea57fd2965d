"""`ivm train` and `mask`: the masking model made and used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ivm_data.cli.console import progress_bar, say, warn
from ivm_data.cli.labels import BAD_INPUT_STATUS
from ivm_data.cli.options import DataFolder, parse_changes
from ivm_model.how import How

if TYPE_CHECKING:
    from rich.progress import TaskID


def train(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint, its model card and scores.")],
    recipe: Annotated[
        Literal["embedded", "paper"], typer.Option(help="Embedded base models, or LLaVA-1.5-7B and SAM ViT-H.")
    ] = "embedded",
    changes: Annotated[list[str], typer.Option("--set", help="Replace a field: weighting=uniform")] = [],  # noqa: B006
) -> None:
    """Train the masking model with DWSL: `ivm train --data data --out model`.

    The paper's configuration: `ivm train --data data --out model --recipe paper --set sam=DIR --set lmm=DIR`.
    """
    from ivm_data.outputs import check

    check("train", out, data)
    from ivm_data.recipes.training_recipes import train_config
    from ivm_model.engine.processes import is_first_process
    from ivm_model.train.trainer import train_dwsl

    with progress_bar() as bar:
        tasks: dict[str, TaskID] = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done)

        train_dwsl(train_config(data, out, parse_changes(changes), recipe), advance)
    if is_first_process():
        say((out / "README.md").read_text(), highlight=False)


def mask(
    source: Annotated[Path, typer.Argument(help="Image file, folder of images, or video file.")],
    instruction: Annotated[str, typer.Argument(help="What the image is asked for.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Image file to write; for a folder or a video, a folder.")],
    model: Annotated[str, typer.Option(help="Checkpoint folder that training wrote, or a hub id.")],
    how: Annotated[How, typer.Option(help="overlay, blur, gray, crop or overlay+crop.")] = "overlay",
    threshold: Annotated[float, typer.Option(help="A pixel is kept above this probability.")] = 0.5,
    device: Annotated[str, typer.Option(help="torch device.")] = "cpu",
) -> None:
    """Mask images: `ivm mask photo.jpg "the red ring" -o masked.png --model model --how blur`.

    A folder or the frames of a video become PNG files in a folder: `ivm mask photos "the red ring" -o masked ...`.
    """
    from ivm_data.apply.frames import count, is_many
    from ivm_data.apply.masking import mask_frames
    from ivm_data.outputs import check
    from ivm_model.predictor import Predictor

    total = count(source)
    check("masks" if is_many(source) else "mask", out, inputs=[source])
    predictor = Predictor.from_pretrained(model, device=device)
    with progress_bar() as bar:
        task = bar.add_task("images", total=total)
        done = mask_frames(
            predictor, source, instruction, out, how=how, threshold=threshold, progress=lambda: bar.advance(task)
        )
    for name in done.not_found:
        warn(f"{name}: no pixel reaches {threshold}: the whole image is kept")
    for name, why in done.bad.items():
        warn(f"{name}: {why}")
    say(f"{out}")
    if done.bad:
        raise typer.Exit(BAD_INPUT_STATUS)
