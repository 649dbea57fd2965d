"""SAM 3 in miniature: detectors, trackers, and both in one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import (
    Sam2VideoVideoProcessor,
    Sam3Config,
    Sam3ImageProcessor,
    Sam3LiteTextConfig,
    Sam3LiteTextModel,
    Sam3Model,
    Sam3TrackerConfig,
    Sam3TrackerModel,
    Sam3TrackerVideoConfig,
    Sam3TrackerVideoModel,
    Sam3TrackerVideoProcessor,
    Sam3VideoConfig,
    Sam3VideoModel,
)

from .clip_models import CLIP_TEXT, clip_tokenizer


def sam3_tracker_video(folder: Path, side: int = 64, width: int = 128) -> None:
    torch.manual_seed(17)
    model = Sam3TrackerVideoModel(sam3_tracker_video_config(side, width, 64))
    for name, weight in model.named_parameters():
        if weight.ndim > 1 and "backbone" not in name:
            torch.nn.init.normal_(weight, std=0.2)
    model.save_pretrained(folder)
    sam3_video_processor(folder, side)


def sam3_video_processor(folder: Path, side: int = 64) -> None:
    size = {"height": side, "width": side}
    levels = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    images, videos = Sam3ImageProcessor(size=size, **levels), Sam2VideoVideoProcessor(size=size, **levels)
    Sam3TrackerVideoProcessor(image_processor=images, video_processor=videos).save_pretrained(folder)


def sam3_tracker_video_config(side: int, width: int, memory: int) -> Any:
    """Of a small tracker with a memory of so many channels."""
    return Sam3TrackerVideoConfig(
        **sam3_tracker_parts(side, width),
        image_size=side,
        memory_attention_hidden_size=width,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=width,
        memory_attention_rope_feat_sizes=[8, 8],
        memory_encoder_hidden_size=width,
        memory_encoder_output_channels=memory,
        mask_downsampler_embed_dim=width,
        memory_fuser_embed_dim=width,
        memory_fuser_intermediate_dim=width,
    )


def sam3_vision(side: int, width: int) -> dict[str, Any]:
    """Settings of SAM 3's image encoder."""
    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": width,
        "intermediate_size": width,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": side,
        "patch_size": 8,
        "window_size": 4,
        "global_attn_indexes": [1],
        "pretrain_image_size": 32,
    }
    sizes = [[side * scale // 8] * 2 for scale in (4, 2, 1)]
    return {"backbone_config": backbone, "fpn_hidden_size": width, "backbone_feature_sizes": sizes}


def sam3_parts(side: int, width: int) -> dict[str, Any]:
    """Settings of a SAM 3 with six queries."""
    layers = {"hidden_size": width, "intermediate_size": width, "num_layers": 1, "num_attention_heads": 2}
    text = {"model_type": "clip_text_model", "max_position_embeddings": 32, "projection_dim": 16}
    return {
        "vision_config": sam3_vision(side, width),
        "text_config": {**CLIP_TEXT, **text},
        "geometry_encoder_config": layers,
        "detr_encoder_config": layers,
        "detr_decoder_config": {**layers, "num_queries": 6},
        "mask_decoder_config": {"hidden_size": width, "num_attention_heads": 2},
    }


def sam3(folder: Path, side: int = 64, width: int = 32) -> None:
    torch.manual_seed(5)
    model = Sam3Model(Sam3Config(**sam3_parts(side, width)))
    _spread(model)
    model.save_pretrained(folder)
    Sam3ImageProcessor(size={"height": side, "width": side}).save_pretrained(folder)
    clip_tokenizer(folder, max_length=32)


def sam3_lite_text(folder: Path, side: int = 64, width: int = 32) -> None:
    torch.manual_seed(5)
    text = {**CLIP_TEXT, "max_position_embeddings": 77, "num_hidden_layers": 3, "projection_dim": 16}
    parts = sam3_parts(side, width)
    vision = {**parts["vision_config"], "model_type": "sam3_vision_model"}
    model = Sam3LiteTextModel(Sam3LiteTextConfig(**{**parts, "vision_config": vision, "text_config": text}))
    _spread(model)
    model.save_pretrained(folder)
    Sam3ImageProcessor(size={"height": side, "width": side}).save_pretrained(folder)
    clip_tokenizer(folder, max_length=32)


def _spread(model: torch.nn.Module) -> None:
    """As drawn by the library, neither image nor text moves masks and scores of a SAM 3."""
    for name, weight in model.named_parameters():
        if weight.ndim > 1 and "vision_encoder" not in name:
            torch.nn.init.normal_(weight, std=0.3)


def sam3_tracker(folder: Path, side: int = 64, width: int = 32) -> None:
    torch.manual_seed(7)
    model = Sam3TrackerModel(Sam3TrackerConfig(**sam3_tracker_parts(side, width)))
    # As drawn by the library, neither image nor prompt moves the masks.
    for name, weight in model.named_parameters():
        if weight.ndim > 1 and "backbone" not in name:
            torch.nn.init.normal_(weight, std=0.2)
    model.save_pretrained(folder)
    Sam3ImageProcessor(size={"height": side, "width": side}).save_pretrained(folder)


def sam3_tracker_parts(side: int = 64, width: int = 32) -> dict[str, Any]:
    """Settings of a tracker's vision encoder, prompt encoder and mask decoder."""
    decoder = {"hidden_size": width, "mlp_dim": width, "num_attention_heads": 2, "iou_head_hidden_dim": width}
    return {
        "vision_config": {**sam3_vision(side, width), "model_type": "sam3_vision_model"},
        "prompt_encoder_config": {"hidden_size": width, "image_size": side, "patch_size": 8},
        "mask_decoder_config": decoder,
    }


def sam3_video(folder: Path, side: int = 64, width: int = 32) -> dict[str, torch.Tensor]:
    """Detector and tracker in one checkpoint, as released: what is in it, by the names in the file."""
    torch.manual_seed(11)
    tracker = sam3_tracker_video_config(side, width, 8)
    detector = Sam3Config(**sam3_parts(side, width))
    model = Sam3VideoModel(Sam3VideoConfig(detector_config=detector.to_dict(), tracker_config=tracker.to_dict()))
    model.config.save_pretrained(folder)
    # `save_pretrained` of transformers 5.23 would write "tracker_model.tracker_model.", which nothing reads.
    tensors = {name: value.clone().contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    Sam3ImageProcessor(size={"height": side, "width": side}).save_pretrained(folder)
    clip_tokenizer(folder, max_length=32)
    return tensors
