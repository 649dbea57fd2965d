"""How good are the masks of the embedded grounder and segmenter together, with no other stage between them?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ivm_data.experts.common.protocols import Detection
from ivm_data.experts.grounders.grounding_dino import GroundingDino, GroundingDinoConfig
from ivm_data.experts.segmenters.sam import Sam, SamConfig
from ivm_data.worlds.grammar import WorldPair
from ivm_data.worlds.scene import Scene
from ivm_data.worlds.split import Split
from ivm_data.zoo.training.grounder_scores import ask
from ivm_data.zoo.training.scenes import load_scenes
from ivm_data.zoo.training.segmenter_scores import mask_iou

KINDS = ("attribute", "two_targets", "relation")


def score_together(
    grounder: Path, segmenter: Path, scenes: int, split: Split = "val", cache_dir: Path | None = None
) -> dict[str, float]:
    """mIoU, and the share of IoU > 0.5, of the masks of the top box of each target phrase, by kind of instruction."""
    loaded = load_scenes(split, scenes, cache_dir)[:]
    finder = GroundingDino(GroundingDinoConfig(str(grounder), box_threshold=0.05))
    cutter = Sam(SamConfig(str(segmenter)))
    scores: dict[str, float] = {}
    for kind in KINDS:
        ious = _ious(finder, cutter, ask(loaded, kind, np.random.default_rng(0)))
        scores |= {f"{kind} mIoU": float(ious.mean()), f"{kind} IoU > 0.5": float((ious > 0.5).mean())}
    return scores


def _ious(finder: GroundingDino, cutter: Sam, asked: Sequence[tuple[Scene, WorldPair]]) -> np.ndarray:
    images = [scene.image_HWC for scene, _ in asked]
    found = finder.ground(images, [pair.phrases for _, pair in asked])
    boxes = [[top.box for top in best(pair.phrases, row)] for (_, pair), row in zip(asked, found, strict=True)]
    said = [s.mask_NHW.any(axis=0) for s in cutter.segment(images, boxes)]
    true = [np.any([scene.things[i].mask_HW for i in pair.targets], axis=0) for scene, pair in asked]
    return mask_iou(np.stack(said), np.stack(true))


def best(phrases: Sequence[str], detections: Sequence[Detection]) -> list[Detection]:
    """The first detection of each phrase that has one; detections come best first."""
    tops = (next((d for d in detections if d.phrase == phrase), None) for phrase in phrases)
    return [top for top in tops if top is not None]
