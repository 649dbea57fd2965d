"""What training on a million labels costs, computed from configurations: `python -m benchmarks.training_cost`.

Brings its tables into docs/training-cost.md; nothing is downloaded, and no weight is made. `--count` measures anew what
the formulas are compared with: base models at full width with one layer are written with random weights (3 GB), and
torch counts a row of a step on the CPU, some minutes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.capacity_page import with_table
from benchmarks.shallow import BaseModels, shallow, whole
from benchmarks.training_bytes import encode_bytes, encoding_bytes, learn_bytes, step_bytes, weights
from benchmarks.training_flops import Flops, llava_tower, qwen_tower, read_flops, row_flops
from ivm_data.recipes.training_recipes import TrainingRecipe, train_config
from ivm_model.model.masking_model import MaskingModel
from ivm_model.train.train_config import TrainConfig
from storage.common.markdown import markdown_table

PAGE = Path(__file__).parents[1] / "docs" / "training-cost.md"
RESULTS = Path(__file__).parent / "results" / "training_cost.json"
RECIPES: tuple[TrainingRecipe, ...] = ("paper", "modern")
LABELS = 1_000_000
PEAK = {"A100": 312e12, "H100, H200": 989e12}
"""FLOPs a second in bfloat16 without sparsity, by their data sheets."""
MFU = 0.35
"""Assumed share of the peak that a step reaches."""
GPUS, BATCHES = (1, 8, 64), (1, 4, 16)
GB, TERA, HOUR_S = 1e9, 1e12, 3600


@dataclass(frozen=True)
class Counted:
    """What torch counted of a row on base models with few layers.

    Attributes:
        tokens: of image and prompt.
        flops: `decode` within `read`.
        encode, learn: most bytes that the row held in either half.
    """

    recipe: TrainingRecipe
    layers: int
    tokens: int
    flops: Flops
    encode: int
    learn: int


def settings(recipe: TrainingRecipe, where: dict[str, str] | None = None) -> TrainConfig:
    """The recipe's, with base models that lie elsewhere."""
    return train_config(Path(), Path("model"), where, recipe)


def counted(recipe: TrainingRecipe, layers: int, work: Path) -> Counted:
    """Write base models of few layers, run a step on one and on two rows."""
    from benchmarks.training_count import WORDS, count, peak, step

    model = MaskingModel(settings(recipe, shallow(recipe, layers).save(work)).model)
    flops, tokens = count(model)
    image_HWC = np.random.default_rng(0).integers(0, 255, (model.side, model.side, 3), np.uint8)
    encode, _ = peak(lambda: model.embed([image_HWC]))
    learned = []
    for rows in (1, 2):
        model.zero_grad(set_to_none=True)
        encoded = model.encode([image_HWC] * rows)
        learned.append(peak(lambda encoded=encoded, rows=rows: step(model, encoded, [WORDS] * rows))[0])
    return Counted(recipe, layers, tokens, flops, encode, learned[1] - learned[0])


def comparison(found: Counted) -> list[tuple[object, ...]]:
    """Computed and counted, a row for each part."""
    made, config = shallow(found.recipe, found.layers), settings(found.recipe).model
    flops = row_flops(made.sam, made.lmm, config, found.tokens)
    pairs = {
        "SAM's encoder, TFLOP": (flops.sam / TERA, found.flops.sam / TERA),
        "the LMM's tower, TFLOP": (flops.tower / TERA, found.flops.tower / TERA),
        "language model and decoder, forward and backward, TFLOP": (flops.learn / TERA, found.flops.learn / TERA),
        "most memory while encoding, GB": (encode_bytes(made.sam) / GB, found.encode / GB),
        "most memory while learning, GB": (
            learn_bytes(made.sam, made.lmm, found.tokens, cpu=True) / GB, found.learn / GB
        ),
    }  # fmt: skip
    return [
        (found.recipe, part, f"{computed:.3f}", f"{seen:.3f}", f"{computed / seen - 1:+.1%}")
        for part, (computed, seen) in pairs.items()
    ]


def flops_row(recipe: TrainingRecipe, made: BaseModels, tokens: int) -> tuple[object, ...]:
    """TFLOP of a row at full depth."""
    flops = row_flops(made.sam, made.lmm, settings(recipe).model, tokens)
    parts = (flops.sam, flops.tower, flops.read, flops.decode, flops.all)
    return recipe, tokens, *(f"{part / TERA:.2f}" for part in parts)


