"""Memory of a training step of the masking model on one device, from the configurations alone, in bytes.

A frozen weight takes its own size, a trained one 16 bytes: itself, its gradient and Adam's two
moments in float32 (arXiv 1910.02054, section 3). With gradient checkpointing (arXiv 1604.06174) a row keeps the input
of each layer, and one layer's own activations at a time. `benchmarks.training_cost` compares what a row takes with what
torch's profiler counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import torch

from ivm_model.model.decoder import PromptedDecoder
from ivm_model.model.lmm import add_lora
from ivm_model.model.masking_model import GENERATOR, PIXELS_AT_ONCE, ModelConfig

MAPS = 30
"""Float32 tensors of SAM's map that mask decoder and loss keep of a row: as torch's profiler counts them."""
FINEST = 8
"""Float32 tensors of Hiera's finest map at the peak of a forward pass: as torch's profiler counts them."""


@dataclass(frozen=True)
class Weights:
    """Numbers of parameters.

    Attributes:
        lmm, sam: frozen.
        lora, decoder: trained.
    """

    lmm: int
    sam: int
    lora: int
    decoder: int

    @property
    def trained(self) -> int:
        """All that is trained."""
        return self.lora + self.decoder

    @property
    def held(self) -> int:
        """Bytes of all weights, the LMM's in bfloat16 and SAM's in float32, and of gradients, moments and autocast."""
        return 2 * self.lmm + 4 * self.sam + (16 + 2) * self.trained


def weights(sam: Any, lmm: Any, config: ModelConfig) -> Weights:
    """Counted on models without memory."""
    import transformers

    of_lmm = transformers.AutoModelForImageTextToText
    with torch.device("meta"):
        image = (transformers.SamModel if sam.model_type == "sam" else transformers.Sam2Model)(sam)
        text = of_lmm.from_config(lmm).requires_grad_(False)
        text.tie_weights()
        decoder = PromptedDecoder(image.requires_grad_(False), lmm.get_text_config().hidden_size, config.decoder)
        frozen = _count(text)
        add_lora(text, config.lora, GENERATOR)
    trained = sum(value.numel() for value in decoder.parameters() if value.requires_grad)
    return Weights(frozen, _count(image.vision_encoder), _count(text) - frozen, trained)


def encode_bytes(sam: Any) -> float:
    """Most that SAM's encoder holds of an image in bfloat16."""
    vision = sam.vision_config
    if sam.model_type == "sam":
        tokens = (vision.image_size // vision.patch_size) ** 2
        positions = vision.num_attention_heads * tokens**2 * 2  # of a global layer, laid out and added
        return 2 * positions + 7 * tokens * vision.hidden_size * 2
    hiera = vision.backbone_config
    height, width = (ceil(side / stride) for side, stride in zip(hiera.image_size, hiera.patch_stride, strict=True))
    return FINEST * height * width * hiera.hidden_size * 4


def encoding_bytes(sam: Any, batch: int) -> float:
    """Most that it holds of a batch, some of whose images pass through it together."""
    together = PIXELS_AT_ONCE // sam.prompt_encoder_config.image_size**2
    return min(batch, together) * encode_bytes(sam)


def learn_bytes(sam: Any, lmm: Any, tokens: int, *, cpu: bool = False) -> float:
    """Most that a row holds between the encoders and the end of its backward pass.

    Args:
        cpu: on a CPU dropout keeps its noise as float32, on a GPU as a byte.
    """
    text, vision = lmm.get_text_config(), sam.vision_config
    width, inner, layers = text.hidden_size, text.intermediate_size, text.num_hidden_layers
    rows = vision.image_size // vision.patch_size if sam.model_type == "sam" else vision.backbone_feature_sizes[-1][0]
    inputs = layers * tokens * 2 * width
    # Two norms 8, two adapters 6 or 12, attention 8, states behind the layers 6; of the MLP 6 kept and 6 on their way.
    layer = tokens * ((34 if cpu else 28) * width + 12 * inner)
    decoder = MAPS * rows**2 * sam.mask_decoder_config.hidden_size * 4 + tokens * 9 * width
    return inputs + max(layer, decoder)


def step_bytes(sam: Any, lmm: Any, config: ModelConfig, tokens: int, batch: int) -> float:
    """Most that a step holds: images are encoded first, then the batch learns."""
    most = max(encoding_bytes(sam, batch), batch * learn_bytes(sam, lmm, tokens))
    return weights(sam, lmm, config).held + most


def _count(module: torch.nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())
