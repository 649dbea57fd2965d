"""A segmenter on parts of large pictures around the boxes, at the scale that its model sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ivm_data.experts.common.input_size import InputSize
from ivm_data.experts.common.protocols import Segmentation, Segmenter, check_lengths
from ivm_data.experts.common.usage import Usage, count_usage
from ivm_data.experts.tiles.config import TilesConfig
from storage.pixels.windows import Window, around
from storage.records import Box


def segment_tiled(
    segmenter: Segmenter,
    images: Sequence[np.ndarray],
    boxes: Sequence[Sequence[Box]],
    config: TilesConfig,
    model: InputSize,
) -> list[Segmentation]:
    """As `Segmenter.segment`; the mask of a box is drawn on the part of the picture around it, and pasted back.

    A picture that the model sees large enough gets the answer that it gets without tiles; and so does, in another
    picture, a box so long that the part around it is no smaller than the picture.

    Args:
        model: what the segmenter sees.
    """
    check_lengths(images, boxes, "list of boxes")
    asked: list[np.ndarray] = []
    prompts: list[list[Box]] = []
    places: list[tuple[int, Window | None, list[int]]] = []
    for i, (image_HWC, row) in enumerate(zip(images, boxes, strict=True)):
        for window, chosen in _parts(image_HWC, row, config, model):
            asked.append(image_HWC if window is None else window.cut(image_HWC))
            prompts.append([row[k] if window is None else window.within(row[k]) for k in chosen])
            places.append((i, window, chosen))
    count_usage(Usage(tiles=sum(window is not None for _, window, _ in places)))
    return _pasted(images, boxes, places, segmenter.segment(asked, prompts))


def _parts(
    image_HWC: np.ndarray, boxes: Sequence[Box], config: TilesConfig, model: InputSize
) -> list[tuple[Window | None, list[int]]]:
    """Parts with the indices of their boxes; None for the whole picture."""
    size = image_HWC.shape[:2]
    if config.is_seen(size, model) or not boxes:
        return [(None, list(range(len(boxes))))]
    found: list[tuple[Window | None, list[int]]] = []
    whole: list[int] = []
    for window, rows in around(boxes, size, config.sees(model).short):
        if (window.y1 - window.y0, window.x1 - window.x0) == size:
            whole += rows
        else:
            found.append((window, rows))
    return [*([(None, whole)] if whole else []), *found]


def _pasted(
    images: Sequence[np.ndarray],
    boxes: Sequence[Sequence[Box]],
    places: Sequence[tuple[int, Window | None, list[int]]],
    answers: Sequence[Segmentation],
) -> list[Segmentation]:
    """Every image's masks in the order of its boxes."""
    results: list[Segmentation | None] = [None] * len(images)
    for (i, window, chosen), answer in zip(places, answers, strict=True):
        if window is None and len(chosen) == len(boxes[i]):
            results[i] = answer
            continue
        count = len(boxes[i])
        filled = results[i] or Segmentation(
            np.zeros((count, *images[i].shape[:2]), bool), np.zeros(count, np.float32), np.zeros(count, np.float32)
        )
        results[i] = filled
        for k, mask_HW, iou, stability in zip(
            chosen, answer.mask_NHW, answer.predicted_iou_N, answer.stability_N, strict=True
        ):
            rows, columns = (slice(None), slice(None)) if window is None else window.slices
            filled.mask_NHW[k, rows, columns] = mask_HW
            filled.predicted_iou_N[k], filled.stability_N[k] = iou, stability
    return [one for one in results if one is not None]