def memory_rows(recipe: TrainingRecipe, made: BaseModels, tokens: int) -> list[tuple[object, ...]]:
    """GB of a step at full depth, by batch."""
    config = settings(recipe).model
    held = weights(made.sam, made.lmm, config).held
    learn = learn_bytes(made.sam, made.lmm, tokens)
    rows: list[tuple[object, ...]] = []
    for batch in BATCHES:
        most = step_bytes(made.sam, made.lmm, config, tokens, batch)
        sizes = (held, encoding_bytes(made.sam, batch), batch * learn, most)
        rows.append((recipe, batch, *(f"{size / GB:.1f}" for size in sizes)))
    return rows


def stage_one(recipe: TrainingRecipe, made: BaseModels, tokens: int) -> tuple[float, float]:
    """FLOPs of what stage I learns, which every process does whole, and of what it scores, which they share."""
    config, text = settings(recipe), made.lmm.get_text_config()
    if not config.needs_discriminator:
        return 0.0, 0.0
    stage = config.discriminator
    tower = llava_tower(made.lmm) if recipe == "paper" else qwen_tower(made.lmm.vision_config, made.grid)
    learned = stage.steps * stage.batch * stage.folds * read_flops(text, tokens, config.lora)
    return learned, LABELS * (tower + read_flops(text, tokens, config.lora, learn=False))


def hours_rows(recipe: TrainingRecipe, made: BaseModels, tokens: int) -> list[tuple[object, ...]]:
    """Hours of one pass over the labels."""
    alone, shared = stage_one(recipe, made, tokens)
    row = row_flops(made.sam, made.lmm, settings(recipe).model, tokens).all
    rows: list[tuple[object, ...]] = []
    for name, peak in PEAK.items():
        pace = peak * MFU
        for gpus in GPUS:
            first = (alone + shared / gpus) / pace / HOUR_S
            second = LABELS * row / gpus / pace / HOUR_S
            whole_hours = first + second
            shown = (f"{value:,.1f}" for value in (first, second, whole_hours, whole_hours * gpus))
            rows.append((recipe, name, gpus, *shown, f"{gpus * pace / row:,.0f}"))
    return rows


def tables(found: list[Counted]) -> list[str]:
    """Of the page, in Markdown."""
    made = {recipe: (whole(recipe), next(each.tokens for each in found if each.recipe == recipe)) for recipe in RECIPES}
    each = [(recipe, *made[recipe]) for recipe in RECIPES]
    return [
        markdown_table(
            ("recipe", "part, of one row, at full width and one layer", "computed", "counted", "difference"),
            [row for one in found for row in comparison(one)],
        ),
        markdown_table(
            ("recipe", "tokens", "SAM's encoder", "LMM's tower", "language model", "decoder", "TFLOP a row"),
            [flops_row(*one) for one in each],
        ),
        markdown_table(
            ("recipe", "batch", "weights and moments, GB", "encoding, GB", "learning, GB", "most in a step, GB"),
            [row for one in each for row in memory_rows(*one)],
        ),
        markdown_table(
            ("recipe", "GPU", "GPUs", "hours of stage I", "of stage II", "hours", "GPU-hours", "rows a second"),
            [row for one in each for row in hours_rows(*one)],
        ),
    ]


def read(path: Path = RESULTS) -> list[Counted]:
    """What was counted."""
    kept: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["counted"]
    return [replace(Counted(**each), flops=Flops(**each["flops"])) for each in kept]


def main() -> None:
    """Bring the tables into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", action="store_true", help="count anew on the CPU first")
    parser.add_argument("--work", type=Path, help="folder for base models, 3 GB; the system's own by default")
    options = parser.parse_args()
    if options.count:
        torch.manual_seed(0)
        found = []
        for recipe in RECIPES:
            with tempfile.TemporaryDirectory(dir=options.work) as folder:
                found.append(asdict(counted(recipe, 1, Path(folder))))
            RESULTS.write_text(json.dumps({"counted": found}, indent=1) + "\n", encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    for table in tables(read()):
        text = with_table(text, table)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
