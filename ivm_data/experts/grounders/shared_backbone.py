"""The image backbone of a Grounding DINO, computed once for all captions that ask about the same image.

Within a batch; and on a CPU, where a batch may be a single caption, once for neighbouring batches too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Levels = list[tuple[Any, Any]]
"""Feature map and mask of each level."""


def share_backbone(backbone: Any) -> None:
    """For the `conv_encoder` of transformers: pixels and mask -> feature map and mask of each level."""
    plain, last = backbone.forward, LastImage()

    def forward(pixel_values: torch.Tensor, pixel_mask: torch.Tensor) -> Levels:
        firsts, rows = distinct_images(pixel_values)
        levels = last.levels(plain, pixel_values[firsts], pixel_mask[firsts])
        return [(map_BChw[rows], mask_Bhw[rows]) for map_BChw, mask_Bhw in levels]

    backbone.forward = forward


def share_native_backbone(backbone: Any) -> None:
    """For the original code: a `NestedTensor` of pixels and mask -> one of features and mask for each level's name."""
    from groundingdino.util.misc import NestedTensor

    plain, last = backbone.forward, LastImage()
    names: list[Any] = []

    def compute(image_BCHW: torch.Tensor, mask_BHW: torch.Tensor) -> Levels:
        levels = plain(NestedTensor(image_BCHW, mask_BHW))
        names[:] = levels
        return [(level.tensors, level.mask) for level in levels.values()]

    def forward(nested: Any) -> dict[Any, Any]:
        firsts, rows = distinct_images(nested.tensors)
        levels = last.levels(compute, nested.tensors[firsts], nested.mask[firsts])
        return {
            name: NestedTensor(map_BChw[rows], mask_Bhw[rows])
            for name, (map_BChw, mask_Bhw) in zip(names, levels, strict=True)
        }

    backbone.forward = forward


class LastImage:
    """What a backbone made of the last image that came alone, on a CPU; a GPU takes large batches and keeps nothing."""

    def __init__(self) -> None:
        self._last: tuple[torch.Tensor, torch.Tensor, Levels] | None = None

    def levels(
        self,
        compute: Callable[[torch.Tensor, torch.Tensor], Levels],
        image_BCHW: torch.Tensor,
        mask_BHW: torch.Tensor,
    ) -> Levels:
        """`compute(image_BCHW, mask_BHW)`, or what it was the last time."""
        import torch

        if len(image_BCHW) > 1 or image_BCHW.device.type != "cpu":
            return compute(image_BCHW, mask_BHW)
        last = self._last
        if last is not None and torch.equal(last[0], image_BCHW) and torch.equal(last[1], mask_BHW):
            return last[2]
        levels = compute(image_BCHW, mask_BHW)
        self._last = image_BCHW, mask_BHW, levels
        return levels


def distinct_images(image_BCHW: torch.Tensor) -> tuple[list[int], list[int]]:
    """Row of the first of each run of equal images, and for each row the run that it is in."""
    import torch

    firsts, rows = [0], [0]
    for row in range(1, len(image_BCHW)):
        if not torch.equal(image_BCHW[row], image_BCHW[row - 1]):
            firsts.append(row)
        rows.append(len(firsts) - 1)
    return firsts, rows
