"""A grounder on the tiles of large pictures, beside the whole ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ivm_data.experts.common.image_groups import rows_by_image
from ivm_data.experts.common.input_size import InputSize
from ivm_data.experts.common.protocols import Detection, Grounder, check_lengths
from ivm_data.experts.common.usage import Usage, count_usage
from ivm_data.experts.tiles.config import TilesConfig
from ivm_data.experts.tiles.seams import Found, united
from storage.pixels.windows import Window

AT_ONCE = 16
"""Tiles that are held at once, however many a picture has."""


def ground_tiled(
    grounder: Grounder,
    images: Sequence[np.ndarray],
    phrases: Sequence[Sequence[str]],
    config: TilesConfig,
    model: InputSize,
    *,
    nms_iou: float,
) -> list[list[Detection]]:
    """As `Grounder.ground`; a picture that is not parted gets the answer that it gets without tiles.

    Args:
        model: what the grounder sees.
        nms_iou: boxes of one phrase that overlap more than this are one.
    """
    check_lengths(images, phrases, "list of phrases")
    found = list(grounder.ground(images, phrases))
    for rows in rows_by_image(images, [i for i, row in enumerate(phrases) if row]):
        image_HWC = images[rows[0]]
        size = image_HWC.shape[:2]
        parts = config.parts(size, model)
        if parts.windows:
            seen = _on_tiles(grounder, image_HWC, parts.windows, [phrases[i] for i in rows])
            for i, hits in zip(rows, seen, strict=True):
                found[i] = united(hits, found[i], size, parts.longest, nms_iou)
    return found


def _on_tiles(
    grounder: Grounder, image_HWC: np.ndarray, windows: Sequence[Window], phrases: Sequence[Sequence[str]]
) -> list[list[Found]]:
    """What each row of phrases finds in the tiles, in pixels of the picture."""
    count_usage(Usage(tiles=len(windows)))
    found: list[list[Found]] = [[] for _ in phrases]
    for start in range(0, len(windows), AT_ONCE):
        some = windows[start : start + AT_ONCE]
        cut = [window.cut(image_HWC) for window in some]
        asked = [(k, row) for k in range(len(some)) for row in range(len(phrases))]
        hits = grounder.ground([cut[k] for k, _ in asked], [phrases[row] for _, row in asked])
        for (k, row), detections in zip(asked, hits, strict=True):
            window = some[k]
            found[row] += [Found(Detection(d.phrase, window.placed(d.box), d.score), window) for d in detections]
    return found
