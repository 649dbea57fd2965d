"""Views -> tensors: several questions behind one image, each blind to the others, and what each patch shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from transformers import LlavaProcessor

from ivm_data.worlds.scene import ATTRIBUTES
from ivm_data.zoo.lmm_model import ANSWER, Size
from ivm_data.zoo.lmm_views import Ask, View
from ivm_data.zoo.training import normalise

IGNORED = -100
PATCH_HEADS: dict[str, int] = {**{name: len(words) + 1 for name, words in ATTRIBUTES.items()}, "thing": 3, "ground": 3}
"""Classes of each dense target: an attribute's words after "none"; how much of a patch's thing, and of its background,
is at full contrast: nothing, a part, all (only in views that VERIFY is asked of)."""
OUTLINE = 8
"""A patch's outline target has OUTLINE x OUTLINE cells: thing or background."""
EXTENT = 4
"""A patch's extent target: XYXY of its thing's visible pixels around the patch's centre, in units of half the image."""
_LEAST_SHARE = 0.12
"""Share of a patch that a thing must cover to name it."""


@dataclass(frozen=True)
class Pack:
    """One batch.

    Attributes:
        visible_B1TT: bool attention mask.
        at_N, target_N, weight_N: answer tokens: the flat index in (B, T) of the token before each, its id, its weight.
        patch_BPH: dense targets in the order of `PATCH_HEADS`, IGNORED where there is none.
        outline_BPS: float, 1 where a cell of the patch shows a thing.
        extent_BP4: float, NaN where the patch shows no thing.
    """

    pixels_BCHW: torch.Tensor
    ids_BT: torch.Tensor
    position_BT: torch.Tensor
    visible_B1TT: torch.Tensor
    at_N: torch.Tensor
    target_N: torch.Tensor
    weight_N: torch.Tensor
    patch_BPH: torch.Tensor
    outline_BPS: torch.Tensor
    extent_BP4: torch.Tensor


class Packer:
    """Turns views into packs of a fixed length and keeps yes and no in balance within each job."""

    def __init__(self, processor: LlavaProcessor, size: Size, length: int = 136) -> None:
        self._tokenizer = processor.tokenizer
        self._size = size
        self._length = length
        self._image_id = processor.image_token_id
        self._seen: Counter[tuple[str, str]] = Counter()
        self._encode = lru_cache(200_000)(self._encode_ask)

    def pack(self, views: Sequence[View], text_only: Sequence[Sequence[Ask]]) -> Pack:
        """A row for each view: its questions about the image, then questions that do not see it, as far as they fit."""
        side = self._size.image
        images = [cv2.resize(view.image_HWC, (side, side), interpolation=cv2.INTER_LINEAR) for view in views]
        rows = [self._row(view.asks, blind) for view, blind in zip(views, text_only, strict=True)]
        ids, position, segment = (torch.from_numpy(np.stack([row[k] for row in rows])) for k in range(3))
        dense = [patch_targets(view, self._size) for view in views]
        patch, outline, extent = (torch.from_numpy(np.stack(column)) for column in zip(*dense, strict=True))
        answers = [(b * self._length + at - 1, token, w) for b, row in enumerate(rows) for at, token, w in row[3]]
        at, target, weight = zip(*answers, strict=True)
        return Pack(
            pixels_BCHW=normalise(np.stack(images)),
            ids_BT=ids,
            position_BT=position,
            visible_B1TT=_visible(segment)[:, None],
            at_N=torch.tensor(at),
            target_N=torch.tensor(target),
            weight_N=torch.tensor(weight),
            patch_BPH=patch,
            outline_BPS=outline,
            extent_BP4=extent,
        )

    def _row(self, asks: Sequence[Ask], blind: Sequence[Ask]):
        """Token ids, positions, segments (0 prefix, k image question, -k text only, see `_visible`), answer tokens."""
        prefix = 1 + self._size.image_tokens
        ids, position, segment = np.zeros((3, self._length), np.int64)
        segment[:] = np.iinfo(np.int64).max
        ids[0], ids[1:prefix] = self._tokenizer.bos_token_id, self._image_id
        position[:prefix], segment[:prefix] = range(prefix), 0
        end, answers = prefix, []
        for k, (ask, sees) in enumerate([(ask, True) for ask in asks] + [(ask, False) for ask in blind], start=1):
            question, answer = self._encode(ask.text, ask.answer)
            stop = end + len(question) + len(answer) - 1
            if stop > self._length:
                break
            start = prefix if sees else 1
            ids[end:stop] = (question + answer)[:-1]
            position[end:stop] = range(start, start + stop - end)
            segment[end:stop] = k if sees else -k
            weight = self._weight(ask) / len(answer) ** 0.5
            answers += [(end + len(question) + i, token, weight) for i, token in enumerate(answer)]
            end = stop
        return ids, position, segment, answers

    def _encode_ask(self, text: str, answer: str) -> tuple[list[int], list[int]]:
        """The question as the chat template writes it, and the answer with its end."""
        encoded = [self._tokenizer.encode(part, add_special_tokens=False) for part in (text + ANSWER, answer)]
        return encoded[0], [*encoded[1], self._tokenizer.eos_token_id]

    def _weight(self, ask: Ask) -> float:
        """Rarer answers of a yes/no job count more, so that P(yes) is calibrated to even odds within each job."""
        if ask.answer not in ("yes", "no"):
            return 1.0
        self._seen[ask.job, ask.answer] += 1
        yes, no = self._seen[ask.job, "yes"], self._seen[ask.job, "no"]
        own = yes if ask.answer == "yes" else no
        return float(np.clip((yes + no + 20) / (2 * own + 20), 0.4, 4.0))


