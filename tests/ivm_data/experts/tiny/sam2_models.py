"""SAM 2 and EdgeTAM in miniature, for images and for videos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    EdgeTamConfig,
    EdgeTamModel,
    EdgeTamVideoConfig,
    EdgeTamVideoModel,
    Sam2Config,
    Sam2HieraDetConfig,
    Sam2ImageProcessor,
    Sam2MaskDecoderConfig,
    Sam2Model,
    Sam2PromptEncoderConfig,
    Sam2VideoConfig,
    Sam2VideoModel,
    Sam2VideoProcessor,
    Sam2VideoVideoProcessor,
    Sam2VisionConfig,
    TimmWrapperConfig,
)


def sam2_parts(side: int = 64) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Vision config, and the settings of prompt encoder and mask decoder."""
    backbone_config = Sam2HieraDetConfig(
        hidden_size=8,
        image_size=[side, side],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 2, 2, 4],
        window_size_per_stage=[4, 4, 4, 2],
        window_positional_embedding_background_size=[4, 4],
        global_attention_blocks=[3],
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone_config.to_dict(),
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=32,
    )
    prompts = {"hidden_size": 32, "image_size": side, "patch_size": 16}
    decoder = {"hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 32}
    return vision, prompts, decoder


def sam2(folder: Path, side: int = 64) -> None:
    torch.manual_seed(3)
    vision, prompts, decoder = sam2_parts(side)
    config = Sam2Config(
        vision_config=vision.to_dict(),
        prompt_encoder_config=Sam2PromptEncoderConfig(**prompts).to_dict(),
        mask_decoder_config=Sam2MaskDecoderConfig(**decoder).to_dict(),
    )
    model = Sam2Model(config)
    # As drawn by the library, neither image nor prompt moves the masks.
    for weight in model.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.2)
    model.save_pretrained(folder)
    Sam2ImageProcessor(size={"height": side, "width": side}).save_pretrained(folder)


def sam2_video(folder: Path, side: int = 64) -> None:
    torch.manual_seed(3)
    vision, prompts, decoder = sam2_parts(side)
    # Pointers to the object are split into pieces of 64, of which the library wants two at least.
    vision.fpn_hidden_size = prompts["hidden_size"] = decoder["hidden_size"] = 128
    config = Sam2VideoConfig(
        vision_config=vision.to_dict(),
        prompt_encoder_config=prompts,
        mask_decoder_config=decoder,
        image_size=side,
        memory_attention_hidden_size=128,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=32,
        memory_attention_rope_feat_sizes=[side // 16] * 2,
        memory_encoder_hidden_size=128,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=128,
        memory_fuser_embed_dim=128,
        memory_fuser_intermediate_dim=32,
    )
    model = Sam2VideoModel(config)
    for weight in model.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.2)
    model.save_pretrained(folder)
    size = {"height": side, "width": side}
    images, videos = Sam2ImageProcessor(size=size), Sam2VideoVideoProcessor(size=size)
    Sam2VideoProcessor(image_processor=images, video_processor=videos).save_pretrained(folder)


def edgetam_video(folder: Path, side: int = 64) -> None:
    torch.manual_seed(27)
    parts = edgetam_parts(side)
    config = EdgeTamVideoConfig(
        **parts,
        image_size=side,
        memory_attention_hidden_size=128,
        memory_attention_num_layers=1,
        memory_attention_mlp_hidden_size=32,
        memory_attention_rope_feat_sizes=[side // 16] * 2,
        memory_attention_rope_k_sizes=[4, 4],
        perceiver_resampler_num_latents=16,
        perceiver_resampler_num_latents_2d=16,
        perceiver_resampler_mlp_intermediate_size=32,
        perceiver_resampler_num_layers=1,
        memory_encoder_hidden_size=128,
        mask_downsampler_embed_dim=128,
        memory_fuser_embed_dim=128,
        memory_fuser_intermediate_dim=32,
    )
    model = EdgeTamVideoModel(config)
    for name, weight in model.named_parameters():
        if weight.ndim > 1 and "backbone" not in name:
            torch.nn.init.normal_(weight, std=0.1)
    model.save_pretrained(folder)
    size = {"height": side, "width": side}
    images, videos = Sam2ImageProcessor(size=size), Sam2VideoVideoProcessor(size=size)
    Sam2VideoProcessor(image_processor=images, video_processor=videos).save_pretrained(folder)


def edgetam_parts(side: int, width: int = 128) -> dict[str, Any]:
    """Settings of an EdgeTAM's vision encoder, prompt encoder and mask decoder."""
    small = {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3], "depth": [1] * 4}
    backbone = TimmWrapperConfig(architecture="repvit_m1", model_args={**small, "embed_dim": [8, 16, 24, 32]})
    return {
        "vision_config": {
            "model_type": "edgetam_vision_model",
            "backbone_config": backbone.to_dict(),
            "backbone_channel_list": [32, 24, 16, 8],
            "backbone_feature_sizes": [[side // 4] * 2, [side // 8] * 2, [side // 16] * 2],
            "fpn_hidden_size": width,
        },
        "prompt_encoder_config": {"hidden_size": width, "image_size": side, "patch_size": 16},
        "mask_decoder_config": {
            "hidden_size": width, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 32
        },
    }  # fmt: skip


def edgetam(folder: Path, side: int = 64) -> None:
    torch.manual_seed(9)
    model = EdgeTamModel(EdgeTamConfig(**edgetam_parts(side, 32)))
    # As drawn by the library, neither image nor prompt moves the masks.
    for name, weight in model.named_parameters():
        if weight.ndim > 1 and "backbone" not in name:
            torch.nn.init.normal_(weight, std=0.2)
    model.save_pretrained(folder)
    Sam2ImageProcessor(size={"height": side, "width": side}).save_pretrained(folder)
