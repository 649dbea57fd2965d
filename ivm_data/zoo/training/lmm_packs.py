"""Views -> tensors: several questions behind one image, each blind to the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from transformers import LlavaProcessor

from ivm_data.worlds.phrases import PLURALS, Description
from ivm_data.worlds.scene import ATTRIBUTES, SHAPES
from ivm_data.zoo.training.lmm_model import ANSWER, Size
from ivm_data.zoo.training.lmm_patches import covering
from ivm_data.zoo.training.lmm_phrases import would_deny
from ivm_data.zoo.training.lmm_views import Ask, SceneView, pixels

WordPoint = tuple[int, Description, str]
"""Index of a word, what it tells, and which of POINTS it is."""
POINTS = ("word", "phrase")
"""A single attribute word, and the noun that ends a phrase."""
_NOUNS = {form: noun if noun in SHAPES else "" for noun, many in PLURALS.items() for form in (noun, many)}
_ADJECTIVES = {word: name for name, words in ATTRIBUTES.items() if name != "shape" for word in words}


@dataclass(frozen=True)
class Pack:
    """One batch: B rows of tokens with an image each, then some without.

    Attributes:
        visible_R1TT: bool attention mask.
        at_N, target_N, weight_N: answer tokens: the flat index in (R, T) of the token before each, its id, its weight.
        jobs: what each answer token belongs to ("verify", "qa", ...); "" for the end of an answer.
        points: of each of POINTS, where it stands in a question about an image, as flat indices in (R, T), and on which
            patches of that image something fits it, (N, P) float, NaN where that is not asked.
        linked_NT: for each phrase of `points`, its adjectives in the row, as shares of 1; the noun where it has none.
    """

    pixels_BCHW: torch.Tensor
    ids_RT: torch.Tensor
    position_RT: torch.Tensor
    visible_R1TT: torch.Tensor
    at_N: torch.Tensor
    target_N: torch.Tensor
    weight_N: torch.Tensor
    jobs: tuple[str, ...]
    points: dict[str, tuple[torch.Tensor, torch.Tensor]]
    linked_NT: torch.Tensor


class Packer:
    """Turns views into packs of a fixed length and keeps yes and no in balance within each job."""

    def __init__(self, processor: LlavaProcessor, size: Size, length: int = 128) -> None:
        self._tokenizer = processor.tokenizer
        self._size = size
        self._length = length
        self._image_id = processor.image_token_id
        self._seen: Counter[tuple[str, str]] = Counter()
        self._encode = lru_cache(200_000)(self._encode_ask)

    def pack(self, views: Sequence[SceneView], texts: Sequence[Sequence[Ask]]) -> Pack:
        """A row for each view with its questions, then a row for each of `texts` with questions that see no image."""
        rows = [self._row(view.asks, 1 + self._size.image_tokens) for view in views]
        rows += [self._row(asks, 1) for asks in texts]
        ids, position, segment = (torch.from_numpy(np.stack([row[k] for row in rows])) for k in range(3))
        answers = [(b * self._length + at - 1, *rest) for b, row in enumerate(rows) for at, *rest in row[3]]
        at, target, weight, jobs = zip(*answers, strict=True)
        things = [covering(view, self._size) for view in views]
        points = {
            kind: _points(
                (b * self._length + at, description, view, things[b])
                for b, view in enumerate(views)
                for at, description, of in rows[b][4]
                if of == kind
            )
            for kind in POINTS
        }
        return Pack(
            pixels_BCHW=pixels(views, self._size),
            ids_RT=ids,
            position_RT=position,
            visible_R1TT=_visible(segment)[:, None],
            at_N=torch.tensor(at),
            target_N=torch.tensor(target),
            weight_N=torch.tensor(weight),
            jobs=jobs,
            points=points,
            linked_NT=self._linked(rows[: len(views)]),
        )

    def _row(self, asks: Sequence[Ask], prefix: int) -> tuple[Any, ...]:
        """Token ids, positions, segments (0 prefix, k the k-th question, -1 nothing), answer tokens, points.

        The prefix is BOS and, where it is longer, the image; questions that do not fit are left out.
        """
        ids, position, segment = np.zeros((3, self._length), np.int64)
        segment[prefix:] = -1
        ids[0], ids[1:prefix] = self._tokenizer.bos_token_id, self._image_id
        position[:prefix] = range(prefix)
        end, answers, phrases = prefix, [], []
        for k, ask in enumerate(asks, start=1):
            question, answer, points = self._encode(ask.text, ask.answer)
            stop = end + len(question) + len(answer) - 1
            if stop > self._length:
                break
            ids[end:stop] = (question + answer)[:-1]
            position[end:stop] = range(prefix, prefix + stop - end)
            segment[end:stop] = k
            weight = self._weight(ask) / len(answer) ** 0.5
            jobs = [ask.job.partition("/")[0]] * (len(answer) - 1) + [""]
            answers += [(end + len(question) + i, answer[i], weight, jobs[i]) for i in range(len(answer))]
            phrases += [(end + at, *rest) for at, *rest in points]
            end = stop
        return ids, position, segment, answers, phrases

    def _linked(self, rows: Sequence[tuple[Any, ...]]) -> torch.Tensor:
        phrases = [(at, description) for row in rows for at, description, of in row[4] if of == "phrase"]
        linked_NT = torch.zeros(len(phrases), self._length)
        for n, (at, description) in enumerate(phrases):
            adjectives = len(description.given) - bool(description.shape)
            linked_NT[n, at - adjectives : at + (adjectives == 0)] = 1 / max(adjectives, 1)
        return linked_NT

    def _encode_ask(self, text: str, answer: str) -> tuple[list[int], list[int], list[WordPoint]]:
        """The question as the chat template writes it, the answer with its end, and the question's points."""
        question, said = (self._tokenizer.encode(part, add_special_tokens=False) for part in (text + ANSWER, answer))
        points = phrase_points(self._tokenizer.convert_ids_to_tokens(question))
        return question, [*said, self._tokenizer.eos_token_id], points

    def _weight(self, ask: Ask) -> float:
        """Rarer answers of a yes/no job count more, so that P(yes) is calibrated to even odds within each job."""
        if ask.answer not in ("yes", "no"):
            return 1.0
        self._seen[ask.job, ask.answer] += 1
        yes, no = self._seen[ask.job, "yes"], self._seen[ask.job, "no"]
        own = yes if ask.answer == "yes" else no
        return float(np.clip((yes + no + 20) / (2 * own + 20), 0.4, 4.0))


