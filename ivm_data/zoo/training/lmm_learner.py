"""The miniature LMM in training: its batches and its losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, linear
from transformers import LlavaForConditionalGeneration
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from ivm_data.worlds.grammar import WorldPair
from ivm_data.worlds.scene import ATTRIBUTES, HELD_OUT
from ivm_data.zoo.training.lmm_packs import POINTS, Pack, Packer
from ivm_data.zoo.training.lmm_views import draw_view, pool, rewrite_ask
from ivm_data.zoo.training.scenes import Scenes

LAYER_OF = {"word": 0, "link": 1, "phrase": 2}
"""Words find their like at once, nouns then find their adjectives and after that what the whole phrase fits; the last
layer weighs what was found."""
POSITIVE_WEIGHT = 4.0
"""Of the patches that show what a phrase fits: there are few."""
UNSAID = -1e4
TEXT_ROWS, TEXTS = 6, 5
"""Rows without an image in each batch, and rewriting questions in each, as far as they fit."""


@dataclass(frozen=True)
class Losses:
    """The sum to minimise, its parts by name, and which answer tokens of which job were right."""

    total: torch.Tensor
    parts: dict[str, float]
    right: tuple[tuple[str, bool], ...]


class Learner(nn.Module):
    """Llava behind a tower that stays as `teach` left it, and the losses that its language model learns from.

    With the tower in training too, yes and no stayed at chance for 1,000 steps. After a colour the shapes that training
    never shows with it do not compete: nothing teaches that they do not follow. The embeddings of what patches show
    stay as they were taught with the tower: in training they drifted, and fewer new combinations were read right.
    """

    def __init__(self, llava: LlavaForConditionalGeneration, vocabulary: Mapping[str, int]) -> None:
        super().__init__()
        self.llava = llava
        llava.model.vision_tower.requires_grad_(False).eval()
        unsaid_VV = torch.zeros(len(vocabulary), len(vocabulary), dtype=torch.bool)
        for colour, shape in HELD_OUT:
            unsaid_VV[vocabulary[colour], vocabulary[shape]] = True
        self.unsaid_VV: torch.Tensor
        self.register_buffer("unsaid_VV", unsaid_VV, persistent=False)
        taught = torch.tensor([vocabulary[word] for words in ATTRIBUTES.values() for word in words])
        llava.lm_head.weight.register_hook(lambda gradient_VC: gradient_VC.index_fill(0, taught, 0.0))

    def forward(self, pack: Pack) -> Losses:
        """Answers, and where some heads' attention points."""
        image = self.llava.get_image_features(pack.pixels_BCHW, output_hidden_states=True, return_dict=True)
        states = self.llava.model(
            input_ids=pack.ids_RT,
            attention_mask=pack.visible_R1TT,
            position_ids=pack.position_RT,
            mm_encoder_outputs={"image": image},
            output_hidden_states=True,
            use_cache=False,
        ).hidden_states
        answer, right = self._answer_loss(states[-1], pack)
        losses = {"answer": answer}
        losses |= {kind: self._point_loss(states, pack, kind) for kind in POINTS}
        losses["link"] = self._link_loss(states, pack)
        parts = {name: loss.item() for name, loss in losses.items()}
        return Losses(torch.stack(list(losses.values())).sum(), parts, right)

    def _answer_loss(self, hidden_RTC: torch.Tensor, pack: Pack) -> tuple[torch.Tensor, tuple[tuple[str, bool], ...]]:
        logits_NV = self.llava.lm_head(hidden_RTC.flatten(0, 1)[pack.at_N])
        logits_NV = logits_NV.masked_fill(self.unsaid_VV[pack.ids_RT.flatten()[pack.at_N]], UNSAID)
        loss_N = cross_entropy(logits_NV, pack.target_N, reduction="none")
        right = zip(pack.jobs, (logits_NV.argmax(-1) == pack.target_N).tolist(), strict=True)
        return (loss_N * pack.weight_N).sum() / pack.weight_N.sum(), tuple(right)

    def _point_loss(self, states: Sequence[torch.Tensor], pack: Pack, kind: str) -> torch.Tensor:
        """Let one head look from each attribute word, or from the end of each noun phrase, at the patches that it fits.

        The head's own attention logits, before the softmax, are trained as a classifier of patches.
        """
        at_N, pointed_NP = pack.points[kind]
        logits_NP = self._attention(states, pack, LAYER_OF[kind], at_N)[:, 1 : 1 + pointed_NP.shape[1]]
        asked_NP = ~pointed_NP.isnan()
        weight = torch.tensor(POSITIVE_WEIGHT)
        return binary_cross_entropy_with_logits(logits_NP[asked_NP], pointed_NP[asked_NP], pos_weight=weight)

    def _link_loss(self, states: Sequence[torch.Tensor], pack: Pack) -> torch.Tensor:
        """Let one head look from each noun at its adjectives."""
        at_N, _ = pack.points["phrase"]
        rows_N, columns_N = at_N // pack.ids_RT.shape[1], at_N % pack.ids_RT.shape[1]
        logits_NT = self._attention(states, pack, LAYER_OF["link"], at_N)
        return cross_entropy(logits_NT.masked_fill(~pack.visible_R1TT[rows_N, 0, columns_N], -1e4), pack.linked_NT)

    def _attention(self, states: Sequence[torch.Tensor], pack: Pack, index: int, at_N: torch.Tensor) -> torch.Tensor:
        """Logits of a layer's first head from some tokens to every token of their rows, (N, T)."""
        language = self.llava.model.language_model
        layer, hidden_RTC = language.layers[index], states[index]
        width = layer.self_attn.head_dim
        normed_RTC = layer.input_layernorm(hidden_RTC)
        query, key = (
            linear(normed_RTC, projection.weight[:width])[:, None]
            for projection in (layer.self_attn.q_proj, layer.self_attn.k_proj)
        )
        query, key = apply_rotary_pos_emb(query, key, *language.rotary_emb(hidden_RTC, pack.position_RT))
        rows_N = at_N // pack.ids_RT.shape[1]
        score_NT: torch.Tensor = torch.einsum("nd,ntd->nt", query[:, 0].flatten(0, 1)[at_N], key[:, 0][rows_N])
        score_NT /= width**0.5
        return score_NT


class PackedBatches:
    """Endless packs of random views of random scenes."""

    def __init__(self, scenes: Scenes, packer: Packer, batch: int, rng: np.random.Generator) -> None:
        self._scenes, self._packer, self._batch, self._rng = scenes, packer, batch, rng
        self._pools: dict[int, list[WorldPair]] = {}

    def draw(self) -> Pack:
        """The next pack."""
        views, texts = [], []
        for index in self._rng.integers(len(self._scenes), size=self._batch).tolist():
            scene = self._scenes[index]
            if index not in self._pools:
                self._pools[index] = pool(scene, self._rng)
            pairs = self._pools[index]
            views.append(draw_view(scene, pairs, self._rng))
            texts += [rewrite_ask(pairs[i], self._rng) for i in self._rng.integers(len(pairs), size=2)]
        return self._packer.pack(views, [texts[row * TEXTS : (row + 1) * TEXTS] for row in range(TEXT_ROWS)])
