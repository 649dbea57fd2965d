"""The miniature LLaVA (Liu et al., 2023, arXiv 2304.08485): LeViT tower, projector, Llama, word-level tokenizer.

The tower is LeViT (Graham et al., 2021, arXiv 2104.01136) with one stage: four strided convolutions with batch norms,
then attention over an 8 x 8 grid. Of the towers that give LLaVA hidden states as (B, patches, channels) it learns
fastest. Right words for size, texture, colour, shape of a patch after 225 steps of 32 scenes (one seed): .86 .80 .97
.37; twice narrower with three layers more it needs longer; FocalNet .89 .65 .96 .27; Swin .81 .63 .96 .25. A plain
convolutional network with batch norms, which does not fit: .92 .86 .96 .40.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import (
    CLIPImageProcessorPil,
    LevitConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from ivm_data.experts.lmms import prompts
from ivm_data.worlds.grammar import vocabulary
from ivm_data.zoo.training.schedule import MEAN_RGB, STD_RGB
from storage.errors import ConfigError

PAD, BOS, EOS, UNKNOWN, IMAGE, ANSWER = "[PAD]", "<s>", "</s>", "[UNK]", "<image>", "ASSISTANT:"
SPECIALS = (PAD, BOS, EOS, UNKNOWN, IMAGE, ANSWER)
_CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
_ANSWER_WORDS = (
    *("yes", "no", "find", "all", "and", "or", "except", "whole", "image", "nothing", "first", "second", "third"),
    *("leftmost", "rightmost", "topmost", "bottommost", "largest", "smallest"),
    *("left", "right", "of", "above", "below", "between", "nearest", "to", "farthest", "from"),
)
"""What `request_line` writes beside the world's own phrases."""


@dataclass(frozen=True)
class Size:
    """Widths and depths.

    Attributes:
        image: side of the input in pixels.
        patch: side of a patch in pixels; each patch is one token of the language model.
        tower_width, tower_layers: of the vision tower; the others are the language model's.
    """

    image: int = 128
    patch: int = 16
    tower_width: int = 256
    tower_layers: int = 1
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
    return tuple(sorted({*vocabulary(), *asked, *_ANSWER_WORDS, ".", ",", "?", "'"}))


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
    # Nothing is subsampled after the only stage; LLaVA's projector reads `hidden_size`, which LevitConfig lacks.
    extra: dict[str, Any] = {"down_ops": [[""]], "hidden_size": size.tower_width}
    tower = LevitConfig(
        image_size=size.image,
        patch_size=size.patch,
        hidden_sizes=[size.tower_width, size.tower_width],
        num_attention_heads=[size.heads],
        key_dim=[size.tower_width // size.heads],
        attention_ratio=[1],
        mlp_ratio=[2],
        depths=[size.tower_layers],
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


def go_on(llava: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, start: Path) -> None:
    """Take the weights of an earlier training; words that it did not know keep their random embeddings.

    Raises:
        ConfigError: the folder holds no model of these widths and depths.
    """
    try:
        earlier = LlavaForConditionalGeneration.from_pretrained(start, local_files_only=True)
        known = LlavaProcessor.from_pretrained(start, local_files_only=True).tokenizer.vocab
        pairs = [(index, known[word]) for word, index in tokenizer.vocab.items() if word in known]
        ours, theirs = map(list, zip(*pairs, strict=True))
        embedding_VC = llava.lm_head.weight.detach().clone()
        embedding_VC[ours] = earlier.lm_head.weight.detach()[theirs]
        at = earlier.lm_head.weight.data_ptr()
        weights = {
            name: embedding_VC if tensor.data_ptr() == at else tensor for name, tensor in earlier.state_dict().items()
        }
        llava.load_state_dict(weights)
    except (OSError, ValueError, RuntimeError) as error:
        problem = f"'start' must be the folder of an earlier LMM of the same size, got {str(start)!r}"
        raise ConfigError(f"{problem}: {error}") from error
