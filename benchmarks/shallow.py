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


def tiny_modern() -> BaseModels:
    """SAM 2 and Qwen3-VL so small that a CPU runs them in no time."""
    from transformers import Qwen3VLConfig, Sam2Config, Sam2HieraDetConfig, Sam2VisionConfig

    backbone = Sam2HieraDetConfig(
        hidden_size=8, image_size=[64, 64], blocks_per_stage=[1, 1, 2, 1], embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 2, 2, 4], window_size_per_stage=[4, 4, 4, 2],
        window_positional_embedding_background_size=[4, 4], global_attention_blocks=[3],
    )  # fmt: skip
    vision = Sam2VisionConfig(
        backbone_config=backbone.to_dict(), backbone_channel_list=[64, 32, 16, 8], fpn_hidden_size=32,
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
    )  # fmt: skip
    decoder = {"hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 32}
    prompts = {"hidden_size": 32, "image_size": 64, "patch_size": 16}
    sam = Sam2Config(vision_config=vision.to_dict(), prompt_encoder_config=prompts, mask_decoder_config=decoder)
    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [2, 3, 3]}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "rope_parameters": rope}
    sizes = {"hidden_size": 32, "intermediate_size": 48}
    tower = {"depth": 3, "num_heads": 2, "out_hidden_size": 32, "deepstack_visual_indexes": [0, 1]}
    lmm = Qwen3VLConfig(
        text_config={**sizes, **heads, "vocab_size": 1024, "num_hidden_layers": 2, "max_position_embeddings": 4096},
        vision_config={**sizes, **tower, "num_position_embeddings": 16},
    )
    return BaseModels(sam, lmm, full_size.save_sam2, full_size.save_qwen3_vl, 2)
