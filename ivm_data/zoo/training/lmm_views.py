"""What the miniature LMM is shown and asked: views of a scene, each with several questions and their true answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from ivm_data.experts.lmms import prompts
from ivm_data.experts.lmms.request_line import format_line
from ivm_data.worlds.grammar import KINDS, MORE_KINDS, WorldPair, compose
from ivm_data.worlds.phrases import Description, parse
from ivm_data.worlds.scene import ATTRIBUTES, Scene
from ivm_data.zoo.training.lmm_colours import recoloured
from ivm_data.zoo.training.lmm_masks import (
    CORRUPTIONS,
    OBJECT_LEVEL,
    bare_box,
    box_around,
    corrupted_outline,
    imperfect,
    jittered,
    other_things,
    union,
)
from ivm_data.zoo.training.lmm_model import Size
from ivm_data.zoo.training.lmm_phrases import STRANGE_SHARE, describe, noun, renamed, varied, would_deny
from ivm_data.zoo.training.schedule import normalise
from ivm_model.masking import complement, crop_box, keep_only
from storage.request import EXCEPT, OR

PAIRS_PER_KIND = {**dict.fromkeys(KINDS, 2), **dict.fromkeys(MORE_KINDS, 1)}
FREE_SHARE = 0.4
"""Of the instructions of the first kinds, said in the freer styles."""
MORE_WEIGHT = 0.5
"""Of each further kind, beside the first ones, in what VERIFY and COMPLEMENT ask."""
ASKS = 4
"""Questions for one image."""
FALSE_SHARE = 0.3
"""Of whole images and crops, in false colours, where no colour is asked about."""
GONE, STILL_THERE = 0.15, 0.5
"""Shares of a thing's visible pixels: at most, at least; between lies no label."""


@dataclass(frozen=True)
class Ask:
    """A question and its answer; `job` names what it trains ("verify/relation", "presence", ...)."""

    text: str
    answer: str
    job: str


@dataclass(frozen=True)
class SceneView:
    """An image with questions, and what its pixels are.

    Attributes:
        instance_HW: uint8, 0 for background, i + 1 for `things[i]`; of the image's size.
        kept_HW: bool, pixels at full contrast, for views that VERIFY is asked of; else None.
        recoloured: the image is in false colours, which have no names.
    """

    image_HWC: np.ndarray
    scene: Scene
    instance_HW: np.ndarray
    asks: tuple[Ask, ...]
    kept_HW: np.ndarray | None = None
    recoloured: bool = False


def pool(scene: Scene, rng: np.random.Generator) -> list[WorldPair]:
    """A few instructions of every kind that the scene offers."""
    pairs = (
        compose(scene, kind, rng, free=bool(rng.random() < FREE_SHARE))
        for kind, count in PAIRS_PER_KIND.items()
        for _ in range(count)
    )
    return list({pair.instruction: pair for pair in pairs if pair is not None}.values())


def rewrite_ask(pair: WorldPair, rng: np.random.Generator | None = None) -> Ask:
    """Instruction -> the line that `request_line` reads; given random numbers, now and then `renamed`."""
    instruction, line = pair.instruction, format_line(pair.request)
    if rng is not None and rng.random() < STRANGE_SHARE:
        instruction, line = renamed(instruction, line, rng)
    return Ask(prompts.REWRITE.format(instruction=instruction), line, "rewrite")


def full_view(scene: Scene, pairs: list[WorldPair], rng: np.random.Generator) -> SceneView:
    """The whole image: open questions and presence; presence alone where its colours are false."""
    false = rng.random() < FALSE_SHARE
    asks = [_presence_ask(scene, rng, not false) for _ in range(3)]
    labels_HW = instances(scene)
    if false:
        image_HWC = recoloured(scene.image_HWC, labels_HW, scene, rng)
        return SceneView(image_HWC, scene, labels_HW, tuple(asks), recoloured=True)
    asks += [Ask(pair.instruction, pair.answer, "qa/full") for pair in _some(_answerable(pairs), 1, rng)]
    return SceneView(scene.image_HWC, scene, labels_HW, tuple(asks))


def candidate_view(scene: Scene, pairs: list[WorldPair], rng: np.random.Generator) -> SceneView:
    """A crop around one thing's box, drawn a little wrong, or now and then around bare background."""
    labels_HW = instances(scene)
    target = int(rng.integers(len(scene.things)))
    box = jittered(scene.things[target].box, rng)
    if rng.random() < 0.1 and (bare := bare_box(labels_HW, rng)) is not None:
        target, box = -1, bare
    context = prompts.CANDIDATE_CONTEXT + rng.uniform(-0.1, 0.1)
    false = rng.random() < FALSE_SHARE
    asks = tuple(_candidate_ask(scene, target, rng, not false) for _ in range(ASKS))
    if target >= 0 and not false:
        asks += (_naming_ask(scene, target),)
    shown_HWC = recoloured(scene.image_HWC, labels_HW, scene, rng) if false else scene.image_HWC
    image_HWC = crop_box(shown_HWC, box, context)
    labels_HW = crop_box(np.repeat(labels_HW[..., None], 3, 2), box, context, fill=0)[..., 0]
    return SceneView(image_HWC, scene, labels_HW, asks, recoloured=false)


