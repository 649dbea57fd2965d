"""Labels of one data set, each with one thing wrong."""

from __future__ import annotations

import importlib.util
import io
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from storage.parts.shards import commit_part
from storage.pixels import rle
from storage.records import Box, Candidate, Label, PartResult, Proposal, Scores, Status, sample_id

SIZE = 64


@pytest.fixture(scope="session")
def build() -> ModuleType:
    """The module `tests/storage/builders.py`."""
    path = Path(__file__).parents[2] / "storage" / "builders.py"
    spec = importlib.util.spec_from_file_location("storage_builders", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def picture(seed: int) -> bytes:
    """A smooth random picture as JPEG."""
    coarse_HWC = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse_HWC).resize((SIZE, SIZE), Image.BICUBIC).save(stream, format="JPEG", quality=95)
    return stream.getvalue()


def square(side: int, at: int = 8) -> np.ndarray:
    mask_HW = np.zeros((SIZE, SIZE), bool)
    mask_HW[at : at + side, at : at + side] = True
    return mask_HW


@pytest.fixture(scope="session")
def make(build):
    """make(name, ...) -> a sound label of a 12 pixel square, but for what is given."""

    def make_one(name: str, mask_HW=None, image=None, instruction="", human=None, held_out=False, box=None, **scores):
        seed = sum(map(ord, name))
        image = image or picture(seed)
        instruction = instruction or f"Find {name}."
        mask = rle.encode(square(12 + seed % 5) if mask_HW is None else mask_HW)
        extent = rle.bbox(mask) or Box(0, 0, 1, 1)
        label = build.make_label(seed)
        known = {"verification": 0.8, "p_yes_kept": 0.9, "p_yes_complement": 0.1, "stability": 0.95}
        return replace(
            label,
            sample=replace(
                label.sample, id=sample_id(image, instruction), image=image, instruction=instruction, source="photos",
                width=SIZE, height=SIZE, human_mask=None if human is None else rle.encode(human), held_out=held_out,
            ),
            candidates=(Candidate("dino@1", "thing", "target", box or extent, 0.8, chosen=True),),
            proposals=(Proposal("a@1", mask, 0.6), Proposal("b@1", mask, 0.4)),
            mask=mask,
            scores=Scores(**known | {"predicted_iou": 0.9} | scores),
            status=Status.ACCEPTED,
        )  # fmt: skip

    return make_one


@pytest.fixture
def commit(tmp_path, build):
    """commit(labels) -> data folder."""

    def commit_all(labels: list[Label], part: str = "part-00000") -> Path:
        commit_part(tmp_path / "data", PartResult(part, build.RECIPE, tuple(labels)))
        return tmp_path / "data"

    return commit_all
