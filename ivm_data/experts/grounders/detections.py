"""What every detector that reads captions has in common: its thresholds, its batches, and boxes from its queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby
from typing import TYPE_CHECKING, Annotated

import numpy as np

from ivm_data.experts.common.batches import Batches
from ivm_data.experts.common.finite import check_finite
from ivm_data.experts.common.padding import padded_image
from ivm_data.experts.common.phrase_score import captions
from ivm_data.experts.common.prefetch import THREADS, ahead
from ivm_data.experts.common.protocols import Detection
from storage.common.validation import Checked, Count, Share, within
from storage.records import Box

if TYPE_CHECKING:
    import torch

MAX_ASPECT = 4
"""A narrower image is padded: the model needs at least as many feature cells as it has queries."""

CPU_PIXELS = 2**20
"""Of all images that pass through a model together on a CPU: beyond that, its activations are far from any cache."""


@dataclass(frozen=True, kw_only=True)
class DetectionConfig(Checked):
    """What counts as found, and where the model runs.

    Attributes:
        box_threshold: least phrase score of a detection, in [0, 1].
        nms_iou: boxes of one phrase that overlap more than this are one, in (0, 1].
        device: torch device.
        images_per_batch: captions that pass through the model together; fewer on a CPU, where images are large.
    """

    box_threshold: Share = 0.3
    nms_iou: Annotated[float, within("(0, 1]")] = 0.6
    device: str = "cpu"
    images_per_batch: Count = 16


@dataclass(frozen=True)
class CaptionModel:
    """A loaded detector.

    Attributes:
        preprocess: an image -> pixels (3, h, w) on the CPU; called from several threads.
        forward: captions and their pixels, all of one shape -> for each, normalised centre-size boxes (Q, 4) and
            phrase scores (Q, P), float32 on the CPU.
        batches: how many captions pass through `forward` together.
        max_tokens: the longest caption, with [CLS] and [SEP].
        count_tokens: tokens of a text without [CLS] and [SEP].
    """

    preprocess: Callable[[np.ndarray], torch.Tensor]
    forward: Callable[[Sequence[str], Sequence[torch.Tensor]], Iterable[tuple[torch.Tensor, torch.Tensor]]]
    batches: Batches
    max_tokens: int
    count_tokens: Callable[[str], int]


@dataclass(frozen=True)
class _Job:
    """One caption about one image."""

    image: int
    phrases: list[int]
    caption: str


def detect(
    model: CaptionModel, images: Sequence[np.ndarray], phrases: Sequence[Sequence[str]], config: DetectionConfig
) -> list[list[Detection]]:
    """Detections for each image, best first, after non-maximum suppression within each phrase."""
    found: list[list[Detection]] = [[] for _ in images]
    for jobs in _jobs_by_size(model, images, phrases):
        original_hw = images[jobs[0].image].shape[:2]
        padded_hw = padded_image(images[jobs[0].image], MAX_ASPECT).shape[:2]
        with closing(_with_pixels(model, images, jobs)) as pairs:
            answers = model.batches.run(partial(_answers, model, config.device), pairs)
            for job, (boxes_Q4, score_QP) in zip(jobs, answers, strict=True):
                asked = [phrases[job.image][i] for i in job.phrases]
                found[job.image] += select(asked, _corners(boxes_Q4, padded_hw, original_hw), score_QP, config)
    return [sorted(row, key=lambda detection: -detection.score) for row in found]


def _answers(
    model: CaptionModel, device: str, batch: Sequence[tuple[str, torch.Tensor]]
) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
    """What the model says to a batch, which on a CPU passes through it in parts of `CPU_PIXELS`."""
    import torch

    pixels = batch[0][1].shape[-2:].numel()
    size = len(batch) if torch.device(device).type != "cpu" else max(1, CPU_PIXELS // pixels)
    parts = (batch[start : start + size] for start in range(0, len(batch), size))
    return chain.from_iterable(model.forward(*zip(*part, strict=True)) for part in parts)


def _jobs_by_size(
    model: CaptionModel, images: Sequence[np.ndarray], phrases: Sequence[Sequence[str]]
) -> Iterable[list[_Job]]:
    """Captions grouped by image size: in a padded batch the border of one image would leak into another."""
    by_size: defaultdict[tuple[int, ...], list[_Job]] = defaultdict(list)
    for i, asked in enumerate(phrases):
        for chosen, text in captions(asked, model.max_tokens, model.count_tokens):
            by_size[images[i].shape].append(_Job(i, chosen, text))
    return by_size.values()


def _with_pixels(
    model: CaptionModel, images: Sequence[np.ndarray], jobs: Sequence[_Job]
) -> Generator[tuple[str, torch.Tensor], None, None]:
    """Caption and pixels of each job; one tensor for all neighbours that ask about one image, made ahead in threads."""
    groups = [list(group) for _, group in groupby(jobs, key=lambda job: id(images[job.image]))]
    padded = (padded_image(images[group[0].image], MAX_ASPECT) for group in groups)
    with closing(ahead(model.preprocess, padded, depth=2 * THREADS, threads=THREADS)) as prepared:
        for group, pixels_CHW in zip(groups, prepared, strict=True):
            for job in group:
                yield job.caption, pixels_CHW


def select(
    phrases: Sequence[str], corners_Q4: torch.Tensor, score_QP: torch.Tensor, config: DetectionConfig
) -> Iterator[Detection]:
    """Non-maximum suppression within each phrase, of the boxes that reach the threshold.

    Args:
        corners_Q4: XYXY pixels of Q boxes; a box without area is none.
        score_QP: of each box for each phrase, in [0, 1].

    Raises:
        AnswerError: a score is no number.
    """
    from torchvision.ops import nms

    check_finite(score_QP, "the scores of boxes")
    is_box_Q = (corners_Q4[:, 2:] - corners_Q4[:, :2] > 0).all(dim=1)
    for phrase, score_Q in zip(phrases, score_QP.unbind(1), strict=True):
        kept = (is_box_Q & (score_Q >= config.box_threshold)).nonzero()[:, 0]
        kept = kept[nms(corners_Q4[kept], score_Q[kept], config.nms_iou)]
        for corners, score in zip(corners_Q4[kept].tolist(), score_Q[kept].tolist(), strict=True):
            yield Detection(phrase, Box(*corners), score)


def _corners(boxes_Q4: torch.Tensor, padded_hw: tuple[int, int], original_hw: tuple[int, int]) -> torch.Tensor:
    """Normalised centre-size boxes of the padded image -> XYXY pixels, clipped to the original image."""
    import torch
    from torchvision.ops import box_convert

    scale = torch.tensor([padded_hw[1], padded_hw[0], padded_hw[1], padded_hw[0]])
    limit = torch.tensor([original_hw[1], original_hw[0], original_hw[1], original_hw[0]])
    return torch.minimum(box_convert(boxes_Q4 * scale, "cxcywh", "xyxy").clamp(min=0), limit)
