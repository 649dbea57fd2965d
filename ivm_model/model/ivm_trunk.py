"""The mask decoder of IVM's release: SAM's two-way transformer without SAM's IoU and spare mask tokens."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn


class IvmTrunk(nn.Module):
    """SAM embedding + prompt tokens -> mask logits, as github.com/2toinf/IVM computes them.

    Other than SAM's decoder it has one mask token and no IoU token, adds no dense prompt of its own, and draws the
    frequencies of its positional encoding itself, so that they belong to the checkpoint.

    Args:
        config: a transformers SamMaskDecoderConfig; its width, depth, heads and MLP are taken over.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        from transformers.models.sam.modeling_sam import SamFeedForward, SamLayerNorm, SamTwoWayTransformer

        channels = config.hidden_size
        config = copy.deepcopy(config)
        config.layer_norm_eps = 1e-5  # of the original code; transformers' SAM has 1e-6
        self.mask_token = nn.Embedding(1, channels)
        self.transformer = SamTwoWayTransformer(config)
        self.upscaling = nn.Sequential(
            nn.ConvTranspose2d(channels, channels // 4, kernel_size=2, stride=2),
            SamLayerNorm(channels // 4, data_format="channels_first"),
            nn.GELU(),
            nn.ConvTranspose2d(channels // 4, channels // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.hypernetwork = SamFeedForward(channels, channels, channels // 8, 3)
        self.frequencies_2F = nn.Parameter(torch.randn(2, channels // 2), requires_grad=False)

    def forward(self, image_BCHW: torch.Tensor, prompt_BPC: torch.Tensor) -> torch.Tensor:
        """Mask logits_BHW at four times the embedding's resolution."""
        token_B1C = self.mask_token.weight.expand(len(prompt_BPC), 1, -1)
        token_B1NC, image_B1TC = self.transformer(
            point_embeddings=torch.cat([token_B1C, prompt_BPC], 1)[:, None],
            image_embeddings=image_BCHW,
            image_positional_embeddings=self._position(*image_BCHW.shape[2:])[None],
            attention_similarity=None,
        )
        grid_BCHW = image_B1TC[:, 0].transpose(1, 2).unflatten(2, image_BCHW.shape[2:])
        return torch.einsum("bc,bchw->bhw", self.hypernetwork(token_B1NC[:, 0, 0]), self.upscaling(grid_BCHW))

    def start_from(self, decoder: Any) -> None:
        """Take over what a transformers SamMaskDecoder shares with this trunk."""
        self.transformer.load_state_dict(decoder.transformer.state_dict())
        self.hypernetwork.load_state_dict(decoder.output_hypernetworks_mlps[0].state_dict())
        for position, name in ((0, "upscale_conv1"), (1, "upscale_layer_norm"), (3, "upscale_conv2")):
            self.upscaling[position].load_state_dict(getattr(decoder, name).state_dict())
        self.mask_token.load_state_dict({"weight": decoder.mask_tokens.weight[:1]})

    def _position(self, height: int, width: int) -> torch.Tensor:
        """Random Fourier features of the patches' centres, position_CHW (arXiv 2006.10739, as in SAM)."""
        y_H, x_W = (
            (2 * (torch.arange(n, device=self.frequencies_2F.device) + 0.5) / n - 1).to(self.frequencies_2F.dtype)
            for n in (height, width)
        )
        place_HW2 = torch.stack(torch.meshgrid(x_W, y_H, indexing="xy"), -1)
        phase_HWF = 2 * math.pi * place_HW2 @ self.frequencies_2F
        return torch.cat([phase_HWF.sin(), phase_HWF.cos()], -1).permute(2, 0, 1)