def verify_view(scene: Scene, pairs: list[WorldPair], rng: np.random.Generator) -> SceneView:
    """The image dimmed outside a right or a wrong mask: is the mask what the instruction needs?"""
    main = _of_any_kind(pairs, rng)
    corruption = "" if rng.random() < 0.5 else str(rng.choice(CORRUPTIONS))
    if main.whole and not corruption:
        kept, mask_HW = None, main.mask_HW(scene)
    else:
        targets = main.targets or ((int(rng.integers(len(scene.things))),) if main.whole else ())
        kept, mask_HW = corrupted(scene, targets, corruption, rng)
    whole = bool(mask_HW.all())
    right = [pair for pair in pairs if is_right(pair, kept, whole)]
    wrong = [pair for pair in pairs if not is_right(pair, kept, whole)]
    asked = dict.fromkeys([main, *_some(right, 2, rng), *_some(wrong, 2, rng)])
    return dimmed_view(scene, mask_HW, tuple(verify_ask(pair, kept, whole) for pair in asked)[:ASKS])


def complement_view(scene: Scene, pairs: list[WorldPair], rng: np.random.Generator) -> SceneView:
    """The image without a mask's pixels: is a target still there?"""
    pairs = [pair for pair in pairs if not pair.whole]
    main = _of_any_kind(pairs, rng)
    corruption = "" if rng.random() < 0.5 else str(rng.choice(CORRUPTIONS[:-1]))
    _, mask_HW = corrupted(scene, main.targets, corruption, rng)
    asked = [main, *_some(pairs, ASKS - 1, rng)]
    asks = [ask for pair in asked if (ask := complement_ask(scene, pair, mask_HW)) is not None]
    labels_HW = np.where(mask_HW, 0, instances(scene)).astype(np.uint8)
    return SceneView(complement(scene.image_HWC, mask_HW), scene, labels_HW, tuple(dict.fromkeys(asks)))


def masked_view(scene: Scene, pairs: list[WorldPair], rng: np.random.Generator) -> SceneView:
    """Open questions about an image with only the needed pixels, the others white; every third cropped to them."""
    main = _some(_answerable(pairs), 1, rng)[0]
    mask_HW = imperfect(union(scene, main.targets), rng)
    image_HWC = keep_only(scene.image_HWC, mask_HW)
    labels_HW = np.where(mask_HW, instances(scene), 0).astype(np.uint8)
    if cropped := rng.random() < 1 / 3:
        box = box_around(mask_HW)
        image_HWC = crop_box(image_HWC, box)
        labels_HW = crop_box(np.repeat(labels_HW[..., None], 3, 2), box, fill=0)[..., 0]
    job = "qa/masked+crop" if cropped else "qa/masked"
    asked = [pair for pair in _answerable(pairs) if set(pair.targets) == set(main.targets)]
    return SceneView(
        image_HWC, scene, labels_HW, tuple(Ask(pair.instruction, pair.answer, job) for pair in asked[:ASKS])
    )


Draw = Callable[[Scene, list[WorldPair], np.random.Generator], SceneView]
SHARES: dict[Draw, float] = {
    full_view: 0.26,
    verify_view: 0.3,
    complement_view: 0.1,
    candidate_view: 0.22,
    masked_view: 0.12,
}
"""Each kind of view with its share of the training."""


def pixels(views: Sequence[SceneView], size: Size) -> torch.Tensor:
    """(B, 3, image, image) normalised."""
    return normalise(np.stack([cv2.resize(view.image_HWC, (size.image, size.image)) for view in views]))


def dimmed_view(scene: Scene, mask_HW: np.ndarray, asks: tuple[Ask, ...] = ()) -> SceneView:
    """The scene faded outside a mask, as VERIFY shows it."""
    image_HWC = keep_only(scene.image_HWC, mask_HW, dim=prompts.VERIFY_DIM)
    return SceneView(image_HWC, scene, instances(scene), asks, mask_HW)


def corrupted(
    scene: Scene, targets: tuple[int, ...], corruption: str, rng: np.random.Generator
) -> tuple[set[int] | None, np.ndarray]:
    """The kept things (None where the outline is corrupted) and the mask; "" gives a right one.

    Where the scene does not allow the corruption another thing is kept; without targets (absent) any thing.
    """
    truth_HW = union(scene, targets)
    if targets and corruption not in ("", *OBJECT_LEVEL):
        corrupted_HW = corrupted_outline(truth_HW, corruption, rng)
        if corrupted_HW is not None:
            return None, corrupted_HW
    kept = set(targets)
    if corruption or not targets:
        level = corruption if corruption in OBJECT_LEVEL and targets else "wrong"
        kept = other_things(scene, targets, level, rng) or other_things(scene, targets, "wrong", rng) or set()
    return (kept, imperfect(union(scene, kept), rng)) if kept else (None, np.zeros_like(truth_HW))


