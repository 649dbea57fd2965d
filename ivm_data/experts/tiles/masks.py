"""A mask proposer on the tiles of large pictures, beside the whole ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ivm_data.experts.common.image_groups import rows_by_image
from ivm_data.experts.common.input_size import InputSize
from ivm_data.experts.common.protocols import MaskProposer, check_lengths
from ivm_data.experts.common.usage import Usage, count_usage
from ivm_data.experts.tiles.boxes import AT_ONCE
from ivm_data.experts.tiles.config import TilesConfig
from storage.pixels import rle
from storage.pixels.windows import Window
from storage.records import Rle
from storage.request import Request

AGREE = 0.5
"""IoU, within what two tiles have in common, from which their masks are of one thing."""
SURE = 0.5
"""Least score of a tile's mask where all that fits is asked for."""


@dataclass(frozen=True)
class Piece:
    """What a part of a picture gave for a phrase: a mask of its own size that shows something, and its score."""

    window: Window
    mask: Rle
    score: float


def propose_tiled(
    proposer: MaskProposer,
    images: Sequence[np.ndarray],
    requests: Sequence[Request],
    config: TilesConfig,
    model: InputSize,
) -> list[tuple[np.ndarray, float]]:
    """As `MaskProposer.propose`; a picture that is not parted gets the answer that it gets without tiles.

    Each phrase of a request is asked about by itself in every tile. Where one thing is meant the tile that is surest
    has the word, with those that go on with its mask beyond a seam; where several are, every tile that is sure. What
    compares things across the picture ("left of the cup", "the largest") is asked of the whole picture alone.

    Args:
        model: what the proposer sees.
    """
    check_lengths(images, requests, "request")
    found = list(proposer.propose(images, requests))
    for rows in rows_by_image(images, [i for i, request in enumerate(requests) if _is_local(request)]):
        image_HWC = images[rows[0]]
        size = image_HWC.shape[:2]
        parts = config.parts(size, model)
        if parts.windows:
            phrases = list(dict.fromkeys(phrase for i in rows for phrase in requests[i].phrases))
            pieces = _on_tiles(proposer, image_HWC, parts.windows, phrases)
            for i in rows:
                found[i] = _answer(requests[i], pieces, found[i], parts.longest)
    return found


def _is_local(request: Request) -> bool:
    """Whether each thing is known by its own looks alone."""
    return bool(request.phrases) and not request.described_by and not any(thing.order for thing in request.things)


def _on_tiles(
    proposer: MaskProposer, image_HWC: np.ndarray, windows: Sequence[Window], phrases: Sequence[str]
) -> dict[str, list[Piece]]:
    """What the tiles show of each phrase."""
    count_usage(Usage(tiles=len(windows)))
    found: dict[str, list[Piece]] = {phrase: [] for phrase in phrases}
    requests = {phrase: Request.of((phrase,), quantity="all") for phrase in phrases}
    for start in range(0, len(windows), AT_ONCE):
        some = windows[start : start + AT_ONCE]
        cut = [window.cut(image_HWC) for window in some]
        asked = [(k, phrase) for k in range(len(some)) for phrase in phrases]
        answers = proposer.propose([cut[k] for k, _ in asked], [requests[phrase] for _, phrase in asked])
        for (k, phrase), (mask_HW, score) in zip(asked, answers, strict=True):
            if mask_HW.any():
                found[phrase].append(Piece(some[k], rle.encode(mask_HW), score))
    return found


def _answer(
    request: Request, pieces: dict[str, list[Piece]], whole: tuple[np.ndarray, float], longest: float
) -> tuple[np.ndarray, float]:
    """The union of what is chosen for each phrase, with the least score of a phrase.

    The whole picture's mask stands where no tile shows anything, or where it shows larger things more surely.
    """
    chosen = {phrase: _chosen(pieces[phrase], _wants_all(request)) for phrase in request.phrases}
    if not all(chosen.values()):
        return whole
    score = min(max(piece.score for piece in some) for some in chosen.values())
    if whole[1] > score and _longest(whole[0]) > longest:
        return whole
    mask_HW = np.zeros(whole[0].shape, bool)
    for piece in (piece for some in chosen.values() for piece in some):
        mask_HW[piece.window.slices] |= rle.decode(piece.mask)
    return mask_HW, score


def _wants_all(request: Request) -> bool:
    return any(thing.count != 1 for thing in request.things)


def _chosen(pieces: Sequence[Piece], every: bool) -> list[Piece]:
    if every:
        return [piece for piece in pieces if piece.score >= SURE]
    best = max(pieces, key=lambda piece: piece.score, default=None)
    return [] if best is None else list(_continued(best, pieces))


def _continued(best: Piece, pieces: Sequence[Piece]) -> Iterator[Piece]:
    """A piece with those that say the same of what they have in common with it, and with these."""
    open_, left = [best], [piece for piece in pieces if piece is not best]
    while open_:
        one = open_.pop()
        yield one
        same = [other for other in left if _agree(one, other)]
        left = [other for other in left if other not in same]
        open_ += same


def _agree(one: Piece, other: Piece) -> bool:
    both = one.window.shared(other.window)
    if both is None:
        return False
    first_HW, second_HW = (_of(piece, both) for piece in (one, other))
    union = np.count_nonzero(first_HW | second_HW)
    return bool(union > 0 and np.count_nonzero(first_HW & second_HW) >= AGREE * union)


def _of(piece: Piece, part: Window) -> np.ndarray:
    """The piece's mask in a part of its window."""
    mask_HW: np.ndarray = rle.decode(piece.mask)[part.inside(piece.window).slices]
    return mask_HW


def _longest(mask_HW: np.ndarray) -> float:
    """The longer side of the box around a mask, in pixels."""
    rows, columns = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
    return float(max(np.ptp(rows), np.ptp(columns)) + 1) if rows.size else 0.0
