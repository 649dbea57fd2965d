"""Training captions of the grounder: phrases that fit one thing or more, and phrases that fit none."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch

from ivm_data.worlds.phrases import NOUNS, Description
from ivm_data.worlds.scene import ATTRIBUTES, HELD_OUT, Scene, Thing
from ivm_data.zoo.training.grounder_model import CLS, DOT, SEP, UNKNOWN, WORD_IDS

MAX_PHRASES = 6
_COUNT_WEIGHTS = (0.15, 0.15, 0.15, 0.15, 0.2, 0.2)
_SUBSETS = [dict(zip(ATTRIBUTES, keep, strict=True)) for keep in product((False, True), repeat=4) if any(keep)]
_SUBSET_WEIGHTS = np.array([0.6 ** sum(keep.values()) * (1.0 if keep["shape"] else 0.4) for keep in _SUBSETS])
_SUBSET_WEIGHTS /= _SUBSET_WEIGHTS.sum()
_STRANGE_SHARE = 0.1
"""Share of the absent phrases with a noun that no scene has, so that unknown words find nothing."""


def draw_caption(scene: Scene, absent: float, rng: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """One to six phrases and which things they fit, (phrases, things) bool; `absent` is the share that fits none."""
    phrases: dict[str, list[bool]] = {}
    for _ in range(rng.choice(MAX_PHRASES, p=_COUNT_WEIGHTS) + 1):
        description = _describe(scene.things[rng.integers(len(scene.things))], rng)
        noun = NOUNS[rng.integers(len(NOUNS))]
        if rng.random() < absent:
            if rng.random() < _STRANGE_SHARE:
                phrases[description._replace(shape="").text("[UNK]")] = [False] * len(scene.things)
                continue
            description = _change(description, rng)
            if (description.colour, description.shape) in HELD_OUT:
                continue
        phrases[description.text(noun)] = [description.fits(thing) for thing in scene.things]
    if not phrases:
        return draw_caption(scene, absent, rng)
    return list(phrases), np.array(list(phrases.values()))


def _describe(thing: Thing, rng: np.random.Generator) -> Description:
    keep = _SUBSETS[rng.choice(len(_SUBSETS), p=_SUBSET_WEIGHTS)]
    return Description(**{name: getattr(thing, name) for name, kept in keep.items() if kept})


def _change(description: Description, rng: np.random.Generator) -> Description:
    """One word of a description replaced by another of its attribute; the result may by chance fit another thing."""
    name = description.given[rng.integers(len(description.given))]
    others = [word for word in ATTRIBUTES[name] if word != getattr(description, name)]
    return description._replace(**{name: others[rng.integers(len(others))]})


def encode(captions: Sequence[Sequence[str]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (B, T), padded with 0, and the index of each token's phrase (B, T), -1 outside phrases.

    The ids are those of the tokenizer on "red ring . green star ."; only faster, since each word is one token.
    """
    rows = [_encode_one(caption) for caption in captions]
    length = max(len(ids) for ids, _ in rows)
    ids_BT = torch.tensor([ids + [0] * (length - len(ids)) for ids, _ in rows])
    phrase_BT = torch.tensor([phrase + [-1] * (length - len(phrase)) for _, phrase in rows])
    return ids_BT, phrase_BT


def _encode_one(phrases: Sequence[str]) -> tuple[list[int], list[int]]:
    ids, phrase_of = [CLS], [-1]
    for index, phrase in enumerate(phrases):
        words = [WORD_IDS.get(word, UNKNOWN) for word in phrase.split()]
        ids += [*words, DOT]
        phrase_of += [index] * len(words) + [-1]
    return [*ids, SEP], [*phrase_of, -1]
