"""The experts that `benchmarks.gpu` measures: at full size with random weights, or small ones that a CPU runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks import full_size, plain_loops
from benchmarks.plain_loops import BOXES, PHRASES, QUESTIONS, Variant
from ivm_data.experts.common.batches import Batches
from ivm_data.experts.registry import EMBEDDED, ExpertSpec
from storage.request import Request

Size = Literal["full", "tiny"]


@dataclass(frozen=True)
class GpuCase:
    """An expert to measure.

    Attributes:
        save: writes its checkpoint into a folder; None where it lies in `folder`.
        variants: folder, device and images -> the plain loop and ours, by name; the plain one first.
        expert: its name in the registry.
        batches: attribute that says how many pass through the model together.
        ask: a loaded expert, asked four things of each image.
        folder: of the checkpoint; None for one named after the case.
    """

    variants: Callable[[Path, str, Sequence[np.ndarray]], dict[str, Variant]]
    expert: str
    batches: str
    ask: Callable[[Any, Sequence[np.ndarray]], Any]
    save: Callable[[Path], None] | None = None
    folder: Path | None = None

    def at(self, name: str, work: Path) -> Path:
        """The checkpoint's folder, written there if need be."""
        folder = self.folder or work / name.replace(" ", "-")
        if self.save and not folder.exists():
            folder.mkdir(parents=True)
            self.save(folder)
        return folder

    def spec(self, folder: Path, device: str, dtype: str = "auto") -> ExpertSpec:
        """As a recipe names it."""
        return ExpertSpec(self.expert, {"path": str(folder), "device": device, "dtype": dtype})

    def batches_of(self, expert: Any) -> Batches:
        """The loaded expert's own batch size."""
        found: Batches = getattr(expert, self.batches)
        return found


def cases(size: Size, device: str) -> dict[str, GpuCase]:
    """By name, the cheapest first."""
    if size == "tiny":
        return {
            "CLIPSeg": clipseg(partial(full_size.save_clipseg, small=True)),
            "SAM": sam(None, EMBEDDED / "segmenter"),
            "Grounding DINO": grounding_dino(None, EMBEDDED / "grounder"),
            "LLaVA": llava(None, EMBEDDED / "lmm"),
        }
    return {
        "CLIPSeg": clipseg(full_size.save_clipseg),
        "SAM ViT-B": sam(partial(full_size.save_sam, architecture="vit-b")),
        "Grounding DINO Swin-T": grounding_dino(full_size.save_grounding_dino),
        "SAM ViT-H": sam(partial(full_size.save_sam, architecture="vit-h")),
        "LLaVA-1.5-7B": llava(partial(full_size.save_llava, device=device)),
    }


def sam(save: Callable[[Path], None] | None, folder: Path | None = None) -> GpuCase:
    return GpuCase(
        plain_loops.sam, "sam", "images", lambda expert, images: expert.segment(images, [BOXES] * len(images)),
        save, folder,
    )  # fmt: skip


def grounding_dino(save: Callable[[Path], None] | None, folder: Path | None = None) -> GpuCase:
    def ask(expert: Any, images: Sequence[np.ndarray]) -> Any:
        return expert.ground(_each(images), [[phrase] for _ in images for phrase in PHRASES])

    return GpuCase(plain_loops.grounding_dino, "grounding-dino", "_batches", ask, save, folder)


def clipseg(save: Callable[[Path], None]) -> GpuCase:
    def ask(expert: Any, images: Sequence[np.ndarray]) -> Any:
        return expert.propose(_each(images), [Request.of((phrase,)) for _ in images for phrase in PHRASES])

    return GpuCase(plain_loops.clipseg, "clipseg", "_images", ask, save)


def llava(save: Callable[[Path], None] | None, folder: Path | None = None) -> GpuCase:
    def ask(expert: Any, images: Sequence[np.ndarray]) -> Any:
        return expert.p_yes(_each(images), list(QUESTIONS) * len(images))

    return GpuCase(plain_loops.llava, "hf-lmm", "_batches", ask, save, folder)


def _each(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Every image once for each of four questions."""
    return [image for image in images for _ in PHRASES]
