"""What masks are worth to an LMM: the same questions about whole images and about masked ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from urllib.parse import parse_qsl

import numpy as np

from ivm_data.evaluation.systems import System
from ivm_data.evaluation.vstar import ChoiceQuestion
from ivm_data.experts.common.protocols import Answerer, Chooser
from ivm_data.experts.lmms import chat_messages
from ivm_data.experts.registry import ExpertSpec, get
from ivm_model.how import HOWS, How
from ivm_model.masking import apply
from ivm_model.metrics.bootstrap import CONFIDENCE
from ivm_model.metrics.mask_scores import mean_interval
from ivm_model.metrics.tally import Interval
from storage.errors import ConfigError, InputError
from storage.pixels.images import bounded, decode
from storage.records import Sample, sample_id

Mode = Literal["likelihood", "letter"]
WHOLE = "whole image"
TRUTH = "truth"
BATCH = 16
LETTER_TOKENS = 8
"""Room for "(A)" and for a short option said in full."""


class AnsweringLmm(Answerer, Chooser, Protocol):
    """What the protocol needs of an LMM."""


@dataclass(frozen=True)
class Answers:
    """Of one view, in the order of the questions: which answers are right, and which masks showed anything.

    Attributes:
        unread: answers in words that name no option; they count as wrong.
    """

    right: tuple[bool, ...]
    found: tuple[bool, ...]
    unread: int


@dataclass(frozen=True)
class AnswerTable:
    """What an LMM answers to the same questions about different views of their images."""

    data: str
    lmm: str
    mode: Mode
    questions: tuple[str, ...]
    groups: tuple[str, ...]
    views: Mapping[str, Answers]
    bad: tuple[str, ...]

    def accuracy(self, view: str, group: str = "") -> Interval:
        """Share of right answers with its 95 % Wilson interval; `group` "" means all questions."""
        from scipy.stats import binomtest

        right_N = self._of(self.views[view].right, group)
        edges = binomtest(int(right_N.sum()), len(right_N)).proportion_ci(CONFIDENCE, "wilson")
        return Interval(float(right_N.mean()), float(edges.low), float(edges.high))

    def versus_whole(self, view: str, group: str = "") -> tuple[Interval, float] | None:
        """Accuracy minus that on whole images, with a paired bootstrap interval, and the exact McNemar test's p.

        None for the whole images themselves, or where they were not asked about.
        """
        from scipy.stats import binomtest

        if view == WHOLE or WHOLE not in self.views:
            return None
        right_N, whole_N = (self._of(self.views[name].right, group) for name in (view, WHOLE))
        change_N = right_N.astype(float) - whole_N
        gained, lost = int((change_N > 0).sum()), int((change_N < 0).sum())
        p = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
        return Interval(float(change_N.mean()), *mean_interval(change_N)), float(p)

    def found(self, view: str, group: str = "") -> float:
        """Share of the questions whose mask showed anything."""
        return float(self._of(self.views[view].found, group).mean())

    def facts(self) -> dict[str, Any]:
        """Plain values, with the single answers."""
        views = {
            view: {
                "accuracy": self.accuracy(view),
                "versus_whole": self.versus_whole(view),
                "found": self.found(view),
                "unread": answers.unread,
                "by_group": {group: self.accuracy(view, group) for group in sorted(set(self.groups))},
                "right": answers.right,
            }
            for view, answers in self.views.items()
        }
        named = {"data": self.data, "lmm": self.lmm, "mode": self.mode, "questions": self.questions}
        return {**named, "views": views, "bad": self.bad}

    def _of(self, values: Sequence[bool], group: str) -> np.ndarray:
        return np.array([value for value, of in zip(values, self.groups, strict=True) if group in ("", of)], bool)


def lmm_of(name: str) -> AnsweringLmm:
    """The LMM of `EXPERT?option=value&option=value`, loaded.

    Raises:
        ConfigError: no such expert or option, or one that answers no questions.
    """
    expert, _, query = name.partition("?")
    lmm: AnsweringLmm = get(ExpertSpec(expert, dict(parse_qsl(query, keep_blank_values=True))))
    if not (hasattr(lmm, "choose") and hasattr(lmm, "answer")):
        raise ConfigError(f"{expert!r} answers no questions with options; use hf-lmm or openai")
    return lmm


def evaluate_answers(
    data: str,
    questions: Sequence[ChoiceQuestion],
    lmm: AnsweringLmm,
    hows: Sequence[How],
    masks: Sequence[System | Literal["truth"]],
    *,
    mode: Mode = "likelihood",
    whole: bool = True,
    seed: int = 0,
    bad: Sequence[str] = (),
    progress: Callable[[int], None] = lambda done: None,
) -> AnswerTable:
    """Ask every question about every view: the whole image, and each way to show each system's masks.

    Options are shuffled by the seed and the question's id, alike for every view. An image that cannot be read, or a
    truth that does not fit it, adds to `bad`.

    Raises:
        ConfigError: an unknown way to show a mask, or no question left.
    """
    for how in hows:
        if how not in HOWS:
            raise ConfigError(f"how must be one of {', '.join(HOWS)}, got {how!r}")
    asked: list[ChoiceQuestion] = []
    wrong = list(bad)
    rows: dict[str, list[tuple[int | None, bool]]] = {}
    for start in range(0, len(questions), BATCH):
        opened = _opened(questions[start : start + BATCH], wrong)
        for batch in bounded(opened, BATCH, lambda one: one[1].width * one[1].height):
            orders = [_order(question, seed) for question, _, _ in batch]
            for view, images, found in _views(batch, hows, masks, whole):
                chosen = _choose(lmm, mode, images, [question for question, _, _ in batch], orders)
                rows.setdefault(view, []).extend(zip(chosen, found, strict=True))
            asked += [question for question, _, _ in batch]
        progress(len(questions[start : start + BATCH]))
    if not asked:
        raise ConfigError(f"'{data}' has no question that can be asked; first: {wrong[0] if wrong else 'it is empty'}")
    views = {
        view: Answers(
            tuple(chosen == 0 for chosen, _ in answers),
            tuple(found for _, found in answers),
            sum(chosen is None for chosen, _ in answers),
        )
        for view, answers in rows.items()
    }
    ids, groups = tuple(q.id for q in asked), tuple(q.group for q in asked)
    return AnswerTable(data, lmm.name, mode, ids, groups, views, tuple(wrong))


Opened = tuple[ChoiceQuestion, Sample, np.ndarray]
"""A question, what a system is given of it, and the decoded image."""


def _opened(questions: Sequence[ChoiceQuestion], bad: list[str]) -> Iterator[Opened]:
    for question in questions:
        try:
            data = question.image.read_bytes()
            image_HWC = decode(data)
            question.truth(image_HWC.shape[:2])
        except (InputError, OSError) as error:
            bad.append(f"{question.id}: {error}")
            continue
        height, width = image_HWC.shape[:2]
        text = question.question
        yield (
            question,
            Sample(sample_id(data, text), data, question.image.name, width, height, text, question.group),
            image_HWC,
        )


def _views(
    batch: Sequence[Opened], hows: Sequence[How], masks: Sequence[System | Literal["truth"]], whole: bool
) -> Iterator[tuple[str, list[np.ndarray], list[bool]]]:
    """Name, images and which masks showed anything, of each view; each system is asked once."""
    if whole:
        yield WHOLE, [image_HWC for _, _, image_HWC in batch], [True] * len(batch)
    for system in masks:
        if isinstance(system, str):
            found, name = [question.truth(image_HWC.shape[:2]) for question, _, image_HWC in batch], TRUTH
        else:
            found, name = system.masks([sample for _, sample, _ in batch]), system.name
        for how in hows:
            shown = [apply(image, mask_HW, how) for (_, _, image), mask_HW in zip(batch, found, strict=True)]
            yield f"{how}, {name}", [one.image_HWC for one in shown], [one.found for one in shown]


def _order(question: ChoiceQuestion, seed: int) -> list[int]:
    """The published places of the options in the order in which they are asked."""
    entropy = int.from_bytes(sample_id(question.id.encode(), str(seed)).encode()[:8])
    return [int(place) for place in np.random.default_rng(entropy).permutation(len(question.options))]


def _choose(
    lmm: AnsweringLmm,
    mode: Mode,
    images: Sequence[np.ndarray],
    questions: Sequence[ChoiceQuestion],
    orders: Sequence[Sequence[int]],
) -> list[int | None]:
    """The published place of the option that the LMM chooses for each question; None where it names none."""
    texts = [question.question for question in questions]
    options = [[q.options[place] for place in order] for q, order in zip(questions, orders, strict=True)]
    if mode == "likelihood":
        chosen: list[int | None] = [int(chances.argmax()) for chances in lmm.choose(images, texts, options)]
    else:
        lettered = [chat_messages.lettered(text, some) for text, some in zip(texts, options, strict=True)]
        said = lmm.answer(images, lettered, chat_messages.LETTER, LETTER_TOKENS)
        chosen = [chat_messages.read_letter(answer, some) for answer, some in zip(said, options, strict=True)]
    return [None if place is None else order[place] for place, order in zip(chosen, orders, strict=True)]
