"""Photographs with human masks through the whole path: import, label, report, export, re-import, identical."""

import json

import pytest

from ivm_data.engine.labeling import label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.exports.run import Selection, export
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.report.build import write_report
from ivm_data.sources.foreign.common.manifest_writer import write_manifest
from ivm_data.sources.foreign.readers import read
from ivm_data.sources.manifest import plan, read_part
from storage.data_set import DataSet
from storage.pixels import rle
from storage.records import Sample, Status

INSTRUCTIONS = ("Pick up the plain object.", "Find all the small things.", "Show me the white object.") * 2
"""In words that the embedded rewriter knows, so that each pair ends as a label."""
PHOTOS = len(INSTRUCTIONS)
EVERY = tuple(map(str, Status))
IMPORTS = {
    "coco": ("coco", {"instances": "instances.json"}, {"images": "images", "instruction": "{name}"}),
    "hf": ("parquet", {"table": "data/train-00000.parquet"}, {}),
    "label-studio": ("label-studio", {"tasks": "tasks.json"}, {"predictions": "true"}),
}
"""Format -> source, its options that are paths within the export, its other options."""


@pytest.fixture(scope="module")
def labeled(photos_dev, tmp_path_factory):
    """A pair for each of six photographs; what cleans, and what a person decides, would be appended here."""
    folder = tmp_path_factory.mktemp("photos")
    lines = (photos_dev / "manifest.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in reversed(lines)]
    first = sorted(({row["image"]: row for row in rows if row["targets"]}).values(), key=lambda row: row["image"])
    asked = [row | {"instruction": said} for row, said in zip(first, INSTRUCTIONS, strict=False)]
    manifest = folder / "photos.jsonl"
    manifest.write_text("\n".join(map(json.dumps, asked)))
    run = prepare(manifest, folder / "data", recipe("demo"), part_size=4, image_root=photos_dev)
    label_manifest(run)
    return run.data


@pytest.mark.parametrize("human", [False, True], ids=["engine", "human"])
@pytest.mark.parametrize("name", IMPORTS)
def test_masks_instructions_and_images_come_back_identical(name, human, labeled, tmp_path):
    out = tmp_path / name
    export(name, labeled, out, Selection(statuses=EVERY, human=human), {})
    source, paths, options = IMPORTS[name]
    records = read(source, options | {key: str(out / value) for key, value in paths.items()})
    assert write_manifest(records, out / "back.jsonl", name).bad == 0
    samples = [sample for part in plan(out / "back.jsonl") for sample in read_part(part, out)]
    assert all(isinstance(sample, Sample) for sample in samples), samples
    labels = DataSet.open(labeled).labels()
    expected = {label.sample.id: label.sample.human_mask if human else label.mask for label in labels}
    assert len(expected) == PHOTOS
    assert {sample.id: sample.human_mask for sample in samples} == {
        key: mask for key, mask in expected.items() if rle.area(mask) or name != "coco"
    }


def test_the_report_of_the_photographs_is_written(labeled, tmp_path):
    page = write_report(labeled, tmp_path / "report.html").read_text()
    assert all(label.sample.instruction.split()[-1] in page for label in DataSet.open(labeled).labels())
