"""`ivm train`, `convert` and `mask`: the masking model made and used."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

import typer

from ivm_data.cli.console import StageBars, progress_bar, say, warn
from ivm_data.cli.labels import BAD_INPUT_STATUS
from ivm_data.cli.options import (
    OWN_MODEL,
    BaseModels,
    DataFolder,
    MaskingModel,
    parse_base_models,
    parse_changes,
)
from ivm_model.how import How

AFTER_TRAINING = """Next:
  ivm mask PHOTO "INSTRUCTION" --model {model} -o masked.png
  ivm app --model {model}
  ivm evaluate --manifest MANIFEST --on model:{model} -o scores.md"""
"""What to do with a trained model."""


def train(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint, its model card and scores.")],
    recipe: Annotated[
        Literal["embedded", "paper", "modern"],
        typer.Option(help="Embedded base models; LLaVA-1.5-7B and SAM ViT-H; or Qwen3-VL-2B and SAM 2.1."),
    ] = "embedded",
    changes: Annotated[list[str], typer.Option("--set", help="Replace a field: weighting=uniform")] = [],  # noqa: B006
) -> None:
    """Train the masking model with DWSL: `ivm train --data data --out model`.

    At full size: `ivm train --data data --out model --recipe modern --set sam=DIR --set lmm=DIR`.
    """
    from ivm_data.outputs import check

    check("train", out, data)
    from ivm_data.recipes.training_recipes import train_config
    from ivm_model.engine.processes import is_first_process
    from ivm_model.train.trainer import train_dwsl

    with progress_bar() as bar:
        train_dwsl(train_config(data, out, parse_changes(changes), recipe), StageBars(bar).show)
    if is_first_process():
        say((out / "README.md").read_text(), highlight=False)
        say(AFTER_TRAINING.format(model=quote(str(out))), highlight=False)


def convert(
    file: Annotated[Path, typer.Argument(help="IVM-V1.0.bin, the file of IVM's release.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the checkpoint.")],
    changes: BaseModels = [],  # noqa: B006
) -> None:
    """Make a folder of the release's file: `ivm convert IVM-V1.0.bin --out ivm-v1 --set lmm=DIR --set sam=DIR`.

    It opens like a trained checkpoint, in `ivm mask`, `evaluate`, `app` and the expert `ivm`. The base models stay
    where they are: directories, or hub ids in the hub's cache.
    """
    from ivm_data.outputs import check
    from ivm_model.model.official import convert as write
    from ivm_model.model.paper import released_config

    check("convert", out, inputs=[file])
    say(f"{write(file, out, released_config(**parse_base_models(changes)))}")


def mask(
    source: Annotated[Path, typer.Argument(help="Image file, folder of images, or video file.")],
    instruction: Annotated[str, typer.Argument(help="What the image is asked for.")],
    model: MaskingModel = OWN_MODEL,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Image file to write; for a folder or a video, a folder; for a video also a video.",
            show_default="NAME-masked.png, or the folder NAME-masked, here",
        ),
    ] = None,
    how: Annotated[How, typer.Option(help="overlay, blur, gray, crop or overlay+crop.")] = "overlay",
    threshold: Annotated[float, typer.Option(help="A pixel is kept above this probability.")] = 0.5,
    zoom: Annotated[
        int, typer.Option(help="Closer looks at images larger than the model sees, for small things; 0: none.")
    ] = 0,
    device: Annotated[str, typer.Option(help="torch device, or auto.")] = "cpu",
    changes: BaseModels = [],  # noqa: B006
) -> None:
    """Mask images: `ivm mask photo.jpg "the red ring" -o masked.png --model model --how blur`.

    Without a model it is the embedded one, which knows the procedural world only.

    A folder becomes PNG files in a folder: `ivm mask photos "the red ring" -o masked ...`; a video becomes one of the
    same length: `ivm mask clip.mp4 "the red ring" -o masked.mp4 ...`, or a folder of its frames.

    The release's own weights: `ivm mask photo.jpg "the red ring" --model IVM-V1.0.bin --set lmm=DIR --set sam=DIR`.
    """
    from ivm_data.apply.frames import count, is_many, is_video
    from ivm_data.apply.masking import check_out, mask_frames, not_known
    from ivm_data.experts.registry import embedded
    from ivm_data.outputs import check
    from ivm_model.predictor import Predictor

    total = count(source)
    out = out or Path(f"{source.stem}-masked" if is_many(source) else f"{source.stem}-masked.png")
    as_folder = is_many(source) and not (is_video(source) and is_video(out))
    check("masks" if as_folder else "mask", out, inputs=[source])
    check_out(source, out)
    predictor = Predictor.from_pretrained(embedded(model), device=device, zoom=zoom, **parse_base_models(changes))
    if unknown := not_known(predictor, instruction):
        warn(unknown)
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
