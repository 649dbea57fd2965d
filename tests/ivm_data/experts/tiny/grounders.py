"""Grounders in miniature: OWLv2, the two of Grounding DINO, Florence-2 and Kosmos-2."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    AutoTokenizer,
    BartTokenizer,
    BertConfig,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Kosmos2Config,
    Kosmos2ForConditionalGeneration,
    Kosmos2Processor,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    Owlv2Config,
    Owlv2ForObjectDetection,
    XLMRobertaTokenizer,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

from ivm_data.zoo.embedded import WEIGHTS

from .clip_models import CLIP_TEXT, VISION, clip_tokenizer


def owlv2(folder: Path, side: int = 64) -> None:
    torch.manual_seed(0)
    config = Owlv2Config(
        text_config={**CLIP_TEXT, "max_position_embeddings": 16},
        vision_config={**VISION, "num_hidden_layers": 1, "image_size": side, "patch_size": 16},
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
        vision_config={**VISION, "num_hidden_layers": 1, "image_size": side, "patch_size": 14},
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
