"""Steps of the paper's training, from labels on disk to an optimiser's step, in bfloat16."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_cases import Size
from benchmarks.training_memory import write_rows
from ivm_data.recipes.training_recipes import train_config
from ivm_model.train.trainer import train_dwsl

STEPS = 3
"""The first one warms up."""


def training(sam: Path, lmm: Path, work: Path, size: Size) -> list[dict[str, Any]]:
    """A row: seconds of a step, most memory, parameters; the whole recipe `paper` but for its discriminator."""
    batch, rows = (16, 60) if size == "full" else (2, 20)
    changes = {
        "sam": str(sam), "lmm": str(lmm), "weighting": "uniform", "generator.steps": STEPS, "generator.batch": batch,
    }  # fmt: skip
    write_rows(work / "labels", rows)
    config = train_config(work / "labels", work / "model", changes, "paper")
    ended: list[float] = []

    def step(what: str, done: int, of: int) -> None:
        if what == "generator":
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            ended.append(time.perf_counter())

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    report = train_dwsl(config, step)
    peak = torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else None
    return [{
        "batch": batch, "s a step": (ended[-1] - ended[0]) / (len(ended) - 1), "most GB": peak,
        "trained": f"{report.parameters['trained']:,}", "frozen": f"{report.parameters['frozen']:,}",
        "precision": config.run.precision, "loss": report.loss[-1],
    }]  # fmt: skip
