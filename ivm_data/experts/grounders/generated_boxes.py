"""Grounders whose language model writes boxes as location tokens: one prompt a phrase, one encoding an image.

Such a model states no confidence. The score of a box is the geometric mean of the probabilities that the model gave
to the box's own location tokens, exp(mean of log p), under greedy decoding: near 1 where it is sure of every corner,
1 / (number of location tokens) where it guesses. That is ours, and not calibrated: neighbouring locations share the
probability of an edge that lies between them.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from statistics import mean
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from ivm_data.experts.common.batches import Batches
from ivm_data.experts.common.checkpoint_expert import CheckpointExpert
from ivm_data.experts.common.image_groups import batches_by_image
from ivm_data.experts.common.phrase_score import without_markup
from ivm_data.experts.common.prefetch import THREADS, ahead
from ivm_data.experts.common.protocols import Detection, check_lengths
from ivm_data.experts.grounders.detections import DetectionConfig, select
from ivm_model.model.base_models import Dtype, to_device
from storage.common.validation import Count, Share, within
from storage.errors import WeightsError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class GeneratedBoxesConfig(DetectionConfig):
    """Where the checkpoint lies and how much it writes; and what counts as found.

    Attributes:
        path: checkpoint directory or hub id.
        revision: hub revision; "" means the directory's content hash, or "main".
        dtype: of the weights.
        images_per_batch: images that pass through the image encoder together.
        phrases_per_batch: phrases whose answers are written together.
        answer_tokens: length at which an answer is cut, in [8, 512].
    """

    path: str
    revision: str = ""
    dtype: Dtype = "float32"
    phrases_per_batch: Count = 16
    answer_tokens: Annotated[int, within("[8, 512]")] = 64
    box_threshold: Share = field(default=0.1, kw_only=True)


@dataclass(frozen=True)
class Answer:
    """Generated tokens up to and with the one that ends the answer, and the log-probability of each."""

    ids: list[int]
    log_p: list[float]


@dataclass(frozen=True)
class _Prompt:
    """A phrase about an image of the batch, and the tokens that ask for it."""

    image: int
    words: str
    ids: list[int]


@dataclass(frozen=True)
class WrittenBox:
    """A box as an answer spells it.

    Attributes:
        corners: XYXY as shares of the image's width and height; upside down where the model wrote it so.
        tokens: its location tokens in the answer.
    """

    corners: tuple[float, float, float, float]
    tokens: slice


class BoxWriter(CheckpointExpert[GeneratedBoxesConfig]):
    """A grounder over a model that reads an image and a prompt and writes boxes.

    `_read` of a subclass sets all attributes that `__init__` declares.
    """

    def __init__(self, config: GeneratedBoxesConfig) -> None:
        super().__init__(config)
        self._images, self._phrases = Batches(config.images_per_batch), Batches(config.phrases_per_batch)
        self._ends: list[int] = []
        """Tokens that end an answer."""
        self._positions = 0
        """Most tokens of image and prompt together."""

    @abstractmethod
    def see(self, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        """Image tokens (B, T, C)."""

    @abstractmethod
    def prompt(self, words: str) -> list[int]:
        """Tokens of the question about a phrase, without the image's."""

    @abstractmethod
    def inputs(self, image_BTC: torch.Tensor, prompt_BL: torch.Tensor) -> tuple[Any, dict[str, torch.Tensor]]:
        """The module that generates, and its arguments."""

    @abstractmethod
    def read(self, ids: Sequence[int], words: str) -> Iterator[WrittenBox]:
        """Boxes that an answer gives for the phrase that was asked; anything else in it is passed over."""

    def ground(self, images: Sequence[np.ndarray], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Detections for each image, best first, after non-maximum suppression within each phrase.

        A phrase without words, or longer than the model reads, is not asked.
        """
        check_lengths(images, phrases, "list of phrases")
        self.load()
        found: list[list[Detection]] = [[] for _ in images]
        asked = [{phrase: words for phrase in row if (words := without_markup(phrase))} for row in phrases]
        groups = [rows for (rows,) in batches_by_image(images, [i for i, row in enumerate(asked) if row], 1)]
        questions = [dict.fromkeys(words for i in rows for words in asked[i].values()) for rows in groups]
        depth = 2 * self._images.size
        with closing(ahead(self._pixels, (images[rows[0]] for rows in groups), depth, THREADS)) as pixels:
            answered = self._images.run(self._answer, zip(pixels, questions, strict=True))
            for rows, answers in zip(groups, answered, strict=True):
                for i in rows:
                    known = [(phrase, answers[words]) for phrase, words in asked[i].items() if words in answers]
                    boxes = (self._boxes(images[i].shape[:2], *pair) for pair in known)
                    found[i] = sorted(chain.from_iterable(boxes), key=lambda detection: -detection.score)
        return found

    def _pixels(self, image_HWC: np.ndarray) -> torch.Tensor:
        """Stretched to the model's square, whatever the checkpoint says: a crop would move the boxes."""
        size = self._processor.size
        side = size.height or size.shortest_edge
        seen = self._processed(image_HWC, size={"height": side, "width": side}, do_center_crop=False)
        pixels_CHW: torch.Tensor = seen["pixel_values"][0]
        return pixels_CHW

    def _answer(self, batch: Sequence[tuple[torch.Tensor, Iterable[str]]]) -> list[dict[str, Answer]]:
        """For each image its phrases' answers; none for a phrase that is longer than the model reads."""
        import torch

        pixels, questions = zip(*batch, strict=True)
        answers: list[dict[str, Answer]] = [{} for _ in batch]
        with torch.inference_mode():
            image_BTC = self.see(to_device(torch.stack(pixels), self._model.device).to(self._model.dtype))
            for prompts in self._prompts(questions, most=self._positions - image_BTC.shape[1]):
                written = self._phrases.run(partial(self._write, image_BTC), prompts)
                for prompt, answer in zip(prompts, written, strict=True):
                    answers[prompt.image][prompt.words] = answer
        return answers

    def _prompts(self, questions: Sequence[Iterable[str]], most: int) -> Iterable[list[_Prompt]]:
        """Prompts of at most `most` tokens, those of one length together: they need no padding."""
        by_length: defaultdict[int, list[_Prompt]] = defaultdict(list)
        for image, asked in enumerate(questions):
            for words in asked:
                ids = self.prompt(words)
                if len(ids) <= most:
                    by_length[len(ids)].append(_Prompt(image, words, ids))
        return by_length.values()

    def _write(self, image_BTC: torch.Tensor, prompts: Sequence[_Prompt]) -> Iterator[Answer]:
        """Greedily, whatever the checkpoint's generation config says: a beam is chosen for its whole answer's score."""
        import torch

        prompt_BL = torch.tensor([prompt.ids for prompt in prompts], device=image_BTC.device)
        writer, inputs = self.inputs(image_BTC[[prompt.image for prompt in prompts]], prompt_BL)
        out = writer.generate(
            **inputs,
            do_sample=False,
            num_beams=1,
            early_stopping=False,
            max_new_tokens=self.config.answer_tokens,
            eos_token_id=self._ends,
            output_logits=True,
            return_dict_in_generate=True,
        )
        log_p_BT = writer.compute_transition_scores(out.sequences, out.logits, normalize_logits=True)
        for ids, log_p in zip(out.sequences[:, -len(out.logits) :].tolist(), log_p_BT.tolist(), strict=True):
            length = next((t + 1 for t, token in enumerate(ids) if token in self._ends), len(ids))
            yield Answer(ids[:length], log_p[:length])

    def _boxes(self, original_hw: tuple[int, int], phrase: str, answer: Answer) -> Iterator[Detection]:
        import torch

        boxes = list(self.read(answer.ids, without_markup(phrase)))
        height, width = original_hw
        corners_Q4 = torch.tensor([box.corners for box in boxes]).reshape(-1, 4)
        score_Q = torch.tensor([math.exp(mean(answer.log_p[box.tokens])) for box in boxes])
        scale = torch.tensor([width, height, width, height])
        return select([phrase], corners_Q4 * scale, score_Q[:, None], self.config)


def location_ids(tokenizer: Any, tokens: Sequence[str], vocabulary: int, path: str) -> dict[int, int]:
    """Id of each location token -> its place among them.

    Args:
        vocabulary: ids that the model knows.

    Raises:
        WeightsError: the tokenizer does not have them all.
    """
    ids = tokenizer.convert_tokens_to_ids(list(tokens))
    unknown = (None, tokenizer.unk_token_id)
    lacking = [token for token, i in zip(tokens, ids, strict=True) if i in unknown or i >= vocabulary]
    if lacking:
        raise WeightsError(
            f"the tokenizer of {path!r} lacks {len(lacking)} of {len(tokens)} location tokens that the model knows, "
            f"first {lacking[0]!r}; give a checkpoint with the tokenizer that it was trained with"
        )
    return {i: place for place, i in enumerate(ids)}
