"""The miniature LLaVA (Liu et al., 2023, arXiv 2304.08485): FocalNet tower, projector, Llama, word-level tokenizer.

The tower is FocalNet (Yang et al., 2022, arXiv 2203.11926) with overlapping convolutions between three stages: it gives
hidden states as LLaVA's projector reads them, (B, patches, channels), and sees fine shapes from its stride of 4. A ViT
with 16 x 16 patches and a LeViT, tried before, told a patch's shape hardly better than chance.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import (
    CLIPImageProcessorPil,
    FocalNetConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from ivm_data.experts import prompts
from ivm_data.worlds.grammar import vocabulary
from ivm_data.zoo.training import MEAN_RGB, STD_RGB

PAD, BOS, EOS, UNKNOWN, IMAGE, ANSWER = "[PAD]", "<s>", "</s>", "[UNK]", "<image>", "ASSISTANT:"
SPECIALS = (PAD, BOS, EOS, UNKNOWN, IMAGE, ANSWER)
_CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
_ANSWER_WORDS = ("yes", "no", "find", "all", "and")


@dataclass(frozen=True)
class Size:
    """Widths and depths; tower and language model share the width.

    Attributes:
        image: side of the input in pixels.
        patch: side of a patch in pixels; each patch is one token of the language model.
    """

    image: int = 128
    patch: int = 16
    width: int = 128
    heads: int = 4
    layers: int = 5
    mlp: int = 256

    @property
    def image_tokens(self) -> int:
        """Tokens that an image takes in the language model."""
        return (self.image // self.patch) ** 2


def words() -> tuple[str, ...]:
    """The world's vocabulary and the words of the prompts and answers, sorted."""
    templates = (prompts.REWRITE, prompts.VERIFY, prompts.COMPLEMENT, prompts.PRESENCE, prompts.CANDIDATE)
    asked = re.findall(r"[a-z]+", " ".join(re.sub(r"\{\w+\}", " ", template) for template in templates).lower())
    return tuple(sorted({*vocabulary(), *asked, *_ANSWER_WORDS, "or", ".", ",", "?"}))


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Lower-cased words and punctuation marks, one token each; the chat template adds BOS."""
    ids = {token: i for i, token in enumerate((*SPECIALS, *words()))}
    tokenizer = Tokenizer(WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(r"\w+|[^\w\s]"), "isolated")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        extra_special_tokens={"image_token": IMAGE, "answer_token": ANSWER},
        padding_side="left",
    )


def build_processor(size: Size) -> LlavaProcessor:
    """Resizes any image to the square input; expands the image token."""
    square = {"height": size.image, "width": size.image}
    images = CLIPImageProcessorPil(
        size=square, do_center_crop=False, crop_size=square, resample=2, image_mean=MEAN_RGB, image_std=STD_RGB
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=build_tokenizer(),
        patch_size=size.patch,
        vision_feature_select_strategy="full",
        chat_template=_CHAT_TEMPLATE,
    )


def build_model(size: Size, tokenizer: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
    """Random weights; seed torch first."""
    # LLaVA's projector reads `hidden_size`, which FocalNetConfig lacks.
    extra: dict[str, Any] = {"hidden_size": size.width}
    tower = FocalNetConfig(
        image_size=size.image,
        patch_size=4,
        embed_dim=size.width // 4,
        hidden_sizes=[size.width // 4, size.width // 2, size.width],
        depths=[1, 2, 2],
        focal_levels=[2, 2, 2],
        focal_windows=[3, 3, 3],
        use_conv_embed=True,
        mlp_ratio=2.0,
        drop_path_rate=0.0,
        **extra,
    )
    language = LlamaConfig(
        hidden_size=size.width,
        intermediate_size=size.mlp,
        num_attention_heads=size.heads,
        vocab_size=len(tokenizer),
        num_hidden_layers=size.layers,
        num_key_value_heads=size.heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    config = LlavaConfig(
        vision_config=tower,
        text_config=language,
        image_token_index=tokenizer.vocab[IMAGE],
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
        image_seq_length=size.image_tokens,
    )
    return LlavaForConditionalGeneration(config)
