"""The loss that trains a Grounding DINO from nothing.

The library's own loss forgets each image's class offset where captions differ and gives the two-stage proposals no
gradient; here both decoder layers are matched one to one (DETR, Carion et al., 2020, arXiv 2005.12872), the encoder's
proposals are assigned one to few, and a head that is thrown away afterwards asks every covered cell what covers it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import nn
from torch.nn import functional
from torchvision.ops import box_convert, generalized_box_iou, generalized_box_iou_loss

from ivm_data.worlds.scene import ATTRIBUTES

STRIDES = (8, 16)
"""Of the feature levels, in pixels."""
CLASS_COST, L1_COST, GIOU_COST = 2.0, 5.0, 2.0
L1_WEIGHT, GIOU_WEIGHT = 5.0, 2.0
FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
CORE = 0.5
"""Share of a box's sides: cells in this core of a target are ignored, unless they are its nearest."""


@dataclass(frozen=True)
class Targets:
    """What each image of a batch should show; K targets at most, T tokens.

    Attributes:
        box_BK4: normalised centre-size boxes.
        is_target_BK: whether the row holds a thing that some phrase of the caption fits.
        token_BKT: 1 at every token of every phrase that fits the thing.
        is_token_BT: which tokens are real.
        is_word_BT: which of them belong to a phrase.
        owner_BHW: index of the thing that shows at each pixel, -1 for none.
        word_BKA: index of the thing's word for each attribute.
    """

    box_BK4: torch.Tensor
    is_target_BK: torch.Tensor
    token_BKT: torch.Tensor
    is_token_BT: torch.Tensor
    is_word_BT: torch.Tensor
    owner_BHW: torch.Tensor
    word_BKA: torch.Tensor

    @property
    def count(self) -> torch.Tensor:
        """Number of targets, at least 1."""
        return self.is_target_BK.sum().clamp(min=1)


class DenseHead(nn.Module):
    """What every covered cell of the encoder must know: its thing's attributes, and which words fit the thing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.sizes = [len(words) for words in ATTRIBUTES.values()]
        self.align = nn.Linear(channels, channels)
        self.attributes = nn.Linear(channels, sum(self.sizes))

    def forward(self, vision_BSC: torch.Tensor, text_BTC: torch.Tensor, targets: Targets) -> torch.Tensor:
        """Binary cross-entropy over the words of all phrases, plus cross-entropy of each attribute."""
        owner_BS = torch.cat([targets.owner_BHW[:, s // 2 :: s, s // 2 :: s].flatten(1) for s in STRIDES], dim=1)
        image_M, cell_M = (owner_BS >= 0).nonzero(as_tuple=True)
        thing_M = owner_BS[image_M, cell_M]
        logits_BST = self.align(vision_BSC) @ text_BTC.transpose(1, 2)
        is_word_MT = targets.is_word_BT[image_M]
        wanted_MT = targets.token_BKT[image_M, thing_M]
        loss = functional.binary_cross_entropy_with_logits(
            logits_BST[image_M, cell_M][is_word_MT], wanted_MT[is_word_MT]
        )
        guesses = self.attributes(vision_BSC[image_M, cell_M]).split(self.sizes, dim=1)
        for index, logits_MW in enumerate(guesses):
            loss = loss + 0.25 * functional.cross_entropy(logits_MW, targets.word_BKA[image_M, thing_M, index])
        return loss


def grounding_loss(
    model: Any, dense: DenseHead, pixels_BCHW: torch.Tensor, ids_BT: torch.Tensor, targets: Targets
) -> torch.Tensor:
    """Sum of the losses of the dense head, of the encoder's proposals and of each decoder layer."""
    out = model.model(pixel_values=pixels_BCHW, input_ids=ids_BT, attention_mask=targets.is_token_BT.long())
    length = ids_BT.shape[1]
    text_BTC = out.encoder_last_hidden_state_text
    total: torch.Tensor = dense(out.encoder_last_hidden_state_vision, text_BTC, targets)
    total = total + _encoder_loss(out.enc_outputs_class[..., :length], out.enc_outputs_coord_logits, targets)
    reference_BQ4 = out.init_reference_points
    for layer, hidden_BQC in enumerate(out.intermediate_hidden_states.unbind(1)):
        logits_BQT = model.class_embed[layer](hidden_BQC, text_BTC, targets.is_token_BT)
        box_BQ4 = (model.bbox_embed[layer](hidden_BQC) + torch.special.logit(reference_BQ4, eps=1e-5)).sigmoid()
        total = total + _decoder_loss(logits_BQT[..., :length], box_BQ4, targets)
        reference_BQ4 = out.intermediate_reference_points[:, layer]
    return total


def _decoder_loss(logits_BQT: torch.Tensor, box_BQ4: torch.Tensor, targets: Targets) -> torch.Tensor:
    image_M, query_M, target_M = _match(logits_BQT.detach(), box_BQ4.detach(), targets)
    wanted_BQT = torch.zeros_like(logits_BQT)
    wanted_BQT[image_M, query_M] = targets.token_BKT[image_M, target_M]
    focal = _focal(logits_BQT, wanted_BQT)[targets.is_token_BT[:, None].expand_as(logits_BQT)].sum()
    boxes = _box_loss(box_BQ4[image_M, query_M], targets.box_BK4[image_M, target_M])
    return (focal + boxes) / targets.count