def _visible(segment_BT: torch.Tensor) -> torch.Tensor:
    """(B, T, T) bool: causal, within a segment; image questions also see the prefix, the others its BOS alone."""
    query, key = segment_BT[:, :, None], segment_BT[:, None, :]
    seen = (query == key) | ((key == 0) & (query > 0))
    seen[:, :, 0] = True
    return seen & torch.ones(seen.shape[1:], dtype=torch.bool).tril()


def patch_targets(view: View, size: Size) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Dense targets of a view in raster order, as in `Pack`: words and contrast, outline, extent."""
    resized_HW = cv2.resize(view.instance_HW, (size.image, size.image), interpolation=cv2.INTER_NEAREST)
    labels = _cells(resized_HW, size)
    covered_KP = np.stack([(labels == k).sum(1) for k in range(len(view.scene.things) + 1)])
    main_P = covered_KP[1:].argmax(0) + 1
    named_P = covered_KP[1:].max(0) >= _LEAST_SHARE * size.patch**2
    words = [
        np.array([0, *(options.index(getattr(thing, name)) + 1 for thing in view.scene.things)])
        for name, options in ATTRIBUTES.items()
    ]
    contrast = _contrast(view, labels, covered_KP, np.where(named_P, main_P, 0), size)
    patch_PH = np.stack([*(np.where(named_P, of_thing[main_P], 0) for of_thing in words), *contrast], 1)
    step = size.patch // OUTLINE
    outline_PS = labels.reshape(-1, size.patch, size.patch)[:, step // 2 :: step, step // 2 :: step] > 0
    return patch_PH, outline_PS.reshape(len(labels), -1).astype(np.float32), _extent(resized_HW, main_P, named_P, size)


def _contrast(
    view: View, labels: np.ndarray, covered_KP: np.ndarray, thing_P: np.ndarray, size: Size
) -> tuple[np.ndarray, np.ndarray]:
    """How much of each patch's thing and background is kept; IGNORED where there is none, or no mask."""
    if view.kept_HW is None:
        ignored_P = np.full(len(labels), IGNORED)
        return ignored_P, ignored_P
    kept = _cells(view.kept_HW.astype(np.uint8), size) > 0
    of_thing_P = (kept & (labels == thing_P[:, None])).sum(1)
    whole_P = covered_KP[thing_P, np.arange(len(labels))]
    wide_P = covered_KP[0] >= _LEAST_SHARE * size.patch**2
    return _amount(of_thing_P, whole_P, thing_P > 0), _amount((kept & (labels == 0)).sum(1), covered_KP[0], wide_P)


def _extent(resized_HW: np.ndarray, main_P: np.ndarray, named_P: np.ndarray, size: Size) -> np.ndarray:
    grid, half = size.image // size.patch, size.image / 2
    y_P, x_P = (np.mgrid[:grid, :grid].reshape(2, -1) + 0.5) * size.patch
    extent_P4 = np.full((grid * grid, EXTENT), np.nan, np.float32)
    for k in np.unique(main_P[named_P]):
        ys, xs = np.flatnonzero((resized_HW == k).any(1)), np.flatnonzero((resized_HW == k).any(0))
        at = named_P & (main_P == k)
        extent_P4[at] = np.stack([xs[0] - x_P, ys[0] - y_P, xs[-1] + 1 - x_P, ys[-1] + 1 - y_P], 1)[at] / half
    return extent_P4


def _amount(kept_P: np.ndarray, whole_P: np.ndarray, asked_P: np.ndarray) -> np.ndarray:
    """0 where under 15 % is kept, 2 where over 85 %, 1 between."""
    share_P = kept_P / np.maximum(whole_P, 1)
    return np.where(asked_P, (share_P > 0.15).astype(np.int64) + (share_P > 0.85), IGNORED)


def _cells(labels_HW: np.ndarray, size: Size) -> np.ndarray:
    """(patches, pixels of a patch) of a label map, resized to the input."""
    grid = size.image // size.patch
    resized = cv2.resize(labels_HW, (size.image, size.image), interpolation=cv2.INTER_NEAREST)
    return resized.reshape(grid, size.patch, grid, size.patch).swapaxes(1, 2).reshape(grid * grid, -1)
