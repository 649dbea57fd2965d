"""What a trained grounder scores on scenes that it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from ivm_data.experts.common.protocols import Detection
from ivm_data.experts.grounders.grounding_dino import GroundingDino, GroundingDinoConfig
from ivm_data.worlds.grammar import WorldPair, compose
from ivm_data.worlds.scene import Scene
from ivm_data.worlds.split import Split
from ivm_data.zoo.training.scenes import load_scenes
from storage.pixels.overlap import box_iou, is_right

THRESHOLD = 0.3
"""Score at which recall and precision are measured."""


def score_grounder(directory: Path, scenes: int, cache_dir: Path | None = None) -> dict[str, float]:
    """Scores on `val` (new scenes) and `test` (new combinations too)."""
    expert = GroundingDino(GroundingDinoConfig(str(directory), box_threshold=0.01))
    scores: dict[str, float] = {}
    splits: tuple[Split, ...] = ("val", "test")
    for split in splits:
        loaded = load_scenes(split, scenes, cache_dir)[:]
        scores |= {f"{split} {name}": value for name, value in _score(expert, loaded).items()}
    return scores


def _score(expert: GroundingDino, scenes: Sequence[Scene]) -> dict[str, float]:
    rng = np.random.default_rng(0)
    asked = {kind: ask(scenes, kind, rng) for kind in ("attribute", "two_targets", "counting", "absent")}
    found = {
        kind: expert.ground([scene.image_HWC for scene, _ in pairs], [pair.phrases for _, pair in pairs])
        for kind, pairs in asked.items()
    }
    best = [max((d.score for d in row), default=0.0) for kind in ("attribute", "absent") for row in found[kind]]
    present = [kind == "attribute" for kind in ("attribute", "absent") for _ in found[kind]]
    recall, precision = _recall_precision(asked["counting"], found["counting"])
    novel = [i for i, (_, pair) in enumerate(asked["attribute"]) if pair.novel]
    scores = {"attribute top-1": _top1(asked["attribute"], found["attribute"])}
    if novel:
        scores["attribute top-1, held-out combinations"] = _top1(
            [asked["attribute"][i] for i in novel], [found["attribute"][i] for i in novel]
        )
    return scores | {
        "two targets top-1, both": _top1(asked["two_targets"], found["two_targets"]),
        f"all instances recall at {THRESHOLD}": recall,
        f"all instances precision at {THRESHOLD}": precision,
        "AUC present against absent": float(roc_auc_score(present, best)),
    }


def ask(scenes: Sequence[Scene], kind: str, rng: np.random.Generator) -> list[tuple[Scene, WorldPair]]:
    """One instruction of a kind for each scene that offers one."""
    pairs = [(scene, compose(scene, kind, rng)) for scene in scenes]
    return [(scene, pair) for scene, pair in pairs if pair is not None]


def _top1(asked: Sequence[tuple[Scene, WorldPair]], found: Sequence[list[Detection]]) -> float:
    """Share of pairs where for every phrase the best box overlaps its target as `is_right` asks."""
    return float(np.mean([is_grounded(scene, pair, row) for (scene, pair), row in zip(asked, found, strict=True)]))


def is_grounded(scene: Scene, pair: WorldPair, detections: Sequence[Detection]) -> bool:
    """Whether each phrase's best box overlaps that phrase's target rightly."""
    tops = [next((d for d in detections if d.phrase == phrase), None) for phrase in pair.phrases]
    return all(
        top is not None and is_right(box_iou(top.box, scene.things[target].box))
        for top, target in zip(tops, pair.targets, strict=True)
    )


def _recall_precision(
    asked: Sequence[tuple[Scene, WorldPair]], found: Sequence[list[Detection]]
) -> tuple[float, float]:
    """Over all things of all "counting" phrases; a thing may be found once."""
    hits = wanted = said = 0
    for (scene, pair), row in zip(asked, found, strict=True):
        kept = [d for d in row if d.score >= THRESHOLD]
        left = set(pair.targets)
        for detection in kept:
            hit = next((i for i in left if is_right(box_iou(detection.box, scene.things[i].box))), None)
            left.discard(hit)
        hits += len(pair.targets) - len(left)
        wanted += len(pair.targets)
        said += len(kept)
    return hits / max(1, wanted), hits / max(1, said)