def _encoder_loss(logits_BST: torch.Tensor, coordinate_BS4: torch.Tensor, targets: Targets) -> torch.Tensor:
    """On each level the cell nearest to a target's centre is positive and the rest of the box's core is ignored."""
    centre_S2, levels = _cells(targets.owner_BHW.shape[-2:], logits_BST.device)
    distance_BKS = torch.cdist(targets.box_BK4[..., :2], centre_S2.expand(len(logits_BST), -1, -1))
    offset_BKS2 = (centre_S2 - targets.box_BK4[..., None, :2]).abs()
    in_core_BKS = (offset_BKS2 < targets.box_BK4[..., None, 2:] * CORE / 2).all(-1) & targets.is_target_BK[..., None]
    ignored_BS = in_core_BKS.any(1)
    wanted_BST = torch.zeros_like(logits_BST)
    image_M, target_M = targets.is_target_BK.nonzero(as_tuple=True)
    boxes = logits_BST.new_zeros(())
    for start, stop in levels:
        cell_M = start + distance_BKS[image_M, target_M, start:stop].argmin(-1)
        wanted_BST[image_M, cell_M] = targets.token_BKT[image_M, target_M]
        ignored_BS[image_M, cell_M] = False
        boxes = boxes + _box_loss(coordinate_BS4[image_M, cell_M].sigmoid(), targets.box_BK4[image_M, target_M])
    counted_BST = targets.is_token_BT[:, None] & ~ignored_BS[..., None]
    return (_focal(logits_BST, wanted_BST)[counted_BST].sum() + boxes) / (len(levels) * targets.count)


def _cells(size_hw: torch.Size, device: torch.device) -> tuple[torch.Tensor, list[tuple[int, int]]]:
    """Normalised (x, y) centres of the cells of both levels, and where each level lies."""
    centres, levels, start = [], [], 0
    for stride in STRIDES:
        height, width = size_hw[0] // stride, size_hw[1] // stride
        y, x = torch.meshgrid(
            (torch.arange(height, device=device) + 0.5) / height,
            (torch.arange(width, device=device) + 0.5) / width,
            indexing="ij",
        )
        centres.append(torch.stack([x, y], -1).flatten(0, 1))
        levels.append((start, start + height * width))
        start += height * width
    return torch.cat(centres), levels


def _match(
    logits_BQT: torch.Tensor, box_BQ4: torch.Tensor, targets: Targets
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Image, query and target of each pair of the cheapest one-to-one assignment."""
    probability_BQT = logits_BQT.sigmoid()
    positive_BQT = FOCAL_ALPHA * (1 - probability_BQT) ** FOCAL_GAMMA * -(probability_BQT + 1e-8).log()
    negative_BQT = (1 - FOCAL_ALPHA) * probability_BQT**FOCAL_GAMMA * -(1 - probability_BQT + 1e-8).log()
    share_BKT = targets.token_BKT / targets.token_BKT.sum(-1, keepdim=True).clamp(min=1)
    cost_BQK = CLASS_COST * (positive_BQT - negative_BQT) @ share_BKT.transpose(1, 2)
    cost_BQK = cost_BQK + L1_COST * torch.cdist(box_BQ4, targets.box_BK4, p=1)
    triples = []
    for image, is_target_K in enumerate(targets.is_target_BK):
        (target_N,) = is_target_K.nonzero(as_tuple=True)
        giou_QN = generalized_box_iou(_xyxy(box_BQ4[image]), _xyxy(targets.box_BK4[image, target_N]))
        rows, columns = linear_sum_assignment((cost_BQK[image][:, target_N] - GIOU_COST * giou_QN).cpu().numpy())
        query_N, column_N = torch.as_tensor(rows), torch.as_tensor(columns)
        triples.append(torch.stack([torch.full_like(query_N, image), query_N, target_N.cpu()[column_N]]))
    return tuple(torch.cat(triples, dim=1).to(logits_BQT.device))


def _focal(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Sigmoid focal loss (Lin et al., 2017, arXiv 1708.02002, eq. 5) element by element; 0 at padding (-inf)."""
    logits = logits.masked_fill(logits.isinf(), 0.0)
    probability = logits.sigmoid()
    wrong = (probability - wanted).abs()
    alpha = torch.where(wanted > 0, FOCAL_ALPHA, 1 - FOCAL_ALPHA)
    return alpha * wrong**FOCAL_GAMMA * functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")


def _box_loss(box_M4: torch.Tensor, wanted_M4: torch.Tensor) -> torch.Tensor:
    giou = generalized_box_iou_loss(_xyxy(box_M4), _xyxy(wanted_M4), reduction="sum")
    loss: torch.Tensor = L1_WEIGHT * functional.l1_loss(box_M4, wanted_M4, reduction="sum") + GIOU_WEIGHT * giou
    return loss


def _xyxy(box: torch.Tensor) -> torch.Tensor:
    corners: torch.Tensor = box_convert(box, "cxcywh", "xyxy")
    return corners
