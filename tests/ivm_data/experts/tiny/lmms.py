"""Qwen2.5-VL in miniature, which gives the answer that it is made for, and Qwen3-VL, which says nothing."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import AddedToken
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

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


def qwen3_vl(folder: Path) -> None:
    """A Qwen3-VL with random weights, two layers deep, to whose layers two of its tower's add features."""
    torch.manual_seed(0)
    tokenizer = _qwen_tokenizer("square")
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in QWEN_SPECIAL}
    sizes = {"hidden_size": 32, "intermediate_size": 48}
    config = Qwen3VLConfig(
        text_config={
            **sizes,
            "vocab_size": len(tokenizer),
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [2, 3, 3]},
            "initializer_range": 0.2,
        },
        vision_config={
            **sizes, "depth": 3, "num_heads": 2, "out_hidden_size": 32, "deepstack_visual_indexes": [0, 1],
            "num_position_embeddings": 16, "initializer_range": 0.2,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )  # fmt: skip
    Qwen3VLForConditionalGeneration(config).save_pretrained(folder)
    size = {"shortest_edge": 32 * 32, "longest_edge": 1 << 20}
    images = Qwen2VLImageProcessorPil(patch_size=16, size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    Qwen3VLProcessor(images, tokenizer, Qwen3VLVideoProcessor(), chat_template=QWEN_CHAT).save_pretrained(folder)


def _qwen_tokenizer(answer: str) -> Qwen2Tokenizer:
    """Single bytes, the special tokens, and "yes", "no" and the answer as a token each."""
    vocabulary = {token: i for i, token in enumerate([*sorted(ByteLevel.alphabet()), *QWEN_SPECIAL])}
    tokenizer = Qwen2Tokenizer(vocabulary, [], eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": list(QWEN_SPECIAL)})
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in ("yes", "no", answer)])
    return tokenizer
