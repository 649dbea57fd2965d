"""The original SAM in miniature, and the masking model over the embedded one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from segment_anything import sam_model_registry
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer
from segment_anything.modeling import Sam as OriginalSam

from ivm_data.zoo.embedded import WEIGHTS
from ivm_model.model.checkpoint import save_checkpoint
from ivm_model.model.masking_model import MaskingModel, ModelConfig


def small_sam(side: int = 64, width: int = 32) -> OriginalSam:
    """The original code's model, 64 pixels a side."""
    cells = (side // 8, side // 8)
    return OriginalSam(
        image_encoder=ImageEncoderViT(
            img_size=side,
            patch_size=8,
            embed_dim=width,
            depth=2,
            num_heads=2,
            out_chans=width,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=5,
            global_attn_indexes=(1,),
        ),
        prompt_encoder=PromptEncoder(width, cells, (side, side), mask_in_chans=16),
        mask_decoder=MaskDecoder(
            transformer_dim=width,
            transformer=TwoWayTransformer(depth=2, embedding_dim=width, num_heads=2, mlp_dim=64),
            iou_head_hidden_dim=width,
        ),
    )


def use_small_sam(patch: Any) -> None:
    """What a user does who brings an architecture: one more entry in the package's dict."""
    patch.setitem(sam_model_registry, "small", small_sam)


def segment_anything(folder: Path) -> OriginalSam:
    """A `.pth` of the architecture "small"; returns the model in it."""
    torch.manual_seed(0)
    original = small_sam()
    with torch.no_grad():
        for parameter in original.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    torch.save(original.state_dict(), folder / "sam_small.pth")
    return original


def ivm(folder: Path) -> None:
    """A masking model over the embedded SAM and LMM, before any training."""
    torch.manual_seed(0)
    model = MaskingModel(ModelConfig(str(WEIGHTS / "segmenter"), str(WEIGHTS / "lmm")))
    save_checkpoint(folder, model, {"seed": 0}, "# Card\n")