def is_right(pair: WorldPair, kept: set[int] | None, whole: bool = False) -> bool:
    """Whether a mask is what an instruction needs.

    Args:
        kept: the things that the mask keeps; None for a corrupted outline.
        whole: it keeps everything.
    """
    return whole if pair.whole else bool(pair.targets) and kept == set(pair.targets)


def verify_ask(pair: WorldPair, kept: set[int] | None, whole: bool = False) -> Ask:
    """Yes where `is_right`."""
    right = is_right(pair, kept, whole)
    return Ask(prompts.VERIFY.format(instruction=pair.instruction), _yes(right), f"verify/{pair.kind}")


def complement_ask(scene: Scene, pair: WorldPair, removed_HW: np.ndarray) -> Ask | None:
    """Yes if a target is still there; None where one is half removed, or the anchor is."""
    named = [parse(one.expression) for one in pair.request.things if one.of >= 0 and one.relation not in (EXCEPT, OR)]
    anchors = [i for i, thing in enumerate(scene.things) if any(anchor.fits(thing) for anchor in named)]
    left = [_left(scene, i, removed_HW) for i in pair.targets]
    if any(_left(scene, i, removed_HW) < STILL_THERE for i in anchors):
        return None
    if any(GONE < share < STILL_THERE for share in left):
        return None
    question = prompts.COMPLEMENT.format(phrases=prompts.wanted(pair.request))
    return Ask(question, _yes(any(share >= STILL_THERE for share in left)), f"complement/{pair.kind}")


def instances(scene: Scene) -> np.ndarray:
    """Label map HW uint8: 0 for background, i + 1 for `things[i]`."""
    labels_HW = np.zeros(scene.image_HWC.shape[:2], np.uint8)
    for i, thing in enumerate(scene.things):
        labels_HW[thing.mask_HW] = i + 1
    return labels_HW


def _presence_ask(scene: Scene, rng: np.random.Generator, coloured: bool) -> Ask:
    description = describe(scene, int(rng.integers(len(scene.things))), rng, coloured)
    if rng.random() < 0.6:
        description = varied(description, rng)
    there = any(description.fits(thing) for thing in scene.things)
    return Ask(prompts.PRESENCE.format(phrase=description.text(noun(rng))), _yes(there), "presence")


def _candidate_ask(scene: Scene, target: int, rng: np.random.Generator, coloured: bool) -> Ask:
    """Is the crop's thing so? No held-out combination is denied, whether it is named or shown with a word changed."""
    while True:
        about = target if target >= 0 and rng.random() < 0.8 else int(rng.integers(len(scene.things)))
        description = describe(scene, about, rng, coloured)
        if rng.random() < 0.5:
            description = varied(description, rng)
        if target < 0 or not coloured or not would_deny(description, scene.things[target]):
            right = target >= 0 and description.fits(scene.things[target])
            return Ask(prompts.CANDIDATE.format(phrase=description.text(noun(rng))), _yes(right), "candidate")


def _naming_ask(scene: Scene, target: int) -> Ask:
    """Four words in one answer: far more to learn from than yes or no."""
    thing = scene.things[target]
    words = Description(**{name: getattr(thing, name) for name in ATTRIBUTES}).text()
    return Ask("What is this?", words, "name")


def _left(scene: Scene, index: int, removed_HW: np.ndarray) -> float:
    mask_HW = scene.things[index].mask_HW
    return float(np.count_nonzero(mask_HW & ~removed_HW) / np.count_nonzero(mask_HW))


def _of_any_kind(pairs: list[WorldPair], rng: np.random.Generator) -> WorldPair:
    """Each of the first kinds is as likely as any other, absent half as much."""
    kinds = sorted({pair.kind for pair in pairs})
    weights = np.array([MORE_WEIGHT if kind in ("absent", *MORE_KINDS) else 1.0 for kind in kinds])
    kind = rng.choice(kinds, p=weights / weights.sum())
    return _some([pair for pair in pairs if pair.kind == kind], 1, rng)[0]


def _answerable(pairs: list[WorldPair]) -> list[WorldPair]:
    return [pair for pair in pairs if pair.answer]


def _some(pairs: list[WorldPair], count: int, rng: np.random.Generator) -> list[WorldPair]:
    return [pairs[i] for i in rng.permutation(len(pairs))[:count]]


def _yes(right: bool) -> str:
    return "yes" if right else "no"


def draw_view(scene: Scene, pairs: list[WorldPair], rng: np.random.Generator) -> SceneView:
    """A view of a kind drawn by its share."""
    return list(SHARES)[rng.choice(len(SHARES), p=list(SHARES.values()))](scene, pairs, rng)
