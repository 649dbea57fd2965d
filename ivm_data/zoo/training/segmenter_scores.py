"""What a trained segmenter scores on scenes that it never saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ivm_data.experts.segmenters.sam import Sam, SamConfig
from ivm_data.worlds.scene import IMAGE_SIZE, Scene
from ivm_data.worlds.split import Split
from ivm_data.zoo.training.scenes import load_scenes
from storage.records import Box

JITTER = 0.08
"""Standard deviation of a scored box's corners, as a share of its side."""


def score_segmenter(directory: Path, scenes: int, cache_dir: Path | None = None) -> dict[str, float]:
    """Mean IoU of box and point prompts on `val` (new scenes) and `test` (new combinations too), and the IoU head."""
    expert = Sam(SamConfig(str(directory)))
    splits: tuple[Split, ...] = ("val", "test")
    return {
        f"{split} {name}": value
        for split in splits
        for name, value in _score(expert, load_scenes(split, scenes, cache_dir)[:]).items()
    }


def _score(expert: Sam, scenes: list[Scene]) -> dict[str, float]:
    rng = np.random.default_rng(0)
    images = [scene.image_HWC for scene in scenes]
    by_box = expert.segment(images, [[jittered(t.box, rng) for t in scene.things] for scene in scenes])
    by_point = expert.segment_points(images, [_inner_points(scene, rng) for scene in scenes])
    background = expert.segment_points(images, [_background_points(scene, rng) for scene in scenes])
    truth = [np.stack([t.mask_HW for t in scene.things]) for scene in scenes]
    box_iou = np.concatenate([mask_iou(s.mask_NHW, t) for s, t in zip(by_box, truth, strict=True)])
    point_iou = np.concatenate([mask_iou(s.mask_NHW, t) for s, t in zip(by_point, truth, strict=True)])
    box_said = np.concatenate([s.predicted_iou_N for s in by_box])
    point_said = np.concatenate([s.predicted_iou_N for s in by_point])
    whole = np.array([thing.visible == 1 for scene in scenes for thing in scene.things])
    return {
        "box mIoU": float(box_iou.mean()),
        "box mIoU, nothing in front": float(box_iou[whole].mean()),
        "box mIoU, partly covered": float(box_iou[~whole].mean()),
        "box IoU > 0.5": float((box_iou > 0.5).mean()),
        "point mIoU": float(point_iou.mean()),
        "point IoU > 0.5": float((point_iou > 0.5).mean()),
        "box IoU head correlation": float(np.corrcoef(box_iou, box_said)[0, 1]),
        "point IoU head correlation": float(np.corrcoef(point_iou, point_said)[0, 1]),
        "background points with predicted IoU < 0.5": float(
            np.mean(np.concatenate([s.predicted_iou_N for s in background]) < 0.5)
        ),
        "thing points with predicted IoU > 0.5": float(np.mean(point_said > 0.5)),
    }


def mask_iou(first_NHW: np.ndarray, second_NHW: np.ndarray) -> np.ndarray:
    """IoU of each pair of masks."""
    union_N = (first_NHW | second_NHW).sum((1, 2))
    iou_N: np.ndarray = (first_NHW & second_NHW).sum((1, 2)) / np.maximum(union_N, 1)
    return iou_N


def jittered(box: Box, rng: np.random.Generator, share: float = JITTER) -> Box:
    """The box with each side moved by a normal deviate of `share` of the box's width or height."""
    width, height = box.x1 - box.x0, box.y1 - box.y0
    moved = np.array([box.x0, box.y0, box.x1, box.y1]) + rng.normal(size=4) * share * [width, height, width, height]
    return Box(*moved.clip(0, IMAGE_SIZE).tolist())


def _inner_points(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    return np.array([_draw(thing.mask_HW, rng) for thing in scene.things], np.float32)


def _background_points(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    background_HW = ~np.any([thing.mask_HW for thing in scene.things], axis=0)
    return np.array([_draw(background_HW, rng) for _ in range(4)], np.float32)


def _draw(inside_HW: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    y, x = divmod(int(rng.choice(np.flatnonzero(inside_HW))), inside_HW.shape[1])
    return x, y
