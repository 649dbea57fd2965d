"""The miniature LMM in training: its batches and its losses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, smooth_l1_loss

from ivm_data.worlds.grammar import Pair
from ivm_data.zoo.lmm_model import Size, build_model, build_processor
from ivm_data.zoo.lmm_packs import EXTENT, IGNORED, OUTLINE, PATCH_HEADS, Pack, Packer
from ivm_data.zoo.lmm_views import Draw, draw_view, pool, rewrite_ask
from ivm_data.zoo.scenes import Scenes

TEXT_ONLY = 1
"""Rewriting questions behind each image, where they fit."""


@dataclass(frozen=True)
class Losses:
    """`answer` is NaN where no question was asked; `right` is the share of right answer tokens."""

    patch: torch.Tensor
    answer: torch.Tensor
    right: float


class Learner(nn.Module):
    """Llava with the dense heads that are dropped after the training."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.processor = build_processor(size)
        self.llava = build_model(size, self.processor.tokenizer)
        self.heads = nn.ModuleDict({name: nn.Linear(size.width, count) for name, count in PATCH_HEADS.items()})
        self.outline = nn.Linear(size.width, OUTLINE * OUTLINE)
        self.extent = nn.Linear(size.width, EXTENT)

    def forward(self, pack: Pack, questions: bool) -> Losses:
        """Patch loss, and answer loss where `questions` are asked."""
        image = self.llava.get_image_features(pack.pixels_BCHW, output_hidden_states=True, return_dict=True)
        patch = self._patch_loss(image.hidden_states[-1], pack)
        if not questions:
            return Losses(patch, torch.tensor(torch.nan), torch.nan)
        hidden_BTC = self.llava.model(
            input_ids=pack.ids_BT,
            attention_mask=pack.visible_B1TT,
            position_ids=pack.position_BT,
            mm_encoder_outputs={"image": image},
            use_cache=False,
        ).last_hidden_state
        logits_NV = self.llava.lm_head(hidden_BTC.flatten(0, 1)[pack.at_N])
        loss_N = cross_entropy(logits_NV, pack.target_N, reduction="none")
        right = (logits_NV.argmax(-1) == pack.target_N).float().mean().item()
        return Losses(patch, (loss_N * pack.weight_N).sum() / pack.weight_N.sum(), right)

    def _patch_loss(self, features_BPC: torch.Tensor, pack: Pack) -> torch.Tensor:
        """What each patch shows: words and contrast, outline, and where its thing ends."""
        losses = []
        for h, head in enumerate(self.heads.values()):
            target_N = pack.patch_BPH[..., h].flatten()
            if (target_N != IGNORED).any():
                losses.append(cross_entropy(head(features_BPC).flatten(0, 1), target_N, ignore_index=IGNORED))
        outline = binary_cross_entropy_with_logits(self.outline(features_BPC), pack.outline_BPS)
        there_BP = ~pack.extent_BP4[..., 0].isnan()
        extent = smooth_l1_loss(self.extent(features_BPC[there_BP]), pack.extent_BP4[there_BP], beta=0.1)
        return torch.stack(losses).mean() + outline + extent

    def groups(self, rate: float, tower_rate: float) -> list[dict]:
        """Parameter groups for the optimizer: the tower learns slower by `tower_rate`."""
        tower = {id(p) for p in self.llava.model.vision_tower.parameters()}
        return [
            {"params": [p for p in self.parameters() if id(p) in tower], "lr": rate * tower_rate},
            {"params": [p for p in self.parameters() if id(p) not in tower], "lr": rate},
        ]


class Batches:
    """Endless packs of random views of random scenes."""

    def __init__(self, scenes: Scenes, packer: Packer, batch: int, rng: np.random.Generator) -> None:
        self._scenes, self._packer, self._batch, self._rng = scenes, packer, batch, rng
        self._pools: dict[int, list[Pair]] = {}

    def draw(self, shares: dict[Draw, float]) -> Pack:
        """The next pack, of views by their shares."""
        views, text_only = [], []
        for index in self._rng.integers(len(self._scenes), size=self._batch).tolist():
            scene = self._scenes[index]
            if index not in self._pools:
                self._pools[index] = pool(scene, self._rng)
            pairs = self._pools[index]
            views.append(draw_view(shares, scene, pairs, self._rng))
            text_only.append([rewrite_ask(pairs[i]) for i in self._rng.integers(len(pairs), size=TEXT_ONLY)])
        return self._packer.pack(views, text_only)
