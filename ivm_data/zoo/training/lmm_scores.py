"""What the embedded LMM scores on scenes that it never saw, through the expert class that the engine uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from ivm_data.experts.lmms import prompts
from ivm_data.experts.lmms.hf_lmm import HfLmm, LmmConfig
from ivm_data.experts.lmms.request_line import format_line
from ivm_data.worlds.grammar import ALL_KINDS, WorldPair, compose
from ivm_data.worlds.scene import Scene
from ivm_data.zoo.training import lmm_views
from ivm_data.zoo.training.lmm_masks import CORRUPTIONS, box_around, union
from ivm_model.masking import crop_box, keep_only

_SEED = 7
_PER_RIGHT = 3
"""Corrupted masks for each right one."""


def score(
    directory: Path, held_out: Mapping[str, Sequence[Scene]], log: Callable[[str], None] = print
) -> dict[str, float]:
    """Every held-out score of the model card: rewriting on each split of `held_out`, the others on its "val"."""
    lmm = HfLmm(LmmConfig(str(directory), batch=64))
    scores: dict[str, float] = {}
    for part in (
        {f"rewrite exact, {split}": rewriting(lmm, scenes) for split, scenes in held_out.items()},
        verification(lmm, held_out["val"]),
        presence(lmm, held_out["val"]),
        questions(lmm, held_out["val"]),
    ):
        scores |= part
    for name, value in scores.items():
        log(f"{name}: {value:.3f}")
    return scores


def rewriting(lmm: HfLmm, scenes: Sequence[Scene]) -> float:
    """Share of instructions whose rewrite says the same line as the truth."""
    rng = np.random.default_rng(_SEED)
    pairs = [pair for scene in scenes for kind in ALL_KINDS if (pair := compose(scene, kind, rng)) is not None]
    answers = lmm.rewrite([pair.instruction for pair in pairs])
    right = [format_line(answer) == format_line(pair.request) for answer, pair in zip(answers, pairs, strict=True)]
    return float(np.mean(right))


def verification(lmm: HfLmm, scenes: Sequence[Scene], dim: float = prompts.VERIFY_DIM) -> dict[str, float]:
    """AUC of right masks against corrupted ones by kind and by corruption, and how often right masks are accepted."""
    rng = np.random.default_rng(_SEED)
    images, asks, corruptions = [], [], []
    for scene in scenes:
        for kind in ALL_KINDS:
            pair = compose(scene, kind, rng)
            if pair is None or not pair.targets:
                continue
            for corruption in ["", *rng.permutation(CORRUPTIONS)[:_PER_RIGHT].tolist()]:
                kept, mask_HW = lmm_views.corrupted(scene, pair.targets, corruption, rng)
                images.append(keep_only(scene.image_HWC, mask_HW, dim=dim))
                asks.append(lmm_views.verify_ask(pair, kept))
                corruptions.append(corruption)
    p_yes_N = lmm.p_yes(images, [ask.text for ask in asks])
    kind_N = np.array([ask.job.removeprefix("verify/") for ask in asks])
    corruption_N, right_N = np.array(corruptions), np.array([ask.answer == "yes" for ask in asks])
    scores = {"verify AUC": float(roc_auc_score(right_N, p_yes_N))}
    for kind in np.unique(kind_N):
        here = kind_N == kind
        scores[f"verify AUC, {kind}"] = float(roc_auc_score(right_N[here], p_yes_N[here]))
        wrong = here & (right_N | (corruption_N == "wrong"))
        scores[f"verify AUC, {kind}, wrong object"] = float(roc_auc_score(right_N[wrong], p_yes_N[wrong]))
        scores[f"right masks accepted, {kind}"] = float((p_yes_N[here & right_N] > 0.5).mean())
    for corruption in CORRUPTIONS:
        here = right_N | (corruption_N == corruption)
        scores[f"verify AUC, right against {corruption}"] = float(roc_auc_score(right_N[here], p_yes_N[here]))
    return scores


def presence(lmm: HfLmm, scenes: Sequence[Scene]) -> dict[str, float]:
    """AUC of presence in the whole image, of candidates, and of what a complement still shows, by job."""
    rng = np.random.default_rng(_SEED)
    rows = [
        (view.image_HWC, ask)
        for scene in scenes
        for draw in (lmm_views.full_view, lmm_views.candidate_view, lmm_views.complement_view)
        for view in [draw(scene, lmm_views.pool(scene, rng), rng)]
        for ask in view.asks
        if ask.answer in ("yes", "no")
    ]
    p_yes_N = lmm.p_yes([image for image, _ in rows], [ask.text for _, ask in rows])
    yes_N, job_N = np.array([ask.answer == "yes" for _, ask in rows]), np.array([ask.job for _, ask in rows])
    scores = {}
    for job in np.unique(job_N):
        here = job_N == job
        if len(set(yes_N[here])) == 2:
            name, _, kind = job.partition("/")
            scores[f"{name} AUC, {kind}" if kind else f"{name} AUC"] = float(roc_auc_score(yes_N[here], p_yes_N[here]))
    return scores


def questions(lmm: HfLmm, scenes: Sequence[Scene]) -> dict[str, float]:
    """Exact answers to the same open questions over the whole image, the true mask's pixels, and these cropped."""
    rng = np.random.default_rng(_SEED)
    scores = {}
    for kind in ("question", "counting"):
        asked = [(scene, pair) for scene in scenes if (pair := compose(scene, kind, rng)) is not None]
        for name, show in (("whole image", _whole), ("masked", _masked), ("masked and cropped", _cropped)):
            answers = lmm.answer([show(*one) for one in asked], [pair.instruction for _, pair in asked])
            right = [answer == pair.answer for answer, (_, pair) in zip(answers, asked, strict=True)]
            scores[f"{kind} right, {name}"] = float(np.mean(right))
    return scores


def _whole(scene: Scene, pair: WorldPair) -> np.ndarray:
    return scene.image_HWC


def _masked(scene: Scene, pair: WorldPair) -> np.ndarray:
    return keep_only(scene.image_HWC, union(scene, pair.targets))


def _cropped(scene: Scene, pair: WorldPair) -> np.ndarray:
    return crop_box(_masked(scene, pair), box_around(union(scene, pair.targets)))
