"""The mask decoder: a SAM two-way decoder that the LMM prompts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import nn
from torch.nn import functional

from ivm_model.model.image_encoders import is_sam2, unpack
from ivm_model.model.ivm_trunk import IvmTrunk
from ivm_model.model.lmm import Reading
from storage.common.validation import Checked, Count, Natural
from storage.errors import ConfigError


@dataclass(frozen=True)
class DecoderConfig(Checked):
    """How the LMM's states prompt the decoder.

    Attributes:
        init: "sam" starts from SAM's own trained decoder, "scratch" from random weights of the same shape.
        prompt: "last" projects the last token's state to one prompt (IVM); "text" adds each text token's own.
        prompts: how many prompt tokens the last state becomes.
        dense: add the LMM's vision features, projected, to SAM's embedding: SAM knows edges, the LMM knows words.
        fits: maps of how well each patch fits the instruction's words, added to SAM's embedding, see `Fits`; 0: none.
        trunk: "sam" is the mask decoder of the SAM at hand, "ivm" that of IVM's release, see `IvmTrunk`.
        state: which token's state is "the last": the very "last", or the one "before_last", which IVM's release takes.
        width: hidden width of the projection; 0 means twice the state's width.
    """

    init: Literal["sam", "scratch"] = "sam"
    prompt: Literal["last", "text"] = "last"
    prompts: Count = 1
    dense: bool = True
    fits: Natural = 4
    trunk: Literal["sam", "ivm"] = "sam"
    state: Literal["last", "before_last"] = "last"
    width: Natural = 0


class PromptedDecoder(nn.Module):
    """SAM embedding + LMM states -> mask logits.

    Args:
        sam: a transformers SAM, see `load_sam`; its decoder's shape (two-way depth, heads, MLP) is taken over.
        hidden_size: channels C of the LMM's states.

    Raises:
        ConfigError: the trunk is not made for this SAM.
    """

    def __init__(self, sam: Any, hidden_size: int, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        channels = sam.config.mask_decoder_config.hidden_size
        self.is_packed = is_sam2(sam)
        self.decoder = _ivm_trunk(sam, config) if config.trunk == "ivm" else _sam_trunk(sam, config)
        self.position_1CHW: torch.Tensor
        self.no_mask_C: torch.Tensor
        self.register_buffer("position_1CHW", sam.get_image_wide_positional_embeddings().detach(), persistent=False)
        self.register_buffer("no_mask_C", sam.prompt_encoder.no_mask_embed.weight[0].detach(), persistent=False)
        width = config.width or 2 * hidden_size
        self.project_last = _mlp(hidden_size, width, channels * config.prompts)
        self.project_text = _mlp(hidden_size, width, channels) if config.prompt == "text" else None
        self.project_dense = nn.Linear(hidden_size, channels) if config.dense else None
        self.fits = Fits(hidden_size, config.fits, channels) if config.fits else None

    def forward(self, sam_BCHW: torch.Tensor, reading: Reading, vision_BTC: torch.Tensor) -> torch.Tensor:
        """Decode one mask for each image.

        Args:
            sam_BCHW: SAM image embedding, packed where it is SAM 2's.
            reading: the LMM's states over image and instruction.
            vision_BTC: the LMM's vision features.

        Returns:
            logits_BHW at four times the embedding's resolution.
        """
        finer: dict[str, Any] = {}
        if self.is_packed:
            sam_BCHW, finer["high_resolution_features"] = unpack(sam_BCHW)
        dense_BCHW = torch.zeros_like(sam_BCHW)
        if self.config.trunk == "sam":
            dense_BCHW = self.no_mask_C.view(1, -1, 1, 1).expand_as(sam_BCHW)
        if self.project_dense is not None:
            # As the language model's first norm does it: a large common part would hide what differs between patches.
            normed_BTC = functional.rms_norm(vision_BTC, vision_BTC.shape[-1:])
            dense_BCHW = dense_BCHW + _to_grid(self.project_dense(normed_BTC), sam_BCHW.shape[2:])
        if self.fits is not None:
            dense_BCHW = dense_BCHW + _to_grid(self.fits(reading, vision_BTC), sam_BCHW.shape[2:])
        prompt_BPC = self._prompts(reading)
        if self.config.trunk == "ivm":
            logits_BHW: torch.Tensor = self.decoder(sam_BCHW + dense_BCHW, prompt_BPC)
            return logits_BHW
        logits_B11HW: torch.Tensor
        logits_B11HW, *_ = self.decoder(
            image_embeddings=sam_BCHW,
            image_positional_embeddings=self.position_1CHW.expand(len(sam_BCHW), -1, -1, -1),
            sparse_prompt_embeddings=prompt_BPC[:, None],
            dense_prompt_embeddings=dense_BCHW,
            multimask_output=False,
            **finer,
        )
        return logits_B11HW[:, 0, 0]

    def _prompts(self, reading: Reading) -> torch.Tensor:
        """Prompt tokens, prompt_BPC; zeros stand for image tokens and padding."""
        state_BC = reading.at(0 if self.config.state == "last" else 1)
        last_BPC: torch.Tensor = self.project_last(state_BC).unflatten(1, (self.config.prompts, -1))
        if self.project_text is None:
            return last_BPC
        first = int(reading.is_text_BL.int().argmax(1).min())
        text_BPC = self.project_text(reading.hidden_BLC[:, first:]) * reading.is_text_BL[:, first:, None]
        return torch.cat([last_BPC, text_BPC], 1)


class Fits(nn.Module):
    """Patch-text similarity: how well each patch fits the words of an instruction, as K maps.

    A LLaVA projector puts vision features where the word embeddings are, so their dot product is how much a patch
    looks like a word. What each word counts in each map is read from its state in the LMM, which knows the phrase
    around it; before any training every word counts 1. Not part of IVM.
    """

    def __init__(self, hidden_size: int, maps: int, channels: int) -> None:
        super().__init__()
        self.count = nn.Linear(hidden_size, maps)
        nn.init.normal_(self.count.weight, std=hidden_size**-0.5 / 4)
        nn.init.ones_(self.count.bias)
        self.project = nn.Linear(maps, channels)

    def forward(self, reading: Reading, vision_BTC: torch.Tensor) -> torch.Tensor:
        """Features to add to SAM's embedding, BTC."""
        fit_BTL = functional.rms_norm(vision_BTC, vision_BTC.shape[-1:]) @ reading.words_BLC.transpose(1, 2)
        counts_BLK = self.count(reading.hidden_BLC) * reading.is_text_BL[..., None]
        map_BTC: torch.Tensor = self.project(fit_BTL @ counts_BLK)
        return map_BTC


