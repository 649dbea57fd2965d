"""What is exported and imported again is what was labeled."""

import pytest

from storage.pixels import rle

TRIPS = {
    "coco": ("coco", {}, "coco", {"instances": "instances.json", "images": "images", "instruction": "{name}"}),
    "coco polygons": (
        "coco",
        {"masks": "polygons"},
        "coco",
        {"instances": "instances.json", "images": "images", "instruction": "{name}"},
    ),
    "labelme": ("labelme", {}, "labelme", {"folder": "images", "images": "images"}),
    "labelme polygons": ("labelme", {"masks": "polygon"}, "labelme", {"folder": "images", "images": "images"}),
    "label studio": ("label-studio", {}, "label-studio", {"tasks": "tasks.json", "predictions": "true"}),
    "label studio annotations": (
        "label-studio",
        {"results": "annotations", "prefix": ""},
        "label-studio",
        {"tasks": "tasks.json"},
    ),
    "parquet": ("hf", {}, "parquet", {"table": "data/train-00000.parquet"}),
    "datasets": ("hf", {"layout": "disk"}, "hf-dataset", {"folder": ""}),
    "webdataset": ("webdataset", {"samples": 3}, "webdataset", {"shards": ""}),
    "yolo": (
        "yolo-seg",
        {"category": "instruction", "tolerance": 0},
        "yolo",
        {"data": "data.yaml", "instruction": "{name}"},
    ),
    "ivm-mix": (
        "ivm-mix",
        {},
        "ivm-mix",
        {"meta": "meta.jsonl", "label": "mask", "images": "images", "masks": "masks"},
    ),
}
PATHS = {"instances", "folder", "tasks", "table", "meta", "shards", "data"}
WITHOUT_ABSENT = {"coco", "ivm-mix", "yolo-seg"}


@pytest.mark.parametrize("trip", TRIPS)
def test_masks_and_instructions_come_back_identical(trip, exported, imported, originals):
    name, options, source, needs = TRIPS[trip]
    out = exported(name, **options)
    needs = {key: str(out / value) if key in PATHS else value for key, value in needs.items()}
    found = imported(source, out, **needs)
    kept = {text for text, label in originals.items() if rle.area(label.mask) or name not in WITHOUT_ABSENT}
    assert set(found) == kept
    for text in kept:
        assert found[text].human_mask == originals[text].mask, text
        assert (found[text].width, found[text].height) == (64, 48)


@pytest.mark.parametrize("trip", ["parquet", "datasets", "label studio", "webdataset"])
def test_source_and_kind_come_back_too(trip, exported, imported):
    name, options, source, needs = TRIPS[trip]
    out = exported(name, **options)
    needs = {key: str(out / value) if key in PATHS else value for key, value in needs.items()}
    assert {(s.source, s.kind, s.difficulty) for s in imported(source, out, **needs).values()} == {
        ("toys", "one", "easy")
    }


def test_images_come_back_byte_for_byte_unless_exif_turned_them(exported, imported, originals):
    found = imported("hf-dataset", out := exported("hf", layout="disk"), folder=str(out))
    changed = {text for text, sample in found.items() if sample.image != originals[text].sample.image}
    assert changed == {"Find the dust."}


@pytest.mark.parametrize(("tolerance", "least"), [(0.5, 0.98), (1, 0.9), (2, 0.8)])
def test_coarser_polygons_still_overlap_as_documented(tolerance, least, exported, imported, originals):
    out = exported("coco", statuses=("accepted",), masks="polygons", tolerance=tolerance)
    options = {"instances": str(out / "instances.json"), "images": "images", "instruction": "{name}"}
    found = imported("coco", out, **options)
    for text in ("Find the ring.", "Find everything."):
        assert rle.iou(found[text].human_mask, originals[text].mask) >= least, text
