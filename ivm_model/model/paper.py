"""The model of the IVM paper (arXiv 2405.19783, Figure 6) as released; `python -m ivm_model.model.paper` counts it.

The paper's and the release's "64 M" is not the number of trained parameters: SAM's two-way decoder, the projection and
the LoRA come to 16.6 M. Kept in float32 they fill 66.5 MB (63.4 MiB), which is the size of the release's IVM-V1.0.bin.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ivm_model.model.decoder import DecoderConfig, PromptedDecoder
from ivm_model.model.inputs import InputConfig
from ivm_model.model.lmm import LoraSettings, add_lora
from ivm_model.model.masking_model import GENERATOR, ModelConfig

SAM, LMM = "facebook/sam-vit-huge", "llava-hf/llava-1.5-7b-hf"
DECODER = DecoderConfig(
    init="scratch", prompt="last", prompts=1, dense=False, fits=0, trunk="ivm", state="before_last", width=2048
)
INPUTS = InputConfig(frame="stretch", prompt="USER: {image}\n{text} \n ASSISTANT:")


def model_config(sam: str = SAM, lmm: str = LMM) -> ModelConfig:
    """The paper's masking model: LLaVA-1.5-7B, SAM ViT-H, LoRA r 8 alpha 16 dropout 0.05 on q_proj and v_proj.

    Args:
        sam, lmm: hub ids, or directories where they lie; smaller models of the same kinds will do as well.
    """
    return ModelConfig(sam, lmm, LoraSettings(), DECODER, INPUTS)


def released_config(sam: str = "", lmm: str = "", dtype: str = "") -> ModelConfig:
    """`model_config` where the release's file is used; "" means the release's own, and float32.

    Raises:
        ConfigError: there is no such dtype.
    """
    config = model_config(sam or SAM, lmm or LMM)
    return replace(config, inputs=config.inputs.in_dtype(dtype))


def sam_config() -> Any:
    """SAM ViT-H's published configuration, as a transformers SamConfig."""
    from transformers import SamConfig, SamMaskDecoderConfig, SamPromptEncoderConfig, SamVisionConfig

    vision = SamVisionConfig(
        hidden_size=1280,
        mlp_dim=5120,
        num_hidden_layers=32,
        num_attention_heads=16,
        output_channels=256,
        image_size=1024,
        patch_size=16,
        window_size=14,
        global_attn_indexes=[7, 15, 23, 31],
    )
    prompts = SamPromptEncoderConfig(hidden_size=256, image_size=1024, patch_size=16)
    decoder = SamMaskDecoderConfig(
        hidden_size=256, mlp_dim=2048, num_hidden_layers=2, num_attention_heads=8, num_multimask_outputs=3
    )
    return SamConfig(
        vision_config=vision.to_dict(), prompt_encoder_config=prompts.to_dict(), mask_decoder_config=decoder.to_dict()
    )


def lmm_config() -> Any:
    """LLaVA-1.5-7B's published configuration, as a transformers LlavaConfig."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig

    vision = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
        projection_dim=768,
    )
    text = LlamaConfig(
        vocab_size=32064,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        max_position_embeddings=4096,
        rms_norm_eps=1e-5,
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        vision_feature_layer=-2,
        projector_hidden_act="gelu",
    )


def parameter_table() -> dict[str, int]:
    """Numbers of parameters of the paper's masking model by part; no weight is read or made.

    Returns:
        The trained parts, then "trained", "frozen" and "trained, bytes in float32".
    """
    from transformers import LlavaForConditionalGeneration, SamModel

    with torch.device("meta"):
        sam, lmm = SamModel(sam_config()), LlavaForConditionalGeneration(lmm_config())
        frozen = _count(lmm) + _count(sam.vision_encoder)
        decoder = PromptedDecoder(sam, lmm.config.get_text_config().hidden_size, DECODER)
        add_lora(lmm, LoraSettings(), GENERATOR)
    trunk: Any = decoder.decoder
    parts = {
        "LoRA": sum(value.numel() for name, value in lmm.named_parameters() if ".lora_" in name),
        "projection": _count(decoder.project_last),
        "two-way transformer": _count(trunk.transformer),
        "upscaling": _count(trunk.upscaling),
        "hypernetwork": _count(trunk.hypernetwork),
        "mask token": _count(trunk.mask_token),
    }
    trained = sum(parts.values())
    return {**parts, "trained": trained, "frozen": frozen, "trained, bytes in float32": 4 * trained}


def _count(module: torch.nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def main() -> None:
    """Print the table."""
    for part, count in parameter_table().items():
        print(f"{count:>13,}  {part}")  # noqa: T201 - a command


if __name__ == "__main__":
    main()