def _sam_trunk(sam: Any, config: DecoderConfig) -> nn.Module:
    trunk: Any = type(sam.mask_decoder)(sam.config.mask_decoder_config)
    if config.init == "sam":
        trunk.load_state_dict(sam.mask_decoder.state_dict())
    # Only the first mask token answers; the IoU head and the other tokens' networks stay as they are.
    unused = [trunk.iou_prediction_head, trunk.output_hypernetworks_mlps[1:]]
    if is_sam2(sam):
        trunk.dynamic_multimask_via_stability = False  # else another token may answer outside of training
        unused += [trunk.conv_s0, trunk.conv_s1, trunk.pred_obj_score_head]
    for part in unused:
        part.requires_grad_(False)
    return cast(nn.Module, trunk)


def _ivm_trunk(sam: Any, config: DecoderConfig) -> IvmTrunk:
    if is_sam2(sam):
        raise ConfigError(
            f"'decoder.trunk' must be 'sam' with a {sam.config.model_type!r} model, got 'ivm': that has the shape "
            "of the first SAM's decoder"
        )
    trunk = IvmTrunk(sam.config.mask_decoder_config)
    if config.init == "sam":
        trunk.start_from(sam.mask_decoder)
        trunk.frequencies_2F.data.copy_(sam.shared_image_embedding.positional_embedding)
    return trunk


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """IVM's projection: 4096-2048-256 for LLaVA-7B and SAM-H."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))


def _to_grid(tokens_BTC: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Patch tokens, after leading class tokens, -> map_BCHW of the given size."""
    side = math.isqrt(tokens_BTC.shape[1])
    grid_BCHW = tokens_BTC[:, -side * side :].transpose(1, 2).unflatten(2, (side, side))
    return functional.interpolate(grid_BCHW, tuple(size), mode="bilinear", align_corners=False)
