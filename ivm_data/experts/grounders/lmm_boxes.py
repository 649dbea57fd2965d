"""An LMM that answers with boxes, as a grounder: in process (`hf-lmm`) or behind an endpoint (`openai`)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np

from ivm_data.experts.common.input_size import InputSize
from ivm_data.experts.common.phrase_score import clean
from ivm_data.experts.common.protocols import AnswerError, Detection, Replier, Reply, Verifier, check_lengths
from ivm_data.experts.common.seen_images import SeenImages
from ivm_data.experts.grounders.box_views import LEAST_MAX_PIXELS, ShownImage, show
from ivm_data.experts.grounders.detections import DetectionConfig, select
from ivm_data.experts.lmms import chat_messages, prompts
from ivm_data.experts.lmms.box_answers import BoxAnswer, BoxFormat
from ivm_data.experts.lmms.whole_image import MAX_PIXELS
from ivm_model.masking import crop_box
from storage.common.validation import Checked, Count, Share, at_least, within
from storage.errors import IvmWarning
from storage.records import Box

_CROPS_PER_CALL = 64


@dataclass(frozen=True)
class LmmBoxesConfig(Checked):
    """In which form the LMM answers, and what counts as found.

    Attributes:
        format: see `box_answers`.
        box_threshold: least P(yes) of a box, in [0, 1].
        nms_iou: boxes of one phrase that overlap more than this are one, in (0, 1].
        max_pixels: of an image as it is shown. For "qwen2.5" at a server no more than its processor's own
            `max_pixels`: a second resizing there, unseen from here, would move the boxes.
        answer_tokens: length at which a list is cut; what is whole of it counts. A box takes about 40 tokens.
    """

    format: BoxFormat
    box_threshold: Share = 0.3
    nms_iou: Annotated[float, within("(0, 1]")] = 0.6
    max_pixels: Annotated[int, at_least(LEAST_MAX_PIXELS)] = MAX_PIXELS
    answer_tokens: Count = 1024


class BoxingLmm(Replier, Verifier, Protocol):
    """An LMM that writes down boxes, and says of a crop whether it shows the phrase."""


class LmmBoxes:
    """Grounder: image and noun phrases -> boxes, each scored by the LMM's own P(yes) on a crop around it.

    An LMM gives no score with a box. The question is the one that the resolve stage asks the verifier, so where one
    model is both, the two scores are the same number, and a box is judged once and not twice.
    """

    def __init__(self, answerer: BoxingLmm, config: LmmBoxesConfig) -> None:
        self.answerer, self.config = answerer, config
        self._kept = DetectionConfig(box_threshold=config.box_threshold, nms_iou=config.nms_iou)
        self._answers: SeenImages[dict[str, Reply]] = SeenImages()
        """By phrase. A question that cannot be read fails its batch, which is asked again in halves."""

    @property
    def name(self) -> str:
        """The LMM's name, in this role."""
        return f"lmm-boxes:{self.answerer.name}"

    @property
    def input_size(self) -> InputSize:
        """A square of `max_pixels`, which no picture passes the LMM with more of."""
        side = math.isqrt(self.config.max_pixels)
        return InputSize(side, side)

    def load(self) -> None:
        """Load the LMM."""
        self.answerer.load()

    def ground(self, images: Sequence[np.ndarray], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Detections for each image, best first, after non-maximum suppression within each phrase.

        Warns with a count where answers could be read in part.

        Raises:
            AnswerError: an answer says nothing of boxes that can be read, which is not "there are none".
        """
        check_lengths(images, phrases, "list of phrases")
        spoken = [[phrase for phrase in row if clean(phrase)] for row in phrases]
        asked = [(image_HWC, phrase) for image_HWC, row in zip(images, spoken, strict=True) for phrase in row]
        boxes = self._boxes(asked)
        scored = iter(zip(boxes, self._scores(asked, boxes), strict=True))
        found = [[hit for phrase in row for hit in self._select(phrase, *next(scored))] for row in spoken]
        return [sorted(row, key=lambda detection: -detection.score) for row in found]

    def _boxes(self, asked: Sequence[tuple[np.ndarray, str]]) -> list[list[Box]]:
        """What the LMM names for each image and phrase, in pixels of the original."""
        config = self.config
        distinct = {id(image_HWC): image_HWC for image_HWC, _ in asked}
        views = {key: show(image_HWC, config.format, config.max_pixels) for key, image_HWC in distinct.items()}
        shown = [views[id(image_HWC)] for image_HWC, _ in asked]
        replies = self._replies(asked, shown)
        read = [self._read(view, phrase, said) for view, (_, phrase), said in zip(shown, asked, replies, strict=True)]
        if partial := [answer.unread for answer in read if answer.unread]:
            warnings.warn(
                f"{self.name}: {len(partial)} of {len(read)} answers were read in part, {sum(partial)} entries are no "
                "box or are cut; raise 'answer_tokens', or set 'format' to what the model writes",
                IvmWarning,
                stacklevel=2,
            )
        return [answer.boxes for answer in read]

    def _replies(self, asked: Sequence[tuple[np.ndarray, str]], shown: Sequence[ShownImage]) -> list[Reply]:
        """The reply for each image and phrase; the LMM is asked where it was not about this very image yet."""
        known = [(self._answers.get(image_HWC) or {}).get(phrase) for image_HWC, phrase in asked]
        fresh = [i for i, reply in enumerate(known) if reply is None]
        replies = self.answerer.reply(
            [shown[i].image_HWC for i in fresh],
            [prompts.BOXES[self.config.format].format(phrase=asked[i][1]) for i in fresh],
            chat_messages.BOXES[self.config.format],
            self.config.answer_tokens,
        )
        for i, reply in zip(fresh, replies, strict=True):
            image_HWC, phrase = asked[i]
            self._answers.put(image_HWC, {**(self._answers.get(image_HWC) or {}), phrase: reply})
            known[i] = reply
        return [reply or Reply("") for reply in known]

    def _read(self, view: ShownImage, phrase: str, reply: Reply) -> BoxAnswer:
        try:
            return view.read(reply.text, self.config.format, reply.frame)
        except AnswerError as error:
            raise AnswerError(
                f"{self.name} was asked where {phrase!r} is and answered {reply.text[:80]!r}: {error}; "
                "set 'format' to what the model writes, or use another LMM"
            ) from error

    def _scores(self, asked: Sequence[tuple[np.ndarray, str]], boxes: Sequence[Sequence[Box]]) -> list[np.ndarray]:
        """P(yes), (N,) float32, of the N boxes of each image and phrase."""
        rows = [(*pair, box) for pair, row in zip(asked, boxes, strict=True) for box in row]
        scores = [np.zeros(0, np.float32)]
        for start in range(0, len(rows), _CROPS_PER_CALL):
            some = rows[start : start + _CROPS_PER_CALL]
            crops = [crop_box(image_HWC, box, prompts.CANDIDATE_CONTEXT) for image_HWC, _, box in some]
            questions = [prompts.CANDIDATE.format(phrase=phrase) for _, phrase, _ in some]
            scores.append(self.answerer.p_yes(crops, questions))
        ends = np.cumsum([len(row) for row in boxes])
        return np.split(np.concatenate(scores), ends[:-1]) if boxes else []

    def _select(self, phrase: str, boxes: Sequence[Box], score_N: np.ndarray) -> Iterator[Detection]:
        import torch

        corners_N4 = torch.tensor([(b.x0, b.y0, b.x1, b.y1) for b in boxes]).reshape(-1, 4)
        return select([phrase], corners_N4, torch.from_numpy(score_N)[:, None], self._kept)
