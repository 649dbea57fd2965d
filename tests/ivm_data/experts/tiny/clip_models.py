"""CLIP and CLIPSeg in miniature, and the letters and sizes that every small text encoder here has."""

from __future__ import annotations

from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    CLIPTokenizer,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

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
VISION = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2}


def clip_tokenizer(folder: Path, max_length: int, pad_token: str = END) -> None:
    """A CLIP tokenizer that knows single letters."""
    CLIPTokenizer(CLIP_VOCABULARY, [], pad_token=pad_token, model_max_length=max_length).save_pretrained(folder)


def clipseg(folder: Path, side: int = 32) -> None:
    torch.manual_seed(0)
    config = CLIPSegConfig(
        text_config={**CLIP_TEXT, "max_position_embeddings": 16},
        vision_config={**VISION, "num_hidden_layers": 3, "image_size": side, "patch_size": 8},
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


def clip(folder: Path, side: int = 32) -> None:
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**CLIP_TEXT, "max_position_embeddings": 32},
        vision_config={**VISION, "num_hidden_layers": 1, "image_size": side, "patch_size": 8},
        projection_dim=16,
    )
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=side).save_pretrained(folder)
    clip_tokenizer(folder, max_length=32)
