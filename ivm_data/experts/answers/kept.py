"""An expert whose answers are bought once: it is asked what nobody asked it before, and loaded when that happens.

What a model computes depends, in the last digits, on what passes through it together. So an answer is known by all of
that, in order: by the whole call, or by the part of it that the expert's `together` names. What is read is then byte
for byte what would be computed.

`together(verb, rows)` of an expert gives the indices of a call's rows in the groups that pass through its model
together, or None where an answer depends on more than the call: then it is not kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from ivm_data.experts.answers import codecs
from ivm_data.experts.answers.codecs import Codec
from ivm_data.experts.answers.identity import identity
from ivm_data.experts.answers.question_keys import Keys
from ivm_data.experts.answers.store import AnswerStore, Stored
from ivm_data.experts.common.known_words import words_known_to
from ivm_data.experts.common.protocols import Detection, Reply, Segmentation, check_lengths
from ivm_data.experts.common.usage import Usage, count_usage, metered
from storage.records import Box
from storage.request import Request

Answer = TypeVar("Answer")
Ask = Callable[[Any, Sequence[int]], Iterable[Answer]]
"""The loaded expert, and indices of rows -> their answers."""


class KeptExpert:
    """Every verb of the expert that it stands for; its answers come from a store where that has them.

    Where the store has none of the expert, it is loaded at once: whatever is wrong with it shows up before work starts.

    Args:
        spec: the expert as a recipe names it.
        plain: the expert, made and not loaded.
        load: gives the loaded one.
        anew: ask again whatever is asked, and keep that instead.
    """

    def __init__(
        self, spec: Mapping[str, Any], plain: Any, load: Callable[[], Any], store: AnswerStore, *, anew: bool = False
    ) -> None:
        self._spec, self._plain, self._load, self._store, self._anew = spec, plain, load, store, anew
        self._identity, self._is_loaded = identity(spec, plain), False
        self._keys = Keys()
        self._words: dict[str, float] = {}
        self._lock = threading.Lock()
        if not store.rows_of([self._identity])[self._identity]:
            self.loaded()

    @property
    def name(self) -> str:
        """`model@revision`."""
        return str(self._plain.name)

    @property
    def input_size(self) -> Any:
        """What the expert says of it."""
        return self._plain.input_size

    def load(self) -> None:
        """Nothing: it is loaded when it is asked what the store does not know."""

    def loaded(self) -> Any:
        """The expert itself."""
        with self._lock:
            expert = self._load()
            if not self._is_loaded:
                # A checkpoint that was downloaded just now is named by its commit from here on.
                self._identity, self._is_loaded = identity(self._spec, self._plain), True
        return expert

    def rewrite(self, instructions: Sequence[str], images: Sequence[np.ndarray] | None = None) -> list[Request]:
        """See `Rewriter`. A request that cannot be read is not kept where it was asked for alone."""

        def ask(expert: Any, rows: Sequence[int]) -> Iterable[Request]:
            found: list[Request] = expert.rewrite([instructions[i] for i in rows], _some(images, rows))
            return found

        return self.answers("rewrite", _pairs(images, instructions), codecs.REQUEST, ask, keeps=_is_worth_it)

    def ground(self, images: Sequence[np.ndarray], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """See `Grounder`."""
        return self._about("ground", codecs.DETECTIONS, images, phrases)

    def p_yes(self, images: Sequence[np.ndarray], questions: Sequence[str]) -> np.ndarray:
        """See `Verifier`."""
        return np.array(self._about("p_yes", codecs.NUMBER, images, questions), np.float32)

    def reply(
        self,
        images: Sequence[np.ndarray] | None,
        questions: Sequence[str],
        task: str | None = None,
        tokens: int | None = None,
    ) -> list[Reply]:
        """See `Replier`."""

        def ask(expert: Any, rows: Sequence[int]) -> Iterable[Reply]:
            found: list[Reply] = expert.reply(_some(images, rows), [questions[i] for i in rows], task, tokens)
            return found

        return self.answers("reply", _pairs(images, questions), codecs.REPLY, ask, options=[task, tokens])

    def segment(self, images: Sequence[np.ndarray], boxes: Sequence[Sequence[Box]]) -> list[Segmentation]:
        """See `Segmenter`."""
        return self._about("segment", codecs.SEGMENTATION, images, boxes)

    def segment_points(self, images: Sequence[np.ndarray], points: Sequence[np.ndarray]) -> list[Segmentation]:
        """See `Segmenter`."""
        return self._about("segment_points", codecs.SEGMENTATION, images, points)

    def propose(self, images: Sequence[np.ndarray], requests: Sequence[Request]) -> list[tuple[np.ndarray, float]]:
        """See `MaskProposer`."""
        return self._about("propose", codecs.SCORED_MASK, images, requests)

    def known_words(self, phrase: str) -> float:
        """See `words_known_to`; 1 of an expert that does not say."""
        if not hasattr(self._plain, "known_words"):
            return 1.0
        if phrase not in self._words:

            def ask(expert: Any, rows: Sequence[int]) -> Iterable[float]:
                return [words_known_to(expert, phrase) for _ in rows]

            with metered():  # A look into the tokenizer is no answer that anyone would count.
                (self._words[phrase],) = self.answers("known_words", [(phrase,)], codecs.NUMBER, ask)
        return self._words[phrase]

    def answers(
        self,
        verb: str,
        rows: Sequence[tuple[Any, ...]],
        codec: Codec[Answer],
        ask: Ask[Answer],
        *,
        options: Any = None,
        keeps: Callable[[Sequence[Answer]], bool] = lambda answers: True,
    ) -> list[Answer]:
        """An answer to each row, read or asked for.

        Args:
            rows: all that decides the answers, as `Keys.key` takes it.
            options: what decides every answer of the call, as JSON can hold it.
            keeps: whether the answers of a group are kept.
        """
        groups = self._groups(verb, rows)
        if groups is None:
            count_usage(Usage(answers_asked=len(rows)))
            return list(ask(self.loaded(), range(len(rows))))

        def key(group: Sequence[int]) -> bytes:
            return self._keys.key(self._identity, verb, options, [rows[i] for i in group])

        values = {} if self._anew else self._store.find(map(key, groups))
        missing = [group for group in groups if key(group) not in values]
        asked = [i for group in missing for i in group]
        count_usage(Usage(answers_read=len(rows) - len(asked), answers_asked=len(asked)))
        if missing:
            bought = dict(zip(asked, ask(self.loaded(), asked), strict=True))
            values |= self._bought({key(group): [bought[i] for i in group] for group in missing}, codec, keeps)
        # Also those that were asked for, so that an answer is the same whether or not it was there.
        answers = {i: one for group in groups for i, one in zip(group, codec.decode(values[key(group)]), strict=True)}
        return [answers[i] for i in range(len(rows))]

    def _bought(
        self,
        answers: Mapping[bytes, Sequence[Answer]],
        codec: Codec[Answer],
        keeps: Callable[[Sequence[Answer]], bool],
    ) -> dict[bytes, bytes]:
        """Keep what was asked for, by its keys."""
        values = {key: codec.encode(some) for key, some in answers.items()}
        self._store.keep(
            {key: Stored(self._identity, len(some), values[key]) for key, some in answers.items() if keeps(some)}
        )
        return values

    def _about(
        self, verb: str, codec: Codec[Answer], images: Sequence[np.ndarray], asked: Sequence[Any]
    ) -> list[Answer]:
        """A verb that asks one thing of each image."""
        check_lengths(images, asked, "question")

        def ask(expert: Any, rows: Sequence[int]) -> Iterable[Answer]:
            found: Iterable[Answer] = getattr(expert, verb)(_some(images, rows), [asked[i] for i in rows])
            return found

        return self.answers(verb, _pairs(images, asked), codec, ask)

    def _groups(self, verb: str, rows: Sequence[tuple[Any, ...]]) -> list[list[int]] | None:
        together = getattr(self._plain, "together", None)
        if together is None or not rows:
            return [list(range(len(rows)))] if rows else []
        groups: list[list[int]] | None = together(verb, rows)
        return groups


def _pairs(images: Sequence[np.ndarray] | None, asked: Sequence[Any]) -> list[tuple[Any, ...]]:
    return [(one,) for one in asked] if images is None else list(zip(images, asked, strict=True))


def _some(images: Sequence[np.ndarray] | None, rows: Sequence[int]) -> list[np.ndarray] | None:
    return None if images is None else [images[i] for i in rows]


def _is_worth_it(requests: Sequence[Request]) -> bool:
    return len(requests) > 1 or bool(requests[0].things) or requests[0].scope != "things"
