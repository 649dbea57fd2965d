"""What tiles found of one picture -> what is there: pieces of a thing joined where two tiles saw the same of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ivm_data.experts.common.protocols import Detection
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
    hits: list[Detection] = []
    for phrase in dict.fromkeys([*(one.hit.phrase for one in found), *(hit.phrase for hit in whole)]):
        some = [one for one in found if one.hit.phrase == phrase]
        known = [one.hit for one in some if not one.tile.cuts(one.hit.box, size)]
        known += [hit for hit in whole if hit.phrase == phrase and _length(hit.box) > longest]
        pieces = [_union(group) for group in _joined([one for one in some if one.tile.cuts(one.hit.box, size)])]
        hits += _with_pieces(known, [piece for piece in pieces if _length(piece.box) > longest])
    return _distinct(hits, nms_iou)


def _joined(pieces: Sequence[Found]) -> Iterator[list[Found]]:
    """Pieces by the thing that they are of: two tiles saw the same of what both show."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not pieces:
        return
    rows: defaultdict[Window, list[int]] = defaultdict(list)
    for i, one in enumerate(pieces):
        rows[one.tile].append(i)
    corners_N4 = _corners([one.hit for one in pieces])
    links = [np.zeros((0, 2), int)]
    for tile, neighbour in combinations(rows, 2):
        if both := tile.shared(neighbour):
            first, second = np.array(rows[tile]), np.array(rows[neighbour])
            a, b = np.nonzero(_agree(corners_N4[first], corners_N4[second], both))
            links.append(np.stack([first[a], second[b]], axis=1))
    linked_L2 = np.concatenate(links)
    graph = coo_array((np.ones(len(linked_L2)), linked_L2.T), shape=(len(pieces),) * 2)
    count, thing_N = connected_components(graph, directed=False)
    groups: list[list[Found]] = [[] for _ in range(count)]
    for one, thing in zip(pieces, thing_N, strict=True):
        groups[thing].append(one)
    yield from groups


def _agree(first_N4: np.ndarray, second_M4: np.ndarray, both: Window) -> np.ndarray:
    """Whether boxes of two tiles are the same within what both show, bool (N, M)."""
    import torch
    from torchvision.ops import box_iou

    edges = np.array([both.x0, both.y0, both.x1, both.y1])
    clipped = (
        torch.from_numpy(np.clip(corners_N4, np.tile(edges[:2], 2), np.tile(edges[2:], 2)))
        for corners_N4 in (first_N4, second_M4)
    )
    agree_NM: np.ndarray = (box_iou(*clipped) >= AGREE).numpy()
    return agree_NM


def _union(group: Sequence[Found]) -> Detection:
    corners_N4 = _corners([one.hit for one in group])
    box = Box(*corners_N4[:, :2].min(axis=0).tolist(), *corners_N4[:, 2:].max(axis=0).tolist())
    return Detection(group[0].hit.phrase, box, max(one.hit.score for one in group))


def _with_pieces(known: Sequence[Detection], pieces: Sequence[Detection]) -> list[Detection]:
    """Boxes of one phrase, then those pieces, the largest first, that none of these shows."""
    hits = list(known)
    corners_N4 = np.concatenate([_corners(known), np.zeros((len(pieces), 4))])
    for piece in sorted(pieces, key=lambda hit: -hit.box.area):
        (inner_4,) = _corners([piece])
        low_N2 = np.maximum(corners_N4[: len(hits), :2], inner_4[:2])
        high_N2 = np.minimum(corners_N4[: len(hits), 2:], inner_4[2:])
        if (np.clip(high_N2 - low_N2, 0, None).prod(axis=1) < INSIDE * piece.box.area).all():
            corners_N4[len(hits)] = inner_4
            hits.append(piece)
    return hits


def _corners(hits: Sequence[Detection]) -> np.ndarray:
    return np.array([(hit.box.x0, hit.box.y0, hit.box.x1, hit.box.y1) for hit in hits], float).reshape(-1, 4)


def _length(box: Box) -> float:
    return max(box.x1 - box.x0, box.y1 - box.y0)


def _distinct(hits: Sequence[Detection], nms_iou: float) -> list[Detection]:
    """Non-maximum suppression within each phrase; best first."""
    if not hits:
        return []
    import torch
    from torchvision.ops import batched_nms

    phrases = list(dict.fromkeys(hit.phrase for hit in hits))
    corners_N4 = torch.from_numpy(_corners(hits))
    score_N = torch.tensor([hit.score for hit in hits], dtype=torch.float64)
    phrase_N = torch.tensor([phrases.index(hit.phrase) for hit in hits])
    return [hits[int(i)] for i in batched_nms(corners_N4, score_N, phrase_N, nms_iou)]
