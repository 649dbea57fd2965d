"""FLOPs of a row in a training step of the masking model, from the configurations alone.

Counted are multiplications and additions of matrix products and convolutions, 2 for each pair, as torch's
`FlopCounterMode` does, which `benchmarks.training_cost` and a test compare with these formulas. Attention is counted
whole: kernels that skip what a causal mask hides do up to half of it.

Transformers: 2 FLOPs a weight and token, and attention, as in arXiv 2001.08361, section 2.1. A frozen weight costs as
much again in the backward pass, for the gradient of its input, and none for its own. SAM: arXiv 2304.02643, appendix A.
Hiera: arXiv 2306.00989. Recomputed activations: arXiv 1604.06174.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

from ivm_model.model.decoder import DecoderConfig
from ivm_model.model.lmm import LoraSettings
from ivm_model.model.lmm_images import GRID
from ivm_model.model.masking_model import ModelConfig


@dataclass(frozen=True)
class Flops:
    """Of one row.

    Attributes:
        sam: SAM's image encoder, forward.
        tower: the LMM's vision tower, forward.
        read: the language model over image and prompt: forward, backward, and forward again if checkpointed.
        decode: projections and mask decoder, forward and backward.
    """

    sam: float
    tower: float
    read: float
    decode: float

    @property
    def learn(self) -> float:
        """Of what has a backward pass."""
        return self.read + self.decode

    @property
    def all(self) -> float:
        """Of the whole row."""
        return self.sam + self.tower + self.learn


def row_flops(sam: Any, lmm: Any, config: ModelConfig, tokens: int, *, again: bool = True) -> Flops:
    """Of a row.

    Args:
        sam, lmm: transformers configurations of the base models.
        config: the masking model on them.
        tokens: of image and prompt together.
        again: with gradient checkpointing.
    """
    text, grid = lmm.get_text_config(), image_grid(lmm, config)
    return Flops(
        sam=sam_flops(sam.vision_config) if sam.model_type == "sam" else sam2_flops(sam),
        tower=llava_tower(lmm) if lmm.model_type == "llava" else qwen_tower(lmm.vision_config, grid),
        read=read_flops(text, tokens, config.lora, again=again),
        decode=decoder_flops(sam, config.decoder, text.hidden_size, tokens, grid**2),
    )


def image_grid(lmm: Any, config: ModelConfig) -> int:
    """Tokens along each side of an image."""
    vision = lmm.vision_config
    return vision.image_size // vision.patch_size if lmm.model_type == "llava" else config.inputs.grid or GRID


def linear(tokens: float, inputs: float, outputs: float) -> float:
    """A matrix product of tokens and a weight."""
    return 2 * tokens * inputs * outputs


def attention(queries: float, keys: float, width: float) -> float:
    """Scores and weighted sum over all heads, `width` channels in all."""
    return 2 * 2 * queries * keys * width


def sam_flops(vision: Any) -> float:
    """SAM's ViT: windows, four global layers, relative positions, neck."""
    width, side = vision.hidden_size, vision.image_size // vision.patch_size
    tokens = side * side
    total = linear(tokens, 3 * vision.patch_size**2, width)
    for layer in range(vision.num_hidden_layers):
        window = side if layer in vision.global_attn_indexes else vision.window_size
        windows = ceil(side / window) ** 2
        padded = windows * window**2
        total += linear(padded, width, 4 * width) + windows * attention(window**2, window**2, width)
        total += 2 * linear(padded, width, window) if vision.use_rel_pos else 0  # along both sides
        total += 2 * linear(tokens, width, vision.mlp_dim or int(width * vision.mlp_ratio))
    return total + linear(tokens, width + 9 * vision.output_channels, vision.output_channels)


