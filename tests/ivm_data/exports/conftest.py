"""A small labeled data set with what is hard to export: holes, parts, a full frame, absent targets, a turned image.

Tests have no packages to import `lerobot_sets` from, so they import it by its own name.
"""

import importlib.util
import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivm_data.exports.run import Selection, export
from ivm_data.sources.foreign.common.manifest_writer import write_manifest
from ivm_data.sources.foreign.readers import read
from ivm_data.sources.manifest import plan, read_part
from storage.parts.shards import commit_part
from storage.pixels import rle
from storage.records import Label, Lineage, PartResult, Proposal, Sample, Scores, Status, sample_id
from storage.request import Request

HEIGHT, WIDTH = 48, 64
RECIPE = "3f9c0a51d2e7"
ORIENTATION = 0x0112
EVERY = tuple(map(str, Status))

_SPEC = importlib.util.spec_from_file_location("lerobot_sets", Path(__file__).with_name("lerobot_sets.py"))
_LEROBOT_SETS = importlib.util.module_from_spec(_SPEC)
sys.modules["lerobot_sets"] = _LEROBOT_SETS
_SPEC.loader.exec_module(_LEROBOT_SETS)


def photo(seed, orientation=1, form="JPEG"):
    pixels_HWC = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    image = Image.fromarray(pixels_HWC if orientation == 1 else np.rot90(pixels_HWC).copy())
    exif = image.getexif()
    exif[ORIENTATION] = orientation
    stream = io.BytesIO()
    image.save(stream, form, **({} if orientation == 1 else {"exif": exif}))
    return stream.getvalue()


def box_mask(y0, x0, y1, x1):
    mask_HW = np.zeros((HEIGHT, WIDTH), bool)
    mask_HW[y0:y1, x0:x1] = True
    return mask_HW


def label(image, instruction, mask_HW, status=Status.ACCEPTED, quality=0.9, human_HW=None, held_out=False):
    mask = rle.encode(mask_HW)
    proposals = (Proposal("a@1", mask, 0.75), Proposal("b@1", rle.encode(np.roll(mask_HW, 3, axis=1)), 0.25))
    sample = Sample(
        id=sample_id(image, instruction),
        image=image,
        image_uri="x.jpg",
        width=WIDTH,
        height=HEIGHT,
        instruction=instruction,
        source="toys",
        kind="one",
        difficulty="easy",
        human_mask=None if human_HW is None else rle.encode(human_HW),
        held_out=held_out,
    )
    return Label(
        sample=sample,
        request=Request.of(("red ring", "cup")),
        candidates=(),
        proposals=proposals if mask_HW.any() else (),
        mask=mask,
        scores=Scores(quality=quality),
        status=status,
        reason="ok",
        lineage=Lineage(RECIPE, (("grounder", "a@1"),)),
    )


def labels():
    ring_HW = box_mask(5, 6, 40, 50) & ~box_mask(10, 12, 20, 30) & ~box_mask(24, 12, 30, 20)
    parts_HW = box_mask(2, 2, 10, 12) | box_mask(10, 12, 20, 20) | box_mask(30, 40, 47, 63)
    noise_HW = np.random.default_rng(9).random((HEIGHT, WIDTH)) < 0.3
    one, two = photo(1), photo(2, form="PNG")
    return [
        label(one, "Find the ring.", ring_HW),
        label(one, "Hebe die rote Tasse „links“ auf 🙂", parts_HW, quality=0.95),
        label(one, "Find the {unicorn}.", box_mask(0, 0, 0, 0), Status.NO_TARGET),
        label(two, "Find everything.", box_mask(0, 0, HEIGHT, WIDTH), held_out=True),
        label(photo(3, orientation=6), "Find the dust.", noise_HW, human_HW=ring_HW),
        label(photo(4), "Find nothing here.", box_mask(0, 0, 0, 0), Status.NO_TARGET),
        label(two, "Find one pixel.", box_mask(7, 9, 8, 10), Status.REVIEW, quality=0.4),
        label(two, "Find a line.", box_mask(7, 9, 8, 60), Status.REJECTED, quality=float("nan")),
    ]


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Eight labels in two parts: four accepted, two without a target, one to review, one rejected without quality."""
    folder, found = tmp_path_factory.mktemp("exports") / "data", labels()
    for number, outcomes in enumerate((found[:5], found[5:])):
        commit_part(folder, PartResult(f"part-{number:05d}", RECIPE, tuple(outcomes)))
    return folder


@pytest.fixture
def exported(data, tmp_path):
    """Exports every label, or those of some statuses, to a folder named after the format."""

    def exported(name, statuses=EVERY, **options):
        export(name, data, tmp_path / name, Selection(statuses=statuses), options)
        return tmp_path / name

    return exported


@pytest.fixture
def imported(tmp_path):
    """The samples of a source by instruction; every record of it must be usable."""

    def imported(name, root, **options):
        manifest = root / "back.jsonl"
        assert write_manifest(read(name, options), manifest, name).bad == 0
        samples = [sample for part in plan(manifest) for sample in read_part(part, root)]
        assert all(isinstance(sample, Sample) for sample in samples), samples
        return {sample.instruction: sample for sample in samples}

    return imported


@pytest.fixture
def originals():
    """The labels by instruction."""
    return {label.sample.instruction: label for label in labels()}


@pytest.fixture
def trip(tmp_path):
    """Writes a LeRobot set, labels it and exports it; gives the export's folder and its counts."""

    def trip(version="v2.1", codec="libx264", every=1, without=(), by="address", **options):
        source = tmp_path / "sets" / "toy"
        if not source.exists():
            _LEROBOT_SETS.write_set(source, version, codec)
            _LEROBOT_SETS.label(source, tmp_path / "data", every, without, by)
        options = {"folder": str(source), "images": "sets/toy"} | options
        counts = export("lerobot", tmp_path / "data", tmp_path / "out", Selection(), options)
        return tmp_path / "out", counts

    return trip
