"""Every expert's checkpoint in miniature: random weights, saved in the format that its class reads.

A test gets this module as the fixture `tiny`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from segment_anything import sam_model_registry
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer
from segment_anything.modeling import Sam as OriginalSam
from tokenizers import AddedToken
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    AutoTokenizer,
    BartTokenizer,
    BertConfig,
    CLIPConfig,
    CLIPModel,
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    CLIPTokenizer,
    EdgeTamConfig,
    EdgeTamModel,
    EdgeTamVideoConfig,
    EdgeTamVideoModel,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Kosmos2Config,
    Kosmos2ForConditionalGeneration,
    Kosmos2Processor,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
    Qwen2VLVideoProcessor,
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
    TimmWrapperConfig,
    XLMRobertaTokenizer,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from ivm_data.experts.registry import ExpertSpec
from ivm_data.zoo.embedded import WEIGHTS
from ivm_model.model.checkpoint import save_checkpoint
from ivm_model.model.masking_model import MaskingModel, ModelConfig

START, END = "<|startoftext|>", "<|endoftext|>"
LETTERS = ("!", *ascii_lowercase, *(f"{letter}</w>" for letter in ascii_lowercase))
CLIP_VOCABULARY = {token: i for i, token in enumerate((*LETTERS, START, END))}
"""Letters, within a word and at its end; [END] has the highest id, which the text encoders look for."""
CLIP_TEXT: dict[str, Any] = {
    "vocab_size": len(CLIP_VOCABULARY),
    "bos_token_id": CLIP_VOCABULARY[START],
    "eos_token_id": CLIP_VOCABULARY[END],
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
"""Sizes of a tiny text encoder over that tokenizer."""
_VISION = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2}


def clip_tokenizer(folder: Path, max_length: int, pad_token: str = END) -> None:
    """A CLIP tokenizer that knows single letters."""
    CLIPTokenizer(CLIP_VOCABULARY, [], pad_token=pad_token, model_max_length=max_length).save_pretrained(folder)


def owlv2(folder: Path, side: int = 64) -> None:
    torch.manual_seed(0)
    config = Owlv2Config(
        text_config={**CLIP_TEXT, "max_position_embeddings": 16},
        vision_config={**_VISION, "num_hidden_layers": 1, "image_size": side, "patch_size": 16},
        projection_dim=32,
    )
    model = Owlv2ForObjectDetection(config)
    # As drawn by the library, every score is 0 or 1 and most boxes are as large as the image.
    for weight in (*model.class_head.parameters(), *model.box_head.parameters()):
        torch.nn.init.normal_(weight, std=0.15 if weight.ndim > 1 else 0.0)
    torch.nn.init.constant_(model.class_head.logit_scale.bias, 4.0)
    model.save_pretrained(folder)
    Owlv2ImageProcessorPil(size={"height": side, "width": side}).save_pretrained(folder)
    clip_tokenizer(folder, max_length=16, pad_token="!")


def clipseg(folder: Path, side: int = 32) -> None:
    torch.manual_seed(0)
    config = CLIPSegConfig(
        text_config={**CLIP_TEXT, "max_position_embeddings": 16},
        vision_config={**_VISION, "num_hidden_layers": 3, "image_size": side, "patch_size": 8},
        projection_dim=16,
        extract_layers=[0, 1, 2],
        reduce_dim=16,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )
    model = CLIPSegForImageSegmentation(config)
    # As drawn by the library, the text hardly moves the masks.
    for name, weight in model.named_parameters():
        if weight.ndim > 1 and any(part in name for part in ("text", "film", "transposed")):
            torch.nn.init.normal_(weight, std=0.5)
    model.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": side, "width": side}).save_pretrained(folder)
    clip_tokenizer(folder, max_length=16)


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
    """Settings of an EdgeTAM for videos: vision encoder, prompt encoder and mask decoder."""
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


def edgetam(folder: Path, side: int = 64) -> None:
    torch.manual_seed(9)
    small = {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3], "depth": [1] * 4}
    backbone = TimmWrapperConfig(architecture="repvit_m1", model_args={**small, "embed_dim": [8, 16, 24, 32]})
    config = EdgeTamConfig(
        vision_config={
            "model_type": "edgetam_vision_model",
            "backbone_config": backbone.to_dict(),
            "backbone_channel_list": [32, 24, 16, 8],
            "backbone_feature_sizes": [[side // 4] * 2, [side // 8] * 2, [side // 16] * 2],
            "fpn_hidden_size": 32,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": side, "patch_size": 16},
        mask_decoder_config={"hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 32},
    )
    model = EdgeTamModel(config)
    # As drawn by the library, neither image nor prompt moves the masks.
    for name, weight in model.named_parameters():
        if weight.ndim > 1 and "backbone" not in name:
            torch.nn.init.normal_(weight, std=0.2)
    model.save_pretrained(folder)
    Sam2ImageProcessor(size={"height": side, "width": side}).save_pretrained(folder)


def mm_grounding_dino(folder: Path) -> None:
    """The embedded grounder's trained weights in an MM-Grounding-DINO, whose logits are theirs / sqrt(width)."""
    source = WEIGHTS / "grounder"
    settings = json.loads((source / "config.json").read_text())
    for name in ("model_type", "architectures", "two_stage_bbox_embed_share"):
        del settings[name]
    model = MMGroundingDinoForObjectDetection(MMGroundingDinoConfig(**settings))
    assert not model.load_state_dict(load_file(source / "model.safetensors"), strict=False).unexpected_keys
    for name, weight in model.named_parameters():
        if "class_embed" in name:
            torch.nn.init.zeros_(weight)
    model.save_pretrained(folder)
    for name in ("processor_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / name, folder)


SWIN = {"embed_dim": 24, "depths": [1, 2, 1, 1], "num_heads": [1, 2, 2, 4], "window_size": 4}
EDGES = {"shortest_edge": 64, "longest_edge": 128}


def use_tiny_swin(patch: Any) -> None:
    """groundingdino-py knows five sizes of Swin by name; the smallest has 28 M parameters."""
    from groundingdino.models.GroundingDINO.backbone import backbone
    from groundingdino.models.GroundingDINO.backbone.swin_transformer import SwinTransformer

    patch.setattr(backbone, "build_swin_transformer", lambda _, **options: SwinTransformer(**SWIN, **options))


def bert() -> tuple[BertConfig, Any]:
    """A text encoder's config and its tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS / "grounder")
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    return BertConfig(vocab_size=max(tokenizer.get_vocab().values()) + 1, **size), tokenizer


def groundingdino(folder: Path) -> dict[str, torch.Tensor]:
    """A config, a text encoder and a `.pth` as they are published; needs `use_tiny_swin`. Returns its tensors."""
    from ivm_data.experts.grounders.original_grounding_dino import read_architecture
    from ivm_data.experts.grounders.original_grounding_dino_fixes import build_model

    torch.manual_seed(0)
    text = bert()
    for part in text:
        part.save_pretrained(folder / "text")
    small = {"enc_layers": 2, "dec_layers": 2, "dim_feedforward": 64, "num_queries": 20}
    architecture = {**read_architecture("swin-t"), **small}
    (folder / "small.py").write_text("".join(f"{name} = {value!r}\n" for name, value in architecture.items()))
    model = build_model(architecture, *text)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_((0.5 if "gamma" in name else 0.05) * torch.randn_like(parameter))
        # Logits of unit size: probabilities that are 0 or 1 would agree whatever happens.
        for parameter in model.transformer.decoder.norm.parameters():
            parameter.mul_(0.1)
    tensors = model.state_dict()
    extra = {"label_enc.weight": torch.zeros(3, 256), "bert.embeddings.position_ids": torch.arange(512)[None]}
    published = {"model": {f"module.{name}": tensor for name, tensor in {**tensors, **extra}.items()}}
    torch.save(published, folder / "groundingdino_small.pth")
    return tensors


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


QWEN_SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>",
)  # fmt: skip
QWEN_CHAT = (
    "{% for turn in messages %}<|im_start|>{{ turn.role }}\n{% for part in turn.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def qwen2_5_vl(folder: Path, answer: str) -> None:
    """A Qwen2.5-VL that answers every question with `answer`, and yes to yes-or-no with P = 0.76.

    Its layers add nothing, so the token after an answer's beginning is a matter of embedding and head alone; `answer`
    is one token of its vocabulary.
    """
    torch.manual_seed(0)
    tokenizer = _qwen_tokenizer(answer)
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in (*QWEN_SPECIAL, "yes", "no", answer, "Ċ")}
    layers = {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = Qwen2_5_VLConfig(
        text_config={
            **layers,
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 32,
            "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_heads": 2,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [0],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    with torch.no_grad():
        for name, weight in model.model.language_model.named_parameters():
            if "o_proj" in name or "down_proj" in name:
                weight.zero_()
        embedding, head = model.get_input_embeddings().weight, model.lm_head.weight
        embedding[:, :2] = 0
        embedding[ids["Ċ"]], embedding[ids[answer]] = torch.eye(32)[0], torch.eye(32)[1]
        head.zero_()
        head[ids[answer], 0], head[ids["<|im_end|>"], 1], head[ids["yes"], 0] = 1.0, 1.0, 0.2
    model.generation_config.eos_token_id = ids["<|im_end|>"]
    model.generation_config.pad_token_id = ids["<|endoftext|>"]
    model.save_pretrained(folder)
    processor = Qwen2_5_VLProcessor(
        Qwen2VLImageProcessorPil(), tokenizer, Qwen2VLVideoProcessor(), chat_template=QWEN_CHAT
    )
    processor.save_pretrained(folder)


def _qwen_tokenizer(answer: str) -> Qwen2Tokenizer:
    """Single bytes, the special tokens, and "yes", "no" and the answer as a token each."""
    vocabulary = {token: i for i, token in enumerate([*sorted(ByteLevel.alphabet()), *QWEN_SPECIAL])}
    tokenizer = Qwen2Tokenizer(vocabulary, [], eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": list(QWEN_SPECIAL)})
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in ("yes", "no", answer)])
    return tokenizer


def florence2(folder: Path, side: int = 32, width: int = 32) -> None:
    """Untaught: it names no box."""
    torch.manual_seed(0)
    words = ["<s>", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet()), "<mask>"]
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = BartTokenizer(vocabulary, [], extra_special_tokens={"image_token": "<image>"})
    marks = ["<od>", "</od>", "<poly>", "</poly>", "<sep>"]
    tokenizer.add_tokens([*marks, *(f"<loc_{place}>" for place in range(1000))], special_tokens=True)
    config = Florence2Config(
        vision_config={
            "depths": (1,),
            "patch_size": (7,),
            "patch_stride": (8,),
            "patch_padding": (3,),
            "patch_prenorm": (False,),
            "embed_dim": (width,),
            "num_heads": (2,),
            "num_groups": (2,),
            "window_size": 4,
            "projection_dim": width,
            "max_temporal_embeddings": 8,
            "max_position_embeddings": 8,
        },
        text_config={
            "model_type": "bart",
            "vocab_size": len(tokenizer),
            "d_model": width,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": width,
            "decoder_ffn_dim": width,
            "max_position_embeddings": 128,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    Florence2ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(
        size={"height": side, "width": side}, do_center_crop=False, image_seq_length=(side // 8) ** 2 + 1
    ).save_pretrained(folder)


def kosmos2(folder: Path, side: int = 28, width: int = 32, slots: int = 4) -> None:
    """Untaught: it names no box."""
    torch.manual_seed(0)
    words = ["<s>", "<pad>", "</s>", "<unk>", *(f"slot{i}" for i in range(slots)), "\u2581", *ascii_lowercase, "<mask>"]
    tokenizer = XLMRobertaTokenizer([(word, 0.0 if i < 4 else -float(i)) for i, word in enumerate(words)])
    tokenizer.save_pretrained(folder)
    images = CLIPImageProcessorPil(size={"height": side, "width": side}, crop_size=side)
    images.save_pretrained(folder)
    config = Kosmos2Config(
        vision_config={**_VISION, "num_hidden_layers": 1, "image_size": side, "patch_size": 14},
        text_config={
            "vocab_size": len(Kosmos2Processor(images, tokenizer).tokenizer),
            "embed_dim": width,
            "layers": 1,
            "ffn_dim": width,
            "attention_heads": 2,
            "max_position_embeddings": 128,
        },
        latent_query_num=slots,
    )
    Kosmos2ForConditionalGeneration(config).save_pretrained(folder)


def clip(folder: Path, side: int = 32) -> None:
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**CLIP_TEXT, "max_position_embeddings": 32},
        vision_config={**_VISION, "num_hidden_layers": 1, "image_size": side, "patch_size": 8},
        projection_dim=16,
    )
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=side).save_pretrained(folder)
    clip_tokenizer(folder, max_length=32)


def _saved(name: str, save: Callable[[Path], Any], **options: Any) -> Callable[[Path], ExpertSpec]:
    def build(folder: Path) -> ExpertSpec:
        save(folder)
        return ExpertSpec(name, {"path": str(folder), **options})

    return build


def _copied(name: str, embedded: str, **options: Any) -> Callable[[Path], ExpertSpec]:
    return _saved(name, lambda folder: shutil.copytree(WEIGHTS / embedded, folder, dirs_exist_ok=True), **options)


def _native_grounding_dino(folder: Path) -> ExpertSpec:
    groundingdino(folder)
    files = {"path": folder / "groundingdino_small.pth", "architecture": folder / "small.py"}
    options = {name: str(file) for name, file in {**files, "text_encoder": folder / "text"}.items()}
    return ExpertSpec("groundingdino", {**options, **EDGES, "box_threshold": 0.0})


def _native_sam(folder: Path) -> ExpertSpec:
    segment_anything(folder)
    return ExpertSpec("segment-anything", {"path": str(folder / "sam_small.pth"), "architecture": "small"})


def _lmm_boxes(folder: Path) -> ExpertSpec:
    qwen2_5_vl(folder, '[{"bbox_2d": [56, 84, 280, 336], "label": "thing"}]')
    lmm = ExpertSpec("hf-lmm", {"path": str(folder), "instructed": True})
    return ExpertSpec("lmm-boxes", {"format": "qwen2.5", "answer_tokens": 8}, {"answerer": lmm})


def _lmm_points(folder: Path) -> ExpertSpec:
    qwen2_5_vl(folder, '<points coords="1 1 300 400 2 700 500">things</points>')
    lmm = ExpertSpec("hf-lmm", {"path": str(folder), "instructed": True})
    parts = {"answerer": lmm, "segmenter": _copied("sam", "segmenter")(folder / "sam")}
    return ExpertSpec("lmm-points", {"answer_tokens": 8}, parts)


def _everything(folder: Path) -> ExpertSpec:
    parts = {"segmenter": ("sam", "segmenter"), "verifier": ("hf-lmm", "lmm")}
    uses = {role: _copied(*part)(folder / role) for role, part in parts.items()}
    return ExpertSpec("everything", {"grid": 4, "max_masks": 4}, uses)


def _sam_clip(folder: Path) -> ExpertSpec:
    clip(folder)
    masks = {"grid": 4, "max_masks": 4, "min_predicted_iou": 0.0, "min_stability": 0.0, "threshold": 0.01}
    return ExpertSpec(
        "sam-clip", {"path": str(folder), **masks}, {"segmenter": _copied("sam", "segmenter")(folder / "sam")}
    )


SPECS: dict[str, Callable[[Path], ExpertSpec]] = {
    "groundingdino": _native_grounding_dino,
    "grounding-dino": _copied("grounding-dino", "grounder", box_threshold=0.0),
    "mm-grounding-dino": _saved("mm-grounding-dino", mm_grounding_dino, box_threshold=0.0),
    "owlv2": _saved("owlv2", owlv2, box_threshold=0.0),
    "florence2": _saved("florence2", florence2, answer_tokens=8),
    "kosmos-2": _saved("kosmos-2", kosmos2, answer_tokens=8),
    "lmm-boxes": _lmm_boxes,
    "segment-anything": _native_sam,
    "sam": _copied("sam", "segmenter"),
    "sam2": _saved("sam2", sam2),
    "sam2-video": _saved("sam2-video", sam2_video),
    "sam3-tracker": _saved("sam3-tracker", sam3_tracker),
    "sam3-tracker-video": _saved("sam3-tracker-video", sam3_tracker_video),
    "edgetam-video": _saved("edgetam-video", edgetam_video),
    "edgetam": _saved("edgetam", edgetam),
    "hf-lmm": _copied("hf-lmm", "lmm"),
    "everything": _everything,
    "lmm-points": _lmm_points,
    "clipseg": _saved("clipseg", clipseg),
    "sam-clip": _sam_clip,
    "sam3": _saved("sam3", sam3, threshold=0.0),
    "sam3-lite-text": _saved("sam3-lite-text", sam3_lite_text, threshold=0.0),
    "ivm": _saved("ivm", ivm),
}
"""Registry name -> save a checkpoint into a folder, and the spec that a recipe would hold.

All but "openai" and "flow", which have none. "groundingdino" needs `use_tiny_swin`, "segment-anything" `use_small_sam`.
"""
