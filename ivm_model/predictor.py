"""The trained model in use: image and instruction -> heatmap -> masked image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ivm_model.checkpoint import load_checkpoint
from ivm_model.masking import How, Masked, apply
from ivm_model.model import MaskingModel

BATCH = 16


class Predictor:
    """A masking model ready to answer."""

    def __init__(self, model: MaskingModel) -> None:
        self.model = model.eval()

    @classmethod
    def from_pretrained(cls, directory: Path | str, sam: str = "", lmm: str = "") -> Predictor:
        """Read a checkpoint that `train_dwsl` wrote.

        Args:
            sam, lmm: where the base models lie now, if they moved since training.

        Raises:
            WeightsError: the checkpoint or a base model cannot be used.
        """
        return cls(load_checkpoint(Path(directory), sam, lmm))

    def heatmaps(self, images: Sequence[np.ndarray], instructions: Sequence[str]) -> list[np.ndarray]:
        """Probability that each pixel is needed, HW float32 in [0, 1] for each HWC uint8 RGB image.

        Raises:
            ValueError: there is not one instruction for each image.
        """
        if len(images) != len(instructions):
            raise ValueError(f"need one instruction for each image, got {len(instructions)} for {len(images)} images")
        batches = range(0, len(images), BATCH)
        parts = [self.model.heatmaps(images[i : i + BATCH], instructions[i : i + BATCH]) for i in batches]
        return [heatmap_HW for part in parts for heatmap_HW in part]

    def heatmap(self, image_HWC: np.ndarray, instruction: str) -> np.ndarray:
        """As `heatmaps`, for one image."""
        return self.heatmaps([image_HWC], [instruction])[0]

    def mask(self, image_HWC: np.ndarray, instruction: str, how: How = "overlay", threshold: float = 0.5) -> Masked:
        """The image with only what the instruction needs; the whole image, and `found` False, where that is nothing."""
        return apply(image_HWC, self.heatmap(image_HWC, instruction), how, threshold)
