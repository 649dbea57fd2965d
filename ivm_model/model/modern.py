"""A masking model of today: SAM 2.1's image encoder and Qwen3-VL-2B."""

from __future__ import annotations

from typing import Any

from ivm_model.model.decoder import DecoderConfig
from ivm_model.model.inputs import InputConfig
from ivm_model.model.lmm import LoraSettings
from ivm_model.model.masking_model import ModelConfig

SAM, LMM = "facebook/sam2.1-hiera-large", "Qwen/Qwen3-VL-2B-Instruct"
DECODER = DecoderConfig()
INPUTS = InputConfig(frame="stretch", grid=24)


def model_config(sam: str = SAM, lmm: str = LMM) -> ModelConfig:
    """SAM 2.1's own mask decoder, prompted by Qwen3-VL with LoRA r 8 alpha 16 dropout 0.05 on q_proj and v_proj.

    Args:
        sam, lmm: hub ids, or directories where they lie; smaller models of the same kinds will do as well.
    """
    return ModelConfig(sam, lmm, LoraSettings(), DECODER, INPUTS)


def sam_config() -> Any:
    """SAM 2.1 Hiera-L's published sizes, as a transformers Sam2Config."""
    from transformers import Sam2Config, Sam2HieraDetConfig, Sam2VisionConfig

    backbone = Sam2HieraDetConfig(
        hidden_size=144,
        num_attention_heads=2,
        blocks_per_stage=[2, 6, 36, 4],
        embed_dim_per_stage=[144, 288, 576, 1152],
        num_attention_heads_per_stage=[2, 4, 8, 16],
        window_size_per_stage=[8, 4, 16, 8],
        global_attention_blocks=[23, 33, 43],
    )
    vision = Sam2VisionConfig(backbone_config=backbone.to_dict(), backbone_channel_list=[1152, 576, 288, 144])
    return Sam2Config(vision_config=vision.to_dict())


def lmm_config() -> Any:
    """Qwen3-VL-2B's published sizes, as a transformers Qwen3VLConfig."""
    from transformers import Qwen3VLConfig

    text = {
        "vocab_size": 151936,
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 262144,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5e6,
            "mrope_section": [24, 20, 20],
            "mrope_interleaved": True,
        },
    }
    vision = {
        "depth": 24,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_heads": 16,
        "out_hidden_size": 2048,
        "deepstack_visual_indexes": [5, 11, 17],
    }
    return Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True)
