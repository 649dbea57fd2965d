"""Everything that may take a label's place: proposals, masks of its boxes, and "no target", as a chooser sees them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import numpy as np
import torch

from ivm_data.experts.common.protocols import Segmenter
from ivm_data.quality.chooser import Alternatives
from ivm_data.quality.judge_features import features, group
from ivm_model.data.pixels import place, valid_mask
from ivm_model.discriminator.agreement import agreement
from ivm_model.model.masking_model import MaskingModel
from storage.pixels import rle
from storage.pixels.images import decode
from storage.records import Label, Rle

BOXES, UNIONS, MOST = 3, 12, 10
"""Most boxes of a phrase, most of their combinations, and most choices of a label."""


@dataclass(frozen=True, eq=False)
class Choices:
    """The choices of one label, its own mask first, each once; and what a chooser looks at."""

    label: Label
    masks: tuple[Rle, ...]
    seen: Alternatives


class Looker:
    """Looks at labels: cuts out their boxes, and compares every choice with the masking model's heatmap."""

    def __init__(self, model: MaskingModel, segmenter: Segmenter) -> None:
        self._model, self._segmenter = model.eval(), segmenter

    def look(self, labels: Sequence[Label], rows: Sequence[Mapping[str, Any]]) -> Iterator[Choices]:
        """The choices of a batch of labels.

        Args:
            rows: light rows of the labels, with `judge_features.COLUMNS`.
        """
        images = [decode(label.sample.image) for label in labels]
        boxes = [[each.box for each in label.candidates if each.role == "target"] for label in labels]
        cut = self._segmenter.segment(images, boxes)
        with torch.no_grad():
            encoded = self._model.encode(images).to(self._model.device)
            logits_BHW = self._model(encoded, [label.sample.instruction for label in labels]).cpu()
        row_BF = features(rows)
        for n, (label, parts) in enumerate(zip(labels, cut, strict=True)):
            masks = choices(label, parts.mask_NHW)
            fit_KC = self._fit(masks, logits_BHW[n], encoded.placements[n])
            yield Choices(label, masks, Alternatives(group(rows[n]), row_BF[n], fit_KC))

    def _fit(self, masks: Sequence[Rle], logits_HW: torch.Tensor, at: Any) -> np.ndarray:
        """How each mask agrees with a heatmap, (K, C): the fit, `agreement`, the area, what the heatmap is like."""
        side, every = self._model.side, (len(masks), -1, -1)
        gray_KHW = np.stack([place(rle.decode_gray(mask), at, side) for mask in masks])
        placed_KHW = torch.from_numpy(gray_KHW).float() / 255
        valid_KHW = valid_mask(at, side).expand(every)
        agreed_KF = agreement(logits_HW.expand(every), placed_KHW, valid_KHW).numpy()
        heat_HW = self._model.to_original(logits_HW, at).sigmoid().numpy()
        fit_K1 = np.array([[fit(rle.decode(mask), heat_HW)] for mask in masks])
        area_K1 = np.array([[rle.area(mask) / heat_HW.size] for mask in masks])
        heat = np.broadcast_to([heat_HW.max(), heat_HW.mean(), (heat_HW > 0.5).mean()], (len(masks), 3))
        return np.concatenate([fit_K1, agreed_KF, area_K1, heat], 1)


def choices(label: Label, mask_NHW: np.ndarray) -> tuple[Rle, ...]:
    """Masks that may take a label's place, its own first and the empty one among them.

    Args:
        mask_NHW: of each of its target boxes, bool.
    """
    none = rle.encode(np.zeros((label.sample.height, label.sample.width), bool))
    masks = dict.fromkeys([label.mask, *(each.mask for each in label.proposals), *unions(label, mask_NHW)])
    kept = list(islice(masks, MOST - (none not in masks)))
    return tuple(dict.fromkeys([*kept, none]))


def unions(label: Label, mask_NHW: np.ndarray) -> list[Rle]:
    """One box of each phrase, the boxes with the best scores first."""
    of_phrase: dict[str, list[tuple[float, int]]] = defaultdict(list)
    targets = [each for each in label.candidates if each.role == "target"]
    for n, each in enumerate(targets):
        of_phrase[each.phrase].append((each.score, n))
    best = [[n for _, n in sorted(found, reverse=True)[:BOXES]] for found in of_phrase.values()]
    together = islice(product(*best), UNIONS) if best else ()
    return [rle.encode(np.asarray(mask_NHW[list(each)].any(0))) for each in together]


def fit(mask_HW: np.ndarray, heatmap_HW: np.ndarray) -> float:
    """IoU of a mask with a heatmap; of an empty one, that no pixel is needed."""
    if not mask_HW.any():
        return 1 - float(heatmap_HW.max())
    shared = float(heatmap_HW[mask_HW].sum())
    return shared / (float(mask_HW.sum()) + float(heatmap_HW.sum()) - shared)
