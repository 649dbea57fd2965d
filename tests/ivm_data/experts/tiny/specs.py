"""What a recipe would hold of each expert in miniature."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ivm_data.experts.registry import ExpertSpec
from ivm_data.zoo.embedded import WEIGHTS

from .clip_models import clip, clipseg
from .grounders import EDGES, florence2, groundingdino, kosmos2, mm_grounding_dino, owlv2
from .lmms import qwen2_5_vl
from .sam2_models import edgetam, edgetam_video, sam2, sam2_video
from .sam3_models import sam3, sam3_lite_text, sam3_tracker, sam3_tracker_video
from .sam_models import ivm, segment_anything


def _saved(name: str, save: Callable[[Path], Any], **options: Any) -> Callable[[Path], ExpertSpec]:
    def build(folder: Path) -> ExpertSpec:
        save(folder)
        return ExpertSpec(name, {"path": str(folder), **options})

    return build


def _copied(name: str, embedded: str, **options: Any) -> Callable[[Path], ExpertSpec]:
    return _saved(name, lambda folder: shutil.copytree(WEIGHTS / embedded, folder, dirs_exist_ok=True), **options)


def _native_grounding_dino(folder: Path) -> ExpertSpec:
    groundingdino(folder)
    files = {"path": folder / "groundingdino_small.pth", "architecture": folder / "small.py"}
    options = {name: str(file) for name, file in {**files, "text_encoder": folder / "text"}.items()}
    return ExpertSpec("groundingdino", {**options, **EDGES, "box_threshold": 0.0})


def _native_sam(folder: Path) -> ExpertSpec:
    segment_anything(folder)
    return ExpertSpec("segment-anything", {"path": str(folder / "sam_small.pth"), "architecture": "small"})


def _lmm_boxes(folder: Path) -> ExpertSpec:
    qwen2_5_vl(folder, '[{"bbox_2d": [56, 84, 280, 336], "label": "thing"}]')
    lmm = ExpertSpec("hf-lmm", {"path": str(folder), "instructed": True})
    return ExpertSpec("lmm-boxes", {"format": "qwen2.5", "answer_tokens": 8}, {"answerer": lmm})


def _lmm_points(folder: Path) -> ExpertSpec:
    qwen2_5_vl(folder, '<points coords="1 1 300 400 2 700 500">things</points>')
    lmm = ExpertSpec("hf-lmm", {"path": str(folder), "instructed": True})
    parts = {"answerer": lmm, "segmenter": _copied("sam", "segmenter")(folder / "sam")}
    return ExpertSpec("lmm-points", {"answer_tokens": 8}, parts)


def _everything(folder: Path) -> ExpertSpec:
    parts = {"segmenter": ("sam", "segmenter"), "verifier": ("hf-lmm", "lmm")}
    uses = {role: _copied(*part)(folder / role) for role, part in parts.items()}
    return ExpertSpec("everything", {"grid": 4, "max_masks": 4}, uses)


def _sam_clip(folder: Path) -> ExpertSpec:
    clip(folder)
    masks = {"grid": 4, "max_masks": 4, "min_predicted_iou": 0.0, "min_stability": 0.0, "threshold": 0.01}
    return ExpertSpec(
        "sam-clip", {"path": str(folder), **masks}, {"segmenter": _copied("sam", "segmenter")(folder / "sam")}
    )


SPECS: dict[str, Callable[[Path], ExpertSpec]] = {
    "groundingdino": _native_grounding_dino,
    "grounding-dino": _copied("grounding-dino", "grounder", box_threshold=0.0),
    "mm-grounding-dino": _saved("mm-grounding-dino", mm_grounding_dino, box_threshold=0.0),
    "owlv2": _saved("owlv2", owlv2, box_threshold=0.0),
    "florence2": _saved("florence2", florence2, answer_tokens=8),
    "kosmos-2": _saved("kosmos-2", kosmos2, answer_tokens=8),
    "lmm-boxes": _lmm_boxes,
    "segment-anything": _native_sam,
    "sam": _copied("sam", "segmenter"),
    "sam2": _saved("sam2", sam2),
    "sam2-video": _saved("sam2-video", sam2_video),
    "sam3-tracker": _saved("sam3-tracker", sam3_tracker),
    "sam3-tracker-video": _saved("sam3-tracker-video", sam3_tracker_video),
    "edgetam-video": _saved("edgetam-video", edgetam_video),
    "edgetam": _saved("edgetam", edgetam),
    "hf-lmm": _copied("hf-lmm", "lmm"),
    "everything": _everything,
    "lmm-points": _lmm_points,
    "clipseg": _saved("clipseg", clipseg),
    "sam-clip": _sam_clip,
    "sam3": _saved("sam3", sam3, threshold=0.0),
    "sam3-lite-text": _saved("sam3-lite-text", sam3_lite_text, threshold=0.0),
    "ivm": _saved("ivm", ivm),
}
"""Registry name -> save a checkpoint into a folder, and the spec that a recipe would hold.

All but "openai" and "flow", which have none. "groundingdino" needs `use_tiny_swin`, "segment-anything" `use_small_sam`.
"""