def sam2_flops(sam: Any) -> float:
    """SAM 2's Hiera, its neck, and the two convolutions of the finer maps."""
    hiera, out = sam.vision_config.backbone_config, sam.vision_config.fpn_hidden_size
    height, width = hiera.image_size
    kernel, stride = hiera.patch_kernel_size[0], hiera.patch_stride[0]
    rows, columns, layer, total = height // stride, width // stride, 0, 0.0
    total += linear(rows * columns, hiera.num_channels * kernel**2, hiera.hidden_size)
    sides = []
    for stage, blocks in enumerate(hiera.blocks_per_stage):
        channels, heads = hiera.embed_dim_per_stage[stage], hiera.num_attention_heads_per_stage[stage]
        for block in range(blocks):
            first = stage > 0 and block == 0
            inputs = hiera.embed_dim_per_stage[stage - 1] if first else channels
            pool = hiera.query_stride[0] if first and stage <= hiera.num_query_pool_stages else 1
            window = hiera.window_size_per_stage[stage - 1 if first else stage]
            if layer in hiera.global_attention_blocks or not window:
                windows, keys = 1, rows * columns
            else:
                windows, keys = ceil(rows / window) * ceil(columns / window), window**2
            padded = windows * keys
            total += linear(rows * columns, inputs, channels) if inputs != channels else 0
            total += linear(padded, inputs, 3 * channels) + linear(padded, heads, channels)
            rows, columns = rows // pool, columns // pool
            total += windows * attention(keys / pool**2, keys, channels)
            total += linear(padded / pool**2, channels, channels)
            total += 2 * linear(rows * columns, channels, int(channels * hiera.mlp_ratio))
            layer += 1
        sides.append((rows * columns, channels))
    total += sum(linear(tokens, channels, out) for tokens, channels in sides)
    return total + linear(sides[0][0], out, out // 8) + linear(sides[1][0], out, out // 4)


def llava_tower(lmm: Any) -> float:
    """CLIP's ViT and LLaVA's projector."""
    vision = lmm.vision_config
    width, patches = vision.hidden_size, (vision.image_size // vision.patch_size) ** 2
    into = lmm.get_text_config().hidden_size
    layers = vision.num_hidden_layers
    return (
        linear(patches, 3 * vision.patch_size**2, width)
        + layers * _encoder_layer(patches + 1, width, vision.intermediate_size)
        + linear(patches, width + into, into)
    )


def qwen_tower(vision: Any, grid: int) -> float:
    """Qwen3-VL's ViT over one square image, and what merges patches to tokens after some of its layers."""
    merged = vision.spatial_merge_size**2
    patches, width, wide = grid**2 * merged, vision.hidden_size, vision.hidden_size * merged
    mergers = 1 + len(vision.deepstack_visual_indexes)
    return (
        linear(patches, vision.in_channels * vision.temporal_patch_size * vision.patch_size**2, width)
        + vision.depth * _encoder_layer(patches, width, vision.intermediate_size)
        + mergers * linear(grid**2, wide, wide + vision.out_hidden_size)
    )


def read_flops(text: Any, tokens: int, lora: LoraSettings, *, learn: bool = True, again: bool = True) -> float:
    """The language model, frozen but for a LoRA on q_proj and v_proj.

    Args:
        learn: with the backward pass.
    """
    width, inner = text.hidden_size, text.intermediate_size
    head = getattr(text, "head_dim", None) or width // text.num_attention_heads
    heads, values = text.num_attention_heads * head, text.num_key_value_heads * head
    into = linear(tokens, width, heads + 2 * values)
    down = linear(tokens, inner, width)
    weights = into + linear(tokens, heads, width) + linear(tokens, width, 2 * inner) + down
    seen = attention(tokens, tokens, heads)
    adapters = linear(tokens, lora.rank, 2 * width + heads + values)
    forward = weights + seen + adapters
    if not learn:
        return float(text.num_hidden_layers * forward)
    # Fused attention computes its scores again: five products instead of two.
    backward = weights + 2.5 * seen + 2 * adapters
    if again:  # A layer's last product is not: no gradient asks for it.
        return float(text.num_hidden_layers * (forward + backward + forward - down))
    spared = into + linear(tokens, lora.rank, 2 * width)  # nobody asks the gradient of the embeddings
    return float(text.num_hidden_layers * (forward + backward) - spared)


def decoder_flops(sam: Any, decoder: DecoderConfig, width: int, tokens: int, patches: int) -> float:
    """Projections of the LMM's states and features, the two-way transformer over SAM's map, its upscaling.

    Forward, and twice that in the backward pass where both weights and inputs need gradients.

    Args:
        width: of the LMM's states.
        tokens, patches: that the LMM read, and those of them that are the image's.
    """
    config, vision, is_sam = sam.mask_decoder_config, sam.vision_config, sam.model_type == "sam"
    rows = vision.image_size // vision.patch_size if is_sam else vision.backbone_feature_sizes[-1][0]
    map_, channels = rows * rows, config.hidden_size
    masks = 1 if decoder.trunk == "ivm" else config.num_multimask_outputs + 1
    few = decoder.prompts + masks + (0 if decoder.trunk == "ivm" else 1 if is_sam else 2)
    narrow = channels // config.attention_downsample_rate

    def across(queries: int, keys: int) -> float:
        return linear(queries, 2 * channels, narrow) + linear(keys, 2 * channels, narrow) + attention(
            queries, keys, narrow
        )  # fmt: skip

    layer = linear(few, channels, 4 * channels + 2 * config.mlp_dim) + attention(few, few, channels)
    layer += across(few, map_) + across(map_, few)
    upscaling = linear(4 * map_, channels, channels // 4) + linear(16 * map_, channels // 4, channels // 8)
    hypernetworks = masks * (linear(1, channels, 2 * channels + channels // 8) + 2 * channels // 8 * 16 * map_)
    hidden = decoder.width or 2 * width
    projection = linear(1, width, hidden) + linear(1, hidden, channels * decoder.prompts)
    trained = config.num_hidden_layers * layer + across(few, map_) + upscaling + hypernetworks + projection
    # What the frozen tower saw asks no gradient: only the weights do.
    dense = 2 * linear(patches, width, channels) if decoder.dense else 0
    fits = linear(patches, tokens, width + 3 * decoder.fits) + 3 * linear(tokens, width, decoder.fits)
    return 3 * trained + dense + (fits + 2 * linear(patches, decoder.fits, channels) if decoder.fits else 0)


def _encoder_layer(tokens: float, width: float, inner: float) -> float:
    return linear(tokens, width, 4 * width + 2 * inner) + attention(tokens, tokens, width)
