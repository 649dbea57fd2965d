"""Small copies of published data sets: real files in the owners' formats, over real images."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivm_data.sources.foreign.common.foreign_reader import BadRecord, ForeignPair, LeftOut
from ivm_data.sources.foreign.common.manifest_writer import write_manifest
from ivm_data.sources.foreign.readers import read
from ivm_data.sources.manifest import plan, read_part

WIDTH, HEIGHT = 64, 48


@pytest.fixture
def write(tmp_path):
    """Writes a file below `tmp_path`: JSON from values, text as it is; returns its path as a string."""

    def write(name: str, content: object) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write


@pytest.fixture
def draw(tmp_path):
    """Writes noise images of 64 x 48 pixels below `tmp_path / "images"`, the image root."""

    def draw(*names: str) -> Path:
        for seed, name in enumerate(names):
            path = tmp_path / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels_HWC = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
            Image.fromarray(pixels_HWC).save(path)
        return tmp_path / "images"

    return draw


@pytest.fixture
def records():
    """The pairs and the bad records of a source."""

    def records(name: str, **options: object) -> tuple[list[ForeignPair], list[BadRecord]]:
        found = list(read(name, options))
        return [r for r in found if isinstance(r, ForeignPair)], [r for r in found if isinstance(r, BadRecord)]

    return records


@pytest.fixture
def left_out():
    """What a source leaves out, by kind."""

    def left_out(name: str, **options: object) -> dict[str, int]:
        return dict(Counter(record.kind for record in read(name, options) if isinstance(record, LeftOut)))

    return left_out


@pytest.fixture
def ingest(tmp_path):
    """A source through its manifest to samples and rejections."""

    def ingest(name: str, root: Path | None = None, **options: object) -> list:
        manifest = tmp_path / "out" / "manifest.jsonl"
        write_manifest(read(name, options), manifest, name)
        return [outcome for part in plan(manifest) for outcome in read_part(part, root)]

    return ingest


@pytest.fixture
def instances(write) -> str:
    """COCO's `instances_*.json`, with a polygon, two polygons, and a crowd as plain run lengths."""
    crowd = np.zeros((HEIGHT, WIDTH), np.uint8)
    crowd[10:20, 30:50] = 1
    runs = np.diff(np.flatnonzero(np.diff(crowd.ravel(order="F"), prepend=0, append=1)), prepend=0).tolist()
    return write(
        "instances.json",
        {
            "info": {"description": "COCO 2014 Dataset", "url": "http://cocodataset.org", "version": "1.0"},
            "images": [
                {"license": 5, "file_name": name, "height": HEIGHT, "width": WIDTH, "id": number}
                for number, name in ((57870, "COCO_train2014_000000057870.jpg"), (9, "COCO_train2014_000000000009.jpg"))
            ],
            "licenses": [{"url": "http://creativecommons.org/licenses/by/2.0/", "id": 4, "name": "Attribution"}],
            "annotations": [
                _annotation(11, 57870, 18, [[4.0, 4.0, 20.5, 4.0, 20.5, 18.25, 4.0, 18.25]]),
                _annotation(12, 9, 18, [[1.0, 1.0, 9.0, 1.0, 9.0, 9.0]]),
                _annotation(13, 57870, 1, [[30, 30, 40, 30, 35, 40], [50, 30, 60, 30, 55, 40]]),
                {**_annotation(14, 57870, 18, {"counts": runs, "size": [HEIGHT, WIDTH]}), "iscrowd": 1},
            ],
            "categories": [
                {"supercategory": "person", "id": 1, "name": "person"},
                {"supercategory": "animal", "id": 18, "name": "dog"},
            ],
        },
    )


def _annotation(number: int, image: int, category: int, segmentation: object) -> dict:
    return {
        "segmentation": segmentation,
        "area": 200.5,
        "iscrowd": 0,
        "image_id": image,
        "bbox": [4.0, 4.0, 16.5, 14.25],
        "category_id": category,
        "id": number,
    }
