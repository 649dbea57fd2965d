"""Masks of all things in an image, without a prompt: a segmenter asked at a grid of points.

After Segment Anything's automatic mask generation (Kirillov et al., 2023, arXiv 2304.02643, appendix B): one mask for
each point of the grid, the sure and stable ones kept, the best of those that overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

import numpy as np

from ivm_data.experts.answers import codecs
from ivm_data.experts.answers.codecs import Codec
from ivm_data.experts.answers.kept import KeptExpert
from ivm_data.experts.common.protocols import Segmentation, Segmenter
from storage.common.validation import Checked, Count, NotNegative
from storage.pixels import rle
from storage.records import Box


@dataclass(frozen=True, kw_only=True)
class AutomaticMaskConfig(Checked):
    """Which masks count as things.

    Attributes:
        grid: points per side of the prompt grid.
        min_predicted_iou, min_stability: drop a mask below either.
        max_area_ratio: drop a mask that covers more of the image than this: background.
        nms_iou: drop a mask whose box overlaps a better one's more than this.
        max_masks: keep at most this many masks an image.
    """

    grid: Count = 10
    min_predicted_iou: NotNegative = 0.6
    min_stability: NotNegative = 0.7
    max_area_ratio: NotNegative = 0.4
    nms_iou: NotNegative = 0.6
    max_masks: Count = 16


@dataclass(frozen=True)
class AutomaticMask:
    """A mask that may show an object, with its tight box."""

    mask_HW: np.ndarray
    box: Box
    predicted_iou: float


def things_in(
    images: Sequence[np.ndarray], segmenter: Segmenter, config: AutomaticMaskConfig
) -> list[list[AutomaticMask]]:
    """Distinct, sure, bounded masks of each image, best first.

    Of a segmenter whose answers are kept these are, and not the mask of every point.
    """
    if not isinstance(segmenter, KeptExpert):
        return _things_in(images, segmenter, config)

    def ask(expert: Segmenter, rows: Sequence[int]) -> list[list[AutomaticMask]]:
        return _things_in([images[i] for i in rows], expert, config)

    rows = [(image, *(getattr(config, field.name) for field in fields(AutomaticMaskConfig))) for image in images]
    return segmenter.answers("things", rows, _THINGS, ask)


def _things_in(
    images: Sequence[np.ndarray], segmenter: Segmenter, config: AutomaticMaskConfig
) -> list[list[AutomaticMask]]:
    found = segmenter.segment_points(images, [_grid(image, config.grid) for image in images])
    return [_things(result, config) for result in found]


def _plain(things: Sequence[AutomaticMask]) -> list[Any]:
    return [[codecs.mask_plain(thing.mask_HW), astuple(thing.box), thing.predicted_iou] for thing in things]


_THINGS: Codec[list[AutomaticMask]] = Codec(
    _plain, lambda plain: [AutomaticMask(codecs.mask_of(mask), Box(*sides), iou) for mask, sides, iou in plain]
)


def _grid(image_HWC: np.ndarray, side: int) -> np.ndarray:
    """(side * side, 2) centres of equal cells, (x, y) in pixels."""
    steps = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(steps * image_HWC.shape[1], steps * image_HWC.shape[0])
    return np.stack([x.ravel(), y.ravel()], axis=1)


def _things(found: Segmentation, config: AutomaticMaskConfig) -> list[AutomaticMask]:
    import torch
    from torchvision.ops import nms

    area_N = found.mask_NHW.reshape(len(found.mask_NHW), -1).mean(axis=1)
    keep_N = (found.predicted_iou_N >= config.min_predicted_iou) & (found.stability_N >= config.min_stability)
    rows = np.flatnonzero(keep_N & (area_N > 0) & (area_N <= config.max_area_ratio))
    things = []
    for row in rows:
        box = rle.bbox(rle.encode(found.mask_NHW[row]))
        assert box is not None
        things.append(AutomaticMask(found.mask_NHW[row], box, float(found.predicted_iou_N[row])))
    if not things:
        return []
    box_N4 = torch.tensor([[t.box.x0, t.box.y0, t.box.x1, t.box.y1] for t in things])
    order = nms(box_N4, torch.tensor([t.predicted_iou for t in things]), config.nms_iou)
    return [things[int(i)] for i in order[: config.max_masks]]