def phrase_points(words: Sequence[str]) -> list[WordPoint]:
    """Every attribute word, and the noun of every `[size] [texture] [colour] noun` in singular or plural."""
    found: list[WordPoint] = []
    given: dict[str, str] = {}
    for index, word in enumerate(words):
        if word in _NOUNS:
            given = {**given, "shape": _NOUNS[word]}
            found.append((index, Description(**given), "phrase"))
            if _NOUNS[word]:
                found.append((index, Description(shape=_NOUNS[word]), "word"))
        if word in _ADJECTIVES:
            given = {**given, _ADJECTIVES[word]: word}
            found.append((index, Description(**{_ADJECTIVES[word]: word}), "word"))
        else:
            given = {}
    return found


def _points(
    asked: Iterable[tuple[int, Description, SceneView, np.ndarray]],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Flat indices, and (N, P) which patches show a thing that fits; NaN where a "no" would deny what is held out."""
    at, pointed = [], []
    for index, description, view, thing_KP in asked:
        fits = np.array([[description.fits(thing)] for thing in view.scene.things])
        denied = np.array([[not view.recoloured and would_deny(description, thing)] for thing in view.scene.things])
        shown_P = (thing_KP & fits).any(0)
        at.append(index)
        pointed.append(np.where((thing_KP & denied).any(0) & ~shown_P, np.nan, shown_P))
    return torch.tensor(at), torch.from_numpy(np.stack(pointed).astype(np.float32))


def _visible(segment_RT: torch.Tensor) -> torch.Tensor:
    """(R, T, T) bool: causal; a question sees the prefix and itself, never another question."""
    query, key = segment_RT[:, :, None], segment_RT[:, None, :]
    return ((query == key) | (key == 0)) & torch.ones((segment_RT.shape[1],) * 2, dtype=torch.bool).tril()
