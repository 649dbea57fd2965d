"""An LMM points, a segmenter draws: points of Molmo as mask proposals, from a model that never saw a box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ivm_data.experts.common.phrase_score import clean
from ivm_data.experts.common.protocols import AnswerError, Replier, Reply, Segmentation, Segmenter, Verifier
from ivm_data.experts.common.small_images import propose_on_small
from ivm_data.experts.lmms import chat_messages, prompts
from ivm_data.experts.lmms.point_answers import read_points
from ivm_data.selection import ChooseConfig, choose, support
from ivm_model.masking import crop_box
from storage.common.validation import Checked, Count
from storage.records import Box, Candidate, Role
from storage.request import Request


@dataclass(frozen=True)
class LmmPointsConfig(Checked):
    """How points are asked for, and how their masks are chosen.

    Attributes:
        answer_tokens: length at which an answer is cut; what is whole of it counts.
        crop_context: margin around a mask's box in the LMM's crop, as a share of the box.
        choose: see `ChooseConfig`.
    """

    answer_tokens: Count = 512
    crop_context: float = prompts.CANDIDATE_CONTEXT
    choose: ChooseConfig = field(default_factory=ChooseConfig)


class PointingLmm(Replier, Verifier, Protocol):
    """An LMM that writes down points, and says of a crop whether it shows the phrase."""


@dataclass(frozen=True)
class _Pointed:
    """The mask of one point."""

    mask_HW: np.ndarray
    box: Box
    predicted_iou: float


class LmmPoints:
    """A `MaskProposer` made of an LMM that answers with points and a segmenter."""

    def __init__(self, answerer: PointingLmm, segmenter: Segmenter, config: LmmPointsConfig) -> None:
        self.answerer, self.segmenter, self.config = answerer, segmenter, config

    @property
    def name(self) -> str:
        """Both models' names."""
        return f"lmm-points:{self.answerer.name}+{self.segmenter.name}"

    def load(self) -> None:
        """Load both models."""
        self.answerer.load()
        self.segmenter.load()

    def propose(self, images: Sequence[np.ndarray], requests: Sequence[Request]) -> list[tuple[np.ndarray, float]]:
        """Masks at the points of each phrase, chosen as the resolve stage chooses boxes.

        Raises:
            AnswerError: an answer says nothing of points that can be read, which is not "there are none".
        """
        return propose_on_small(self._propose, images, requests)

    def _propose(self, images: Sequence[np.ndarray], requests: Sequence[Request]) -> list[tuple[np.ndarray, float]]:
        asked = [_asked(request) for request in requests]
        named = {(id(image), phrase): image for image, row in zip(images, asked, strict=True) for phrase, _ in row}
        phrases = [phrase for _, phrase in named]
        replies = self.answerer.reply(
            list(named.values()),
            [prompts.POINTS.format(phrase=phrase) for phrase in phrases],
            chat_messages.POINTS,
            self.config.answer_tokens,
        )
        points = [self._points(phrase, reply) for phrase, reply in zip(phrases, replies, strict=True)]
        drawn = self.segmenter.segment_points(list(named.values()), points)
        pointed = dict(zip(named, map(_pointed, drawn), strict=True))
        return [
            self._answer(image, {phrase: pointed[id(image), phrase] for phrase, _ in row}, row, request)
            for image, row, request in zip(images, asked, requests, strict=True)
        ]

    def _points(self, phrase: str, reply: Reply) -> np.ndarray:
        """(N, 2) float32 pixels (x, y) of the image that was shown; points in a margin around it are none."""
        if reply.frame is None:
            raise ValueError(f"{self.answerer.name} does not say what it saw of an image")
        (width, height), frame = reply.frame.size, reply.frame
        try:
            found = [frame.point(point.x * width, point.y * height) for point in read_points(reply.text)]
        except AnswerError as error:
            raise AnswerError(
                f"{self.name} was asked where {phrase!r} is and answered {reply.text[:80]!r}: {error}; "
                "use an LMM that points, such as Molmo"
            ) from error
        return np.array([point for point in found if point is not None], np.float32).reshape(-1, 2)

    def _answer(
        self,
        image_HWC: np.ndarray,
        pointed: dict[str, list[_Pointed]],
        asked: Sequence[tuple[str, Role]],
        request: Request,
    ) -> tuple[np.ndarray, float]:
        rows = [(phrase, role, one) for phrase, role in asked for one in pointed[phrase]]
        p_yes_N = self.answerer.p_yes(
            [crop_box(image_HWC, one.box, self.config.crop_context) for _, _, one in rows],
            [prompts.CANDIDATE.format(phrase=phrase) for phrase, _, _ in rows],
        )
        candidates = [
            Candidate(self.name, phrase, role, one.box, one.predicted_iou, float(p))
            for (phrase, role, one), p in zip(rows, p_yes_N, strict=True)
        ]
        choice = choose(candidates, request, self.config.choose)
        masks = [
            one.mask_HW
            for candidate, (_, _, one) in zip(choice.candidates, rows, strict=True)
            if candidate.chosen and candidate.role == "target"
        ]
        if not masks:
            return np.zeros(image_HWC.shape[:2], bool), 0.0
        return np.logical_or.reduce(masks), min(map(support, choice.chosen))


def _asked(request: Request) -> list[tuple[str, Role]]:
    """Phrases with words, and what they are for."""
    asked: list[tuple[str, Role]] = [(phrase, "target") for phrase in request.phrases]
    asked += [(phrase, "anchor") for phrase in request.described_by]
    return [(phrase, role) for phrase, role in asked if clean(phrase)]


def _pointed(drawn: Segmentation) -> list[_Pointed]:
    """Masks that hold anything, with their boxes."""
    found = []
    for mask_HW, iou in zip(drawn.mask_NHW, drawn.predicted_iou_N, strict=True):
        rows, columns = np.flatnonzero(mask_HW.any(1)), np.flatnonzero(mask_HW.any(0))
        if len(rows):
            box = Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
            found.append(_Pointed(mask_HW, box, float(np.clip(iou, 0, 1))))
    return found
