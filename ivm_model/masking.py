"""What an LMM or a policy sees: an image with only the pixels that an instruction needs.

Frames, everywhere: `image_HWC` is uint8 RGB; `mask_HW` is bool, or float in [0, 1] as an opacity; `heatmap_HW` is
float in [0, 1]; boxes are XYXY pixels of the original image, right and bottom exclusive.
The recipe is the inference of IVM (arXiv 2405.19783): threshold, dilate, Gaussian blur, then one way to show the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.special import ndtr

from ivm_model.how import HOWS, How
from storage.records import Box

OUTLINE = (255, 0, 0)
"""Colour of `outlined`."""
MAX_CROP_SIDE = 1024
"""Of a crop in pixels, about what an LMM takes in; around a large box of 12,000 x 9,000 pixels it would be 18,000."""


@dataclass(frozen=True)
class Masked:
    """A masked image.

    Attributes:
        image_HWC: uint8 RGB; of the input's size, or of the box's size where `how` crops.
        found: some pixel passed the threshold; if not, `image_HWC` is the whole input, unchanged.
        box: around the kept pixels in the input's frame, and what a crop shows; the whole image if nothing was found.
    """

    image_HWC: np.ndarray
    found: bool
    box: Box


def keep_only(image_HWC: np.ndarray, mask_HW: np.ndarray, fill: int = 255, dim: float = 1.0) -> np.ndarray:
    """Keep the mask's pixels; the others become `image * (1 - dim) + fill * dim`.

    Returns:
        HWC uint8 of the input's size; pixels under a full mask are exactly the input's.

    Raises:
        ValueError: the image is not HWC uint8 RGB, or the mask is of another size.
    """
    _check(image_HWC, mask_HW)
    if not (0 <= fill <= 255 and 0.0 <= dim <= 1.0):
        raise ValueError(f"fill must lie in [0, 255] and dim in [0, 1], got fill={fill}, dim={dim}")
    return _blend(image_HWC, cv2.convertScaleAbs(image_HWC, alpha=1.0 - dim, beta=fill * dim), mask_HW)


def complement(image_HWC: np.ndarray, mask_HW: np.ndarray, fill: int = 255) -> np.ndarray:
    """Remove the mask's pixels and keep the others: what is left to answer from if the mask is not needed.

    Returns:
        HWC uint8 of the input's size.
    """
    _check(image_HWC, mask_HW)
    return keep_only(image_HWC, ~mask_HW if mask_HW.dtype == bool else 1.0 - mask_HW, fill)


def outlined(image_HWC: np.ndarray, box: Box) -> np.ndarray:
    """The image with a red outline around the box, a hundredth of the longer side wide and at least two pixels.

    Args:
        box: may overhang the image; what lies outside is not drawn.

    Returns:
        HWC uint8, a copy.
    """
    _check_image(image_HWC)
    drawn_HWC = np.ascontiguousarray(image_HWC).copy()
    width = max(2, round(max(image_HWC.shape[:2]) / 100))
    first, last = (math.floor(box.x0), math.floor(box.y0)), (math.floor(box.x1) - 1, math.floor(box.y1) - 1)
    cv2.rectangle(drawn_HWC, first, last, OUTLINE, width)
    return drawn_HWC


def crop_window(size: tuple[int, int], box: Box, context: float = 0.25) -> tuple[int, int, int]:
    """(left, top, side) in pixels of the square that `crop_box` cuts; boxes with equal squares have equal crops.

    Args:
        size: (H, W) of the image.

    Raises:
        ValueError: no part of the box lies inside the image, or a coordinate is not finite.
    """
    H, W = size
    inside = Box(max(box.x0, 0.0), max(box.y0, 0.0), min(box.x1, W), min(box.y1, H))
    if not (inside.area > 0 and math.isfinite(inside.area)):
        raise ValueError(f"{box} has no part inside the image of {W}x{H} pixels; give XYXY pixels of this image")
    side = math.ceil(max(inside.x1 - inside.x0, inside.y1 - inside.y0) * (1 + 2 * context))
    left, top = (math.floor(middle - side / 2 + 0.5) for middle in inside.center)
    return left, top, side


def crop_box(image_HWC: np.ndarray, box: Box, context: float = 0.25, fill: int = 255) -> np.ndarray:
    """Cut a square around the box with `context` of its longer side on every side; `fill` pads outside the image.

    Args:
        box: may overhang the image; only its part inside counts.

    Returns:
        SSC uint8 with S = ceil(longer side * (1 + 2 * context)), shrunk to `MAX_CROP_SIDE` where it would be longer.

    Raises:
        ValueError: no part of the box lies inside the image, or a coordinate is not finite.
    """
    _check_image(image_HWC)
    H, W = image_HWC.shape[:2]
    left, top, side = crop_window((H, W), box, context)
    y0, x0, y1, x1 = max(top, 0), max(left, 0), min(top + side, H), min(left + side, W)
    part_HWC, y0, x0, y1, x1 = image_HWC[y0:y1, x0:x1], y0 - top, x0 - left, y1 - top, x1 - left
    if side > MAX_CROP_SIDE:
        y0, x0, y1, x1 = (round(edge * MAX_CROP_SIDE / side) for edge in (y0, x0, y1, x1))
        y1, x1, side = max(y1, y0 + 1), max(x1, x0 + 1), MAX_CROP_SIDE
        part_HWC = cv2.resize(part_HWC, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    crop_SSC = np.full((side, side, 3), fill, np.uint8)
    crop_SSC[y0:y1, x0:x1] = part_HWC
    return crop_SSC


def soften(heatmap_HW: np.ndarray, threshold: float = 0.5, dilate: float = 0.05, blur: float = 0.01) -> np.ndarray:
    """Heatmap -> opacity with a soft edge: threshold, dilate, blur.

    The pixels that pass (heatmap >= threshold) are dilated by a disc, whose edge becomes what a Gaussian blur makes
    of a straight one, Phi(distance / sigma): by the distance transform, so that no wide kernel costs its width.

    Args:
        dilate: diameter of the disc as a share of the height.
        blur: sigma of the edge as a share of the height.

    Returns:
        alpha_HW float32 in [0, 1]: exactly 1 where the heatmap passes, all zero where nothing does.
    """
    if not 0.0 < threshold <= 1.0:
        raise ValueError(f"threshold must lie in (0, 1], got {threshold}")
    _check_range(heatmap_HW)
    passes_HW = heatmap_HW >= threshold
    if not passes_HW.any():
        return np.zeros(passes_HW.shape, np.float32)
    height = passes_HW.shape[0]
    distance_HW = cv2.distanceTransform((~passes_HW).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    alpha_HW: np.ndarray = ndtr((dilate * height / 2 - distance_HW) / max(blur * height, 1e-6)).astype(np.float32)
    alpha_HW[passes_HW] = 1.0
    return alpha_HW


def apply(image_HWC: np.ndarray, heatmap_HW: np.ndarray, how: How = "overlay", threshold: float = 0.5) -> Masked:
    """Mask an image by a heatmap: others white (overlay), blurred or gray, or cut away (crop).

    Raises:
        ValueError: unknown `how`, sizes that differ, a heatmap outside [0, 1], or a threshold outside (0, 1].
    """
    if how not in HOWS:
        raise ValueError(f"how must be one of {', '.join(HOWS)}, got {how!r}")
    _check(image_HWC, heatmap_HW)
    alpha_HW = soften(heatmap_HW, threshold)
    if not alpha_HW.any():
        return Masked(image_HWC.copy(), False, Box(0, 0, image_HWC.shape[1], image_HWC.shape[0]))
    rows, columns = np.flatnonzero((alpha_HW >= 0.5).any(1)), np.flatnonzero((alpha_HW >= 0.5).any(0))
    y0, y1, x0, x1 = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    out_HWC = image_HWC if how == "crop" else _blend(image_HWC, hidden(image_HWC, how), alpha_HW)
    if how.endswith("crop"):
        out_HWC = out_HWC[y0:y1, x0:x1].copy()
    return Masked(out_HWC, True, Box(x0, y0, x1, y1))


def hidden(image_HWC: np.ndarray, how: How = "overlay") -> np.ndarray:
    """The image as it looks where nothing of it is needed: white, blurred or gray all over.

    Returns:
        HWC uint8 of the input's size.

    Raises:
        ValueError: a `how` that only cuts away, or an image that is none.
    """
    _check_image(image_HWC)
    match how:
        case "overlay" | "overlay+crop":
            return np.full_like(image_HWC, 255)
        case "blur":
            return _blurred(image_HWC)
        case "gray":
            return cv2.cvtColor(cv2.cvtColor(image_HWC, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    raise ValueError(f"how must hide something: overlay, blur or gray, got {how!r}")


def _blend(inside_HWC: np.ndarray, outside_HWC: np.ndarray, mask_HW: np.ndarray) -> np.ndarray:
    if mask_HW.dtype == bool:
        return np.where(mask_HW[..., None], inside_HWC, outside_HWC)
    alpha_HW = np.ascontiguousarray(mask_HW, np.float32)
    return cv2.blendLinear(np.ascontiguousarray(inside_HWC), outside_HWC, alpha_HW, 1.0 - alpha_HW)


def _blurred(image_HWC: np.ndarray, sigma: float = 0.03) -> np.ndarray:
    """Gaussian blur, `sigma` as a share of the height; shrunk first, as a wide kernel on a large one takes minutes."""
    H, W = image_HWC.shape[:2]
    shrink = max(1, H // 256)
    small_HWC = cv2.resize(image_HWC, (max(1, W // shrink), max(1, H // shrink)), interpolation=cv2.INTER_AREA)
    small_HWC = cv2.GaussianBlur(small_HWC, (0, 0), sigma * H / shrink)
    return cv2.resize(small_HWC, (W, H), interpolation=cv2.INTER_LINEAR)


def _check_image(image_HWC: np.ndarray) -> None:
    if image_HWC.dtype != np.uint8 or image_HWC.ndim != 3 or image_HWC.shape[2] != 3 or 0 in image_HWC.shape:
        raise ValueError(f"the image must be HWC uint8 RGB with pixels in it, got {image_HWC.dtype} {image_HWC.shape}")


def _check(image_HWC: np.ndarray, mask_HW: np.ndarray) -> None:
    _check_image(image_HWC)
    if mask_HW.shape != image_HWC.shape[:2]:
        size = image_HWC.shape[:2]
        raise ValueError(f"the mask's (H, W) = {mask_HW.shape} is not the image's size {size}; resize it first")
    _check_range(mask_HW)


def _check_range(mask_HW: np.ndarray) -> None:
    if mask_HW.dtype == bool:
        return
    if mask_HW.dtype.kind != "f":
        raise ValueError(f"a mask must be bool, or float in [0, 1], got {mask_HW.dtype}; use mask > 0 or mask / 255")
    low, high = float(mask_HW.min()), float(mask_HW.max())
    if not (low >= 0.0 and high <= 1.0):
        raise ValueError(f"a heatmap must lie in [0, 1], got [{low}, {high}]; apply a sigmoid to logits first")
