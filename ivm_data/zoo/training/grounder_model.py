"""The untrained miniature Grounding DINO, its word tokenizer and its image processor."""

from __future__ import annotations

import torch
from transformers import BertConfig, BertTokenizer, ConvNextConfig, GroundingDinoConfig, GroundingDinoForObjectDetection
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil
from transformers.models.grounding_dino.processing_grounding_dino import GroundingDinoProcessor

from ivm_data.worlds.phrases import NOUNS
from ivm_data.worlds.scene import ATTRIBUTES, IMAGE_SIZE
from ivm_data.zoo.training.schedule import MEAN_RGB, STD_RGB

WORDS = (*(word for words in ATTRIBUTES.values() for word in words), *NOUNS)
MAX_TOKENS = 32
CLS, SEP, DOT, UNKNOWN = 101, 102, 1012, 100
"""BERT's ids, which the architecture hard-codes as the borders of phrases."""
_SPECIAL = {0: "[PAD]", UNKNOWN: "[UNK]", CLS: "[CLS]", SEP: "[SEP]", 103: "[MASK]", DOT: ".", 1029: "?"}
_FIRST_WORD = 104
WORD_IDS = {word: _FIRST_WORD + i for i, word in enumerate(WORDS)}

TEXT_SCALE = 0.2
LOGIT_PRIOR = -4.0
FUSION_SCALE = 0.5


def build() -> GroundingDinoForObjectDetection:
    """1.3 M parameters, initialised so that it trains from nothing."""
    backbone = ConvNextConfig(  # type: ignore[call-arg]
        num_stages=3,
        hidden_sizes=[40, 80, 128],
        depths=[1, 2, 2],
        patch_size=4,
        layer_scale_init_value=1.0,
        image_size=IMAGE_SIZE,
        out_features=["stage2", "stage3"],
    )
    text = BertConfig(
        vocab_size=max(_SPECIAL) + 1,
        hidden_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=MAX_TOKENS,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    config = GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        num_queries=30,
        d_model=96,
        encoder_layers=2,
        decoder_layers=2,
        encoder_ffn_dim=192,
        decoder_ffn_dim=192,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_n_points=2,
        num_feature_levels=2,
        max_text_len=MAX_TOKENS,
        dropout=0.0,
        fusion_droppath=0.0,
    )
    model = GroundingDinoForObjectDetection(config)
    _calm(model)
    return model


@torch.no_grad()
def _calm(model: GroundingDinoForObjectDetection) -> None:
    """Start with small logits around `LOGIT_PRIOR`, and with fusion that already passes something.

    Query and text features are layer-normed, so they sum to zero over the channels: opposite constant biases c and
    -c add exactly -c^2 * d_model to every dot product.
    """
    core = model.model
    shift = (-LOGIT_PRIOR / model.config.d_model) ** 0.5
    text_norm = core.encoder.layers[-1].text_enhancer_layer.layer_norm_after
    text_norm.weight.fill_(TEXT_SCALE)
    text_norm.bias.fill_(-shift)
    core.decoder.layer_norm.bias.fill_(shift)
    core.enc_output_norm.bias.fill_(shift)
    for layer in core.encoder.layers:
        layer.fusion_layer.vision_param.fill_(FUSION_SCALE)
        layer.fusion_layer.text_param.fill_(FUSION_SCALE)


def processor() -> GroundingDinoProcessor:
    """A word tokenizer with BERT's special ids, and an image processor that keeps 128x128 images as they are."""
    names = {**{i: f"[unused{i}]" for i in range(max(_SPECIAL) + 1)}, **_SPECIAL}
    names.update({index: word for word, index in WORD_IDS.items()})
    tokenizer = BertTokenizer(vocab={name: index for index, name in names.items()}, do_lower_case=True)
    tokenizer.model_max_length = MAX_TOKENS
    images = GroundingDinoImageProcessorPil(
        size={"shortest_edge": IMAGE_SIZE, "longest_edge": 2 * IMAGE_SIZE},
        image_mean=list(MEAN_RGB),
        image_std=list(STD_RGB),
    )
    return GroundingDinoProcessor(image_processor=images, tokenizer=tokenizer)
