"""The base models of both full-size recipes with random weights, whole or with few layers, at any width."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import full_size
from ivm_data.recipes.training_recipes import TrainingRecipe
from ivm_model.model import modern, paper


@dataclass(frozen=True)
class BaseModels:
    """Transformers configurations of a recipe's base models, and what writes their checkpoints.

    Attributes:
        grid: tokens along each side of an image; 0 where the LMM's processor decides.
    """

    sam: Any
    lmm: Any
    save_sam: Callable[[Path, Any], None]
    save_lmm: Callable[..., None]
    grid: int

    @property
    def image_tokens(self) -> int:
        """Tokens of an image."""
        vision = self.lmm.vision_config
        return int(self.grid or vision.image_size // vision.patch_size) ** 2

    def save(self, work: Path, device: str = "cpu") -> dict[str, str]:
        """Write both into folders; gives what a training recipe has to be told of them."""
        folders = {name: work / name for name in ("sam", "lmm")}
        self.save_sam(folders["sam"], self.sam)
        self.save_lmm(folders["lmm"], config=self.lmm, device=device)
        return {name: str(folder) for name, folder in folders.items()}


def whole(recipe: TrainingRecipe) -> BaseModels:
    """As published."""
    if recipe == "paper":
        return BaseModels(paper.sam_config(), full_size.llava_config(), full_size.save_sam_of, full_size.save_llava, 0)
    grid = modern.INPUTS.grid
    return BaseModels(modern.sam_config(), modern.lmm_config(), full_size.save_sam2, full_size.save_qwen3_vl, grid)


def shallow(recipe: TrainingRecipe, layers: int) -> BaseModels:
    """At full width, with so many layers in the language model and in every repeated part of the encoders."""
    made = whole(recipe)
    made.lmm.get_text_config().num_hidden_layers = layers
    vision, image = made.lmm.vision_config, made.sam.vision_config
    if recipe == "paper":
        vision.num_hidden_layers = layers + 1
        image.num_hidden_layers, image.global_attn_indexes = 2 * layers, list(range(1, 2 * layers, 2))
    else:
        vision.depth, vision.deepstack_visual_indexes = layers + 1, [0]
        hiera = image.backbone_config
        hiera.blocks_per_stage, hiera.global_attention_blocks = [1, layers, 2 * layers, 1], [3 * layers]
    return made
