"""Steps of both full-size recipes, from labels to an optimiser's step, in bfloat16; the paper's beside a plain loop."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks import plain_training
from benchmarks.gpu_cases import Size
from benchmarks.shallow import BaseModels, tiny_modern, whole
from benchmarks.training_bytes import step_bytes
from benchmarks.training_cost import PEAK
from benchmarks.training_flops import row_flops
from benchmarks.training_memory import label, write_rows
from ivm_data.recipes.training_recipes import TrainingRecipe, train_config
from ivm_model.model.masking_model import MaskingModel
from ivm_model.train.train_config import TrainConfig
from ivm_model.train.trainer import train_dwsl

STEPS = 4
"""The first one warms up."""
TOKENS = 600
"""Of image and prompt, near enough for operations and memory."""
Row = dict[str, Any]


def paper(sam: Path, lmm: Path, work: Path, size: Size) -> list[Row]:
    """Steps of recipe `paper` but for its discriminator: ours, and a plain loop's on the same base models."""
    config = _config("paper", {"sam": str(sam), "lmm": str(lmm)}, work, size)
    made = whole("paper") if size == "full" else None
    loops = {"ours": ours, "plain loop": plain}
    return [_row("paper", loop, config, made, run(config)) for loop, run in loops.items()]


def modern(work: Path, size: Size, device: str) -> list[Row]:
    """Steps of recipe `modern`."""
    made = whole("modern") if size == "full" else tiny_modern()
    where = made.save(work / "modern", device) | {"inputs.grid": made.grid}
    config = _config("modern", where, work, size)
    return [_row("modern", "ours", config, made if size == "full" else None, ours(config))]


def ours(config: TrainConfig) -> Row:
    """Seconds of a step, most memory, loss, parameters."""
    ended: list[float] = []

    def step(what: str, done: int, of: int) -> None:
        if what == "generator":
            ended.append(_now())

    _forget()
    report = train_dwsl(config, step)
    batch = config.generator.batch
    return {**_measured(ended), "batch": batch, "loss": report.loss[-1], "parameters": report.parameters}


def plain(config: TrainConfig) -> Row:
    """The same of the plain loop, with half the batch where its activations do not fit, as it computes none again."""
    model = MaskingModel(config.model).to("cuda" if torch.cuda.is_available() else "cpu")
    batch = config.generator.batch
    while True:
        _forget()
        rows = [label(number) for number in range(STEPS * batch)]
        try:
            steps = [(loss, _now()) for loss in plain_training.losses(model, rows, batch)]
        except torch.OutOfMemoryError:
            if batch == 1:
                raise
            batch //= 2
            model.zero_grad(set_to_none=True)
        else:
            took = _measured([end for _, end in steps])
            return {**took, "batch": batch, "loss": steps[-1][0], "parameters": model.parameter_report()}


def _config(recipe: TrainingRecipe, where: Mapping[str, Any], work: Path, size: Size) -> TrainConfig:
    batch, rows = (16, 80) if size == "full" else (2, 20)
    data = work / "labels"
    if not data.exists():
        write_rows(data, rows)
    steps = {"generator.steps": STEPS, "generator.batch": batch, "weighting": "uniform", "feed.memory_mb": 0}
    return train_config(data, work / f"model-{recipe}", {**where, **steps}, recipe)


def _row(recipe: str, loop: str, config: TrainConfig, made: BaseModels | None, found: Row) -> Row:
    """Of the table; what is computed only at full size."""
    batch, again = found["batch"], loop == "ours" and config.run.gradient_checkpointing
    pace, rate, computed = batch / found["s a step"], None, None
    if made is not None:
        rate = pace * row_flops(made.sam, made.lmm, config.model, TOKENS, again=again).all
        computed = step_bytes(made.sam, made.lmm, config.model, TOKENS, batch) / 1e9 if again else None
    trained, frozen = (f"{found['parameters'][name]:,}" for name in ("trained", "frozen"))
    return {
        "recipe": recipe, "loop": loop, "batch": batch,
        "s a step": found["s a step"], "rows a second": pace, "TFLOP/s": rate and rate / 1e12,
        "of an H200's peak": rate and rate / PEAK["H100, H200"], "most GB": found["most GB"], "computed GB": computed,
        "precision": config.run.precision, "loss": found["loss"], "trained": trained, "frozen": frozen,
    }  # fmt: skip


def _measured(ended: list[float]) -> Row:
    most = torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else None
    return {"s a step": (ended[-1] - ended[0]) / (len(ended) - 1), "most GB": most}


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _forget() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
