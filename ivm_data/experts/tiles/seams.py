"""What tiles found of one picture -> what is there: pieces of a thing joined where two tiles saw the same of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ivm_data.experts.common.protocols import Detection
from storage.pixels.overlap import box_iou
from storage.pixels.windows import Window
from storage.records import Box

AGREE = 0.5
"""IoU, within what two tiles have in common, from which their boxes are pieces of one thing."""
INSIDE = 0.7
"""Share of a piece within a larger box of its phrase from which it shows nothing else."""


@dataclass(frozen=True)
class Found:
    """A detection in pixels of the picture, and the tile that it was found in."""

    hit: Detection
    tile: Window


def united(
    found: Sequence[Found], whole: Sequence[Detection], size: tuple[int, int], longest: float, nms_iou: float
) -> list[Detection]:
    """Detections of a picture from those of its tiles and those of the whole, best first.

    A thing no longer than `longest` lies whole in some tile, larger than in the picture as the model sees that: there
    the tiles have the word. So of the whole picture longer boxes count, and of pieces that a tile's edge cuts, joined
    with those that go on in other tiles, longer ones that no other box shows.

    Args:
        whole: what was found in the whole picture.
        size: (height, width) of the picture.
        longest: pixels.
        nms_iou: boxes of one phrase that overlap more than this are one.
    """
    known = [one.hit for one in found if not one.tile.cuts(one.hit.box, size)]
    known += [hit for hit in whole if _length(hit.box) > longest]
    pieces = [_union(group) for group in _joined([one for one in found if one.tile.cuts(one.hit.box, size)])]
    for piece in sorted(pieces, key=lambda hit: -hit.box.area):
        if _length(piece.box) > longest and not _is_shown(piece, known):
            known.append(piece)
    return _distinct(known, nms_iou)


def _joined(pieces: Sequence[Found]) -> list[list[Found]]:
    """Pieces by the thing that they are of."""
    groups: list[list[Found]] = []
    for one in pieces:
        same = [group for group in groups if any(_continues(one, other) for other in group)]
        groups = [group for group in groups if group not in same]
        groups.append([one, *(other for group in same for other in group)])
    return groups


def _continues(one: Found, other: Found) -> bool:
    """Whether two tiles saw the same of what they both show."""
    if one.hit.phrase != other.hit.phrase or (both := one.tile.shared(other.tile)) is None:
        return False
    first, second = both.clipped(one.hit.box), both.clipped(other.hit.box)
    return first is not None and second is not None and box_iou(first, second) >= AGREE


def _union(group: Sequence[Found]) -> Detection:
    hits = [one.hit for one in group]
    x0, y0, x1, y1 = zip(*((hit.box.x0, hit.box.y0, hit.box.x1, hit.box.y1) for hit in hits), strict=True)
    return Detection(hits[0].phrase, Box(min(x0), min(y0), max(x1), max(y1)), max(hit.score for hit in hits))


def _is_shown(piece: Detection, known: Sequence[Detection]) -> bool:
    return any(hit.phrase == piece.phrase and _share(piece.box, hit.box) >= INSIDE for hit in known)


def _share(inner: Box, outer: Box) -> float:
    width = min(inner.x1, outer.x1) - max(inner.x0, outer.x0)
    height = min(inner.y1, outer.y1) - max(inner.y0, outer.y0)
    return max(0.0, width) * max(0.0, height) / inner.area


def _length(box: Box) -> float:
    return max(box.x1 - box.x0, box.y1 - box.y0)


def _distinct(hits: Sequence[Detection], nms_iou: float) -> list[Detection]:
    """Non-maximum suppression within each phrase; best first."""
    if not hits:
        return []
    import torch
    from torchvision.ops import batched_nms

    phrases = list(dict.fromkeys(hit.phrase for hit in hits))
    corners_N4 = torch.tensor([[hit.box.x0, hit.box.y0, hit.box.x1, hit.box.y1] for hit in hits], dtype=torch.float64)
    score_N = torch.tensor([hit.score for hit in hits], dtype=torch.float64)
    phrase_N = torch.tensor([phrases.index(hit.phrase) for hit in hits])
    return [hits[int(i)] for i in batched_nms(corners_N4, score_N, phrase_N, nms_iou)]
