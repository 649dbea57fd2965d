"""Masks of the model and the engine for the policy's situations, kept on disk so that each is made once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.policy_scenes import Situation
from ivm_data.engine.pipeline import Pipeline
from ivm_data.experts.registry import embedded
from ivm_data.recipes.labeling_recipes import recipe
from ivm_model.predictor import Predictor
from storage.disk.publish import whole_file
from storage.pixels import rle
from storage.records import Label, Sample, Status, sample_id

MODEL, RECIPE = "zoo:ivm", "demo"
PART = 100


def masks(situations: Sequence[Situation], folder: Path) -> dict[str, np.ndarray]:
    """Heatmaps of each source, uint8 (N, H, W), 255 for a probability of 1.

    They are kept in the folder under a name that follows from all images and instructions. "model" and "other" are the
    model's for the situation's own instruction and for that of the next situation, "engine" the mask of an accepted
    label; all zero where there is none.
    """
    digest = hashlib.sha256("".join(_sample(one).id for one in situations).encode()).hexdigest()[:16]
    kept = folder / f"masks-{digest}.npz"
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        made: dict[str, Any] = dict(_made(situations))
        with whole_file(kept) as hidden, hidden.open("wb") as file:
            np.savez_compressed(file, **made)
    with np.load(kept) as read:
        return {name: read[name] for name in read.files}


def _made(situations: Sequence[Situation]) -> Iterator[tuple[str, np.ndarray]]:
    predictor = Predictor.from_pretrained(embedded(MODEL))
    images, said = [each.image_HWC for each in situations], [each.instruction for each in situations]
    for name, instructions in (("model", said), ("other", [*said[1:], said[0]])):
        heatmap_NHW = np.stack(predictor.heatmaps(images, instructions))
        yield name, np.round(heatmap_NHW * 255).astype(np.uint8)
    yield "engine", np.stack([255 * mask_HW.astype(np.uint8) for mask_HW in _accepted(situations)])


def _accepted(situations: Sequence[Situation]) -> Iterator[np.ndarray]:
    samples = [_sample(each) for each in situations]
    pipeline, parts = Pipeline(recipe(RECIPE)), range(0, len(samples), PART)
    outcomes = [one for i in parts for one in pipeline.run(str(i), samples[i : i + PART]).outcomes]
    labels = [one for one in outcomes if isinstance(one, Label)]
    mask_of = {label.sample.id: label.mask for label in labels if label.status == Status.ACCEPTED}
    for sample in samples:
        known = sample.id in mask_of
        yield rle.decode(mask_of[sample.id]) if known else np.zeros((sample.height, sample.width), bool)


def _sample(situation: Situation) -> Sample:
    image = cv2.imencode(".png", cv2.cvtColor(situation.image_HWC, cv2.COLOR_RGB2BGR))[1].tobytes()
    height, width = situation.image_HWC.shape[:2]
    name = f"{situation.index}.png"
    return Sample(sample_id(image, situation.instruction), image, name, width, height, situation.instruction, "policy")
