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
CONTRASTS = ("thing", "ground")
AMOUNTS = 3
"""How much of a patch's thing, and of its background, is at full contrast: nothing, a part, all."""
OUTLINE = 8
"""A patch's outline target has OUTLINE x OUTLINE cells: thing or background."""
EXTENT = 4
"""A patch's extent target: XYXY of its thing's visible pixels around the patch's centre, in units of half the image."""
_LEAST_SHARE = 0.12
"""Share of a patch that a thing must cover to name it."""


@dataclass(frozen=True)
class Pack:
    """One batch: B rows of tokens with an image each, then some without.

    Attributes:
        visible_R1TT: bool attention mask.
        at_N, target_N, weight_N: answer tokens: the flat index in (R, T) of the token before each, its id, its weight.
        jobs: what each answer token belongs to ("verify", "qa", ...); "" for the end of an answer.
        patch_BPH: for each of ATTRIBUTES 0 for no thing, else 1 + the word; for each of CONTRASTS the amount. IGNORED
            where there is no target: contrast is asked of views for VERIFY only.
        outline_BPS: float, 1 where a cell of the patch shows a thing.
        extent_BP4: float, NaN where the patch shows no thing.
    """

    pixels_BCHW: torch.Tensor
    ids_RT: torch.Tensor
    position_RT: torch.Tensor
    visible_R1TT: torch.Tensor
    at_N: torch.Tensor
    target_N: torch.Tensor
    weight_N: torch.Tensor
    jobs: tuple[str, ...]
    patch_BPH: torch.Tensor
    outline_BPS: torch.Tensor
    extent_BP4: torch.Tensor


class Packer:
    """Turns views into packs of a fixed length and keeps yes and no in balance within each job."""

    def __init__(self, processor: LlavaProcessor, size: Size, length: int = 128) -> None:
        self._tokenizer = processor.tokenizer
        self._size = size
        self._length = length
        self._image_id = processor.image_token_id
        self._seen: Counter[tuple[str, str]] = Counter()
        self._encode = lru_cache(200_000)(self._encode_ask)

    def pack(self, views: Sequence[View], texts: Sequence[Sequence[Ask]]) -> Pack:
        """A row for each view with its questions, then a row for each of `texts` with questions that see no image."""
        side = self._size.image
        images = [cv2.resize(view.image_HWC, (side, side), interpolation=cv2.INTER_LINEAR) for view in views]
        rows = [self._row(view.asks, 1 + self._size.image_tokens) for view in views]
        rows += [self._row(asks, 1) for asks in texts]
        ids, position, segment = (torch.from_numpy(np.stack([row[k] for row in rows])) for k in range(3))
        answers = [(b * self._length + at - 1, *rest) for b, row in enumerate(rows) for at, *rest in row[3]]
        at, target, weight, jobs = zip(*answers, strict=True)
        dense = [patch_targets(view, self._size) for view in views]
        patch, outline, extent = (torch.from_numpy(np.stack(column)) for column in zip(*dense, strict=True))
        return Pack(
            pixels_BCHW=normalise(np.stack(images)),
            ids_RT=ids,
            position_RT=position,
            visible_R1TT=_visible(segment)[:, None],
            at_N=torch.tensor(at),
            target_N=torch.tensor(target),
            weight_N=torch.tensor(weight),
            jobs=jobs,
            patch_BPH=patch,
            outline_BPS=outline,
            extent_BP4=extent,
        )

    def _row(self, asks: Sequence[Ask], prefix: int):
        """Token ids, positions, segments (0 prefix, k the k-th question, -1 nothing), and the answer tokens.

        The prefix is BOS and, where it is longer, the image; questions that do not fit are left out.
        """
        ids, position, segment = np.zeros((3, self._length), np.int64)
        segment[prefix:] = -1
        ids[0], ids[1:prefix] = self._tokenizer.bos_token_id, self._image_id
        position[:prefix] = range(prefix)
        end, answers = prefix, []
        for k, ask in enumerate(asks, start=1):
            question, answer = self._encode(ask.text, ask.answer)
            stop = end + len(question) + len(answer) - 1
            if stop > self._length:
                break
            ids[end:stop] = (question + answer)[:-1]
            position[end:stop] = range(prefix, prefix + stop - end)
            segment[end:stop] = k
            weight = self._weight(ask) / len(answer) ** 0.5
            jobs = [ask.job.partition("/")[0]] * (len(answer) - 1) + [""]
            answers += [(end + len(question) + i, answer[i], weight, jobs[i]) for i in range(len(answer))]
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


def _visible(segment_RT: torch.Tensor) -> torch.Tensor:
    """(R, T, T) bool: causal; a question sees the prefix and itself, never another question."""
    query, key = segment_RT[:, :, None], segment_RT[:, None, :]
    return ((query == key) | (key == 0)) & torch.ones((segment_RT.shape[1],) * 2, dtype=torch.bool).tril()


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
