"""The protocols of the experts: a name for the lineage, `load()`, and one batched verb.

Images are HWC uint8 RGB arrays. `load()` is idempotent and is called once per process, never at import.
An expert raises `WeightsError` from `load()` when its checkpoint cannot be used, from its verb `TransientError` when
trying again may help, and `AnswerError` for one question that it cannot answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ivm_data.experts.common.frame import Frame
from storage.records import Box
from storage.request import Request


class AnswerError(ValueError):
    """One question that this model cannot answer: too long for it, or answered out of form.

    No error of the engine, so that the pipeline rejects that one sample and goes on.
    """


@dataclass(frozen=True, slots=True)
class Detection:
    """A box for a phrase; `score` comes from the phrase's own token span, in [0, 1]."""

    phrase: str
    box: Box
    score: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What an LMM answered.

    Attributes:
        text: without the white space around it.
        is_cut: the answer reached the length at which it is cut, and would have gone on.
        frame: where the image lay in the picture that the model saw; None for a question in words alone.
    """

    text: str
    is_cut: bool = False
    frame: Frame | None = None


@dataclass(frozen=True)
class Segmentation:
    """Masks of one image, one a prompt: `mask_NHW` bool, `predicted_iou_N` and `stability_N` float32 in [0, 1]."""

    mask_NHW: np.ndarray
    predicted_iou_N: np.ndarray
    stability_N: np.ndarray


def check_lengths(images: Sequence[np.ndarray], rows: Sequence[object], what: str) -> None:
    """Refuse a call whose images do not pair up with what is asked of them.

    Args:
        what: what belongs to each image: "list of phrases", "request", ...
    """
    if len(images) != len(rows):
        raise ValueError(f"need one {what} for each image, got {len(rows)} for {len(images)} images")


class Expert(Protocol):
    """What every expert has."""

    @property
    def name(self) -> str:
        """`model@revision`; known before `load()`."""
        ...

    def load(self) -> None:
        """Read the weights; does nothing the second time."""
        ...


class Rewriter(Expert, Protocol):
    """Instruction -> request."""

    def rewrite(self, instructions: Sequence[str], images: Sequence[np.ndarray] | None = None) -> list[Request]:
        """One `Request` for each instruction; one without things, and with a note why, where its answer is unreadable.

        Args:
            images: one for each instruction, for the rewriter to look at; None asks in words alone.
        """
        ...


class Grounder(Expert, Protocol):
    """Image and phrases -> boxes."""

    def ground(self, images: Sequence[np.ndarray], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Detections for each image, best first, after non-maximum suppression within each phrase."""
        ...


class Segmenter(Expert, Protocol):
    """Image and prompts -> masks. One image embedding serves all prompts of an image."""

    def segment(self, images: Sequence[np.ndarray], boxes: Sequence[Sequence[Box]]) -> list[Segmentation]:
        """A mask for each box of each image; no boxes give an empty (0, H, W) result."""
        ...

    def segment_points(self, images: Sequence[np.ndarray], points: Sequence[np.ndarray]) -> list[Segmentation]:
        """A mask for each foreground point; `points` holds an (N, 2) float array of (x, y) pixels for each image."""
        ...


class Verifier(Expert, Protocol):
    """An LMM that answers a closed question about an image."""

    def p_yes(self, images: Sequence[np.ndarray], questions: Sequence[str]) -> np.ndarray:
        """P(yes) = e^yes / (e^yes + e^no) of the first answer token, (N,) float32."""
        ...


class Answerer(Expert, Protocol):
    """An LMM that answers an open question about an image in words."""

    def answer(
        self,
        images: Sequence[np.ndarray] | None,
        questions: Sequence[str],
        task: str | None = None,
        tokens: int | None = None,
    ) -> list[str]:
        """One answer for each question, greedily decoded.

        Args:
            images: one for each question; None for questions in words alone.
            task: what an instructed model is asked to do, and the form of its answers; None asks for a few
                words.
            tokens: length at which an answer is cut; None means the model's own `answer_tokens`.
        """
        ...


class Replier(Expert, Protocol):
    """An LMM that also says whether an answer is whole, and what it saw of the image."""

    def reply(
        self,
        images: Sequence[np.ndarray] | None,
        questions: Sequence[str],
        task: str | None = None,
        tokens: int | None = None,
    ) -> list[Reply]:
        """As `Answerer.answer`, which gives the texts of these replies."""
        ...


class Chooser(Expert, Protocol):
    """An LMM that says how likely each of several answers is."""

    def choose(
        self, images: Sequence[np.ndarray], questions: Sequence[str], options: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        """For each question the log-likelihood of each of its options, (options,) float32; the greatest is chosen.

        Raises:
            ConfigError: the model gives no log-probabilities.
        """
        ...


class MaskProposer(Expert, Protocol):
    """Image and request -> one mask in one step: another vote in the consensus."""

    def propose(self, images: Sequence[np.ndarray], rewrites: Sequence[Request]) -> list[tuple[np.ndarray, float]]:
        """A (mask HW bool, score in [0, 1]) for each image; an all-zero mask says "not found"."""
        ...


class Tracker(Expert, Protocol):
    """A mask of one frame -> masks of the frames that follow it."""

    def carry(self, images: Sequence[np.ndarray], mask_HW: np.ndarray) -> list[np.ndarray]:
        """The mask of the first image, carried to every image.

        A thing that is hidden or has left has an empty mask in that image, and may come back. Backwards in time is the
        same with the images turned round.

        Args:
            images: consecutive frames of one size, at least one.
            mask_HW: bool, of the first one.

        Returns:
            HW bool for each image; that of the first is `mask_HW`.
        """
        ...
