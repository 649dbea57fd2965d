"""The masks of the embedded grounder and segmenter together, with no other stage between them."""

import numpy as np

from ivm_data.experts.grounders.grounding_dino import GroundingDino, GroundingDinoConfig
from ivm_data.experts.segmenters.sam import Sam, SamConfig
from ivm_data.zoo.embedded import WEIGHTS
from ivm_data.zoo.training import scenes
from ivm_data.zoo.training.grounder_scores import ask
from ivm_data.zoo.training.scenes import load_scenes
from ivm_data.zoo.training.segmenter_scores import mask_iou


def best_boxes(phrases, detections):
    """The first box of each phrase that has one; detections come best first."""
    firsts = {hit.phrase: hit.box for hit in reversed(detections)}
    return [firsts[phrase] for phrase in phrases if phrase in firsts]


def mean_iou(kind, loaded):
    """Of the masks of the best box of each target phrase."""
    asked = ask(loaded, kind, np.random.default_rng(0))
    images = [scene.image_HWC for scene, _ in asked]
    grounder = GroundingDino(GroundingDinoConfig(str(WEIGHTS / "grounder"), box_threshold=0.05))
    found = grounder.ground(images, [pair.phrases for _, pair in asked])
    boxes = [best_boxes(pair.phrases, row) for (_, pair), row in zip(asked, found, strict=True)]
    cut = Sam(SamConfig(str(WEIGHTS / "segmenter"))).segment(images, boxes)
    true = [np.any([scene.things[i].mask_HW for i in pair.targets], axis=0) for scene, pair in asked]
    return mask_iou(np.stack([one.mask_NHW.any(axis=0) for one in cut]), np.stack(true)).mean()


def test_the_committed_experts_together_find_and_cut_out_most_targets(tmp_path, monkeypatch):
    monkeypatch.setattr(scenes, "CHUNK", 40)
    loaded = load_scenes("val", 40, tmp_path)[:]
    iou = {kind: mean_iou(kind, loaded) for kind in ("attribute", "two_targets", "relation")}
    assert iou["attribute"] > 0.6 and iou["two_targets"] > 0.6
    assert iou["relation"] < iou["attribute"]
