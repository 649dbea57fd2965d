"""Exports, read by the other tools' own readers, or where these do not install by what their sources do."""

import base64
import io
import json
import xml.etree.ElementTree as ElementTree

import cv2
import datasets
import numpy as np
import pytest
import webdataset
import yaml
from PIL import Image
from pycocotools.coco import COCO

from ivm_data.sources.foreign.tools import brush
from ivm_model import masking
from storage.pixels import rle
from storage.pixels.images import decode


def kept(originals):
    return {text: rle.decode(label.mask) for text, label in originals.items() if rle.area(label.mask)}


@pytest.mark.parametrize(
    ("name", "document", "images", "options"),
    [
        ("coco", "instances.json", "images", {}),
        ("coco", "instances.json", "images", {"masks": "polygons"}),
        ("fiftyone", "labels.json", "data", {}),
    ],
)
def test_pycocotools_reads_masks_boxes_and_extra_keys(name, document, images, options, exported, originals, capsys):
    out = exported(name, **options)
    coco = COCO(out / document)
    rows = {row["instruction"]: row for row in coco.loadAnns(coco.getAnnIds())}
    assert set(rows) == set(kept(originals))
    for text, mask_HW in kept(originals).items():
        assert (coco.annToMask(rows[text]) == mask_HW).all(), text
        assert rows[text]["area"] == mask_HW.sum()
        x, y, width, height = map(int, rows[text]["bbox"])
        assert mask_HW[y : y + height, x : x + width].sum() == mask_HW.sum()
        quality = originals[text].scores.quality
        assert rows[text]["quality"] == (None if np.isnan(quality) else quality)
    for image in coco.loadImgs(coco.getImgIds()):
        with Image.open(out / images / image["file_name"]) as opened:
            assert opened.size == (image["width"], image["height"])
    absent = json.loads((out / document).read_text())["no_target"]
    assert {row["instruction"] for row in absent} == set(originals) - set(kept(originals))


def test_fiftyone_cuts_the_instance_mask_out_by_the_box_and_labels_it_by_the_phrase(exported, originals, capsys):
    """As `_coco_segmentation_to_mask` of fiftyone/utils/coco.py: decoded, then cut at the rounded box."""
    coco = COCO(exported("fiftyone") / "labels.json")
    for row in coco.loadAnns(coco.getAnnIds()):
        x, y, width, height = row["bbox"]
        cut_HW = coco.annToMask(row)[round(y) : round(y + height), round(x) : round(x + width)]
        assert cut_HW.sum() == row["area"]
        assert coco.cats[row["category_id"]]["name"] == "red ring and cup"


def test_yolo_polygons_fill_to_nearly_the_masks(exported, originals):
    out = exported("yolo-seg", category="instruction", tolerance=0)
    config = yaml.safe_load((out / "data.yaml").read_text())
    found = {}
    for path in out.glob("labels/*/*.txt"):
        image = next((out / "images" / path.parent.name).glob(f"{path.stem}.*"))
        assert Image.open(image).size == (64, 48)
        for line in path.read_text().splitlines():
            number, *points = line.split()
            # Ultralytics scales to pixels in float32, truncates, and fills with the edge (polygon2mask).
            point_N2 = (np.array(points, np.float32).reshape(-1, 2) * np.float32([64, 48])).astype(np.int32)
            filled_HW = cv2.fillPoly(np.zeros((48, 64), np.uint8), [point_N2], 1).astype(bool)
            found[config["names"][int(number)]] = filled_HW
    masks = kept(originals)
    assert set(found) == set(masks)
    assert all((found[text] | ~mask_HW).all() for text, mask_HW in masks.items())
    ring_HW = masks["Find the ring."]
    assert (found["Find the ring."] & ring_HW).sum() / (found["Find the ring."] | ring_HW).sum() > 0.85


def test_yolo_images_lie_in_the_split_of_their_first_pair_and_backgrounds_have_empty_labels(exported):
    out = exported("yolo-seg")
    config = yaml.safe_load((out / "data.yaml").read_text())
    assert config == {"train": "images/train", "val": "images/val", "names": {0: "red ring and cup"}}
    lines = {
        split: sorted(len(path.read_text().splitlines()) for path in (out / "labels" / split).iterdir())
        for split in ("train", "val")
    }
    assert lines == {"train": [0, 1, 2], "val": [3]}


def test_datasets_reads_parquet_and_disk_with_pictures_and_masks(exported, originals, tmp_path):
    parquet = datasets.load_dataset(str(exported("hf")), split="train", cache_dir=tmp_path / "cache")
    disk = datasets.load_from_disk(str(exported("hf", layout="disk")))
    for rows in (parquet, disk):
        assert isinstance(rows.features["image"], datasets.Image)
        assert len(rows) == len(originals)
        for row in rows:
            label = originals[row["instruction"]]
            assert (np.asarray(row["image"].convert("RGB")) == decode(label.sample.image)).all()
            assert ((np.asarray(row["mask_image"]) > 0) == rle.decode(label.mask)).all()
            assert (row["status"], row["held_out"]) == (label.status.value, label.sample.held_out)
            assert len(row["targets"]) == (rle.area(label.mask) > 0)


def test_parquet_is_split_into_files_that_together_hold_every_row(exported, monkeypatch):
    monkeypatch.setattr("ivm_data.exports.hugging_face.GROUP", 2)
    files = sorted((exported("hf", rows_per_file=4) / "data").iterdir())
    rows = [datasets.Dataset.from_parquet(str(path), keep_in_memory=True).num_rows for path in files]
    assert rows == [4, 4]


def test_webdataset_reads_every_shard_with_pictures_masks_and_facts(exported, originals):
    shards = sorted(exported("webdataset", samples=3).glob("*.tar"))
    assert len(shards) == 3
    samples = list(webdataset.WebDataset([str(path) for path in shards], shardshuffle=False).decode("rgb8"))
    assert len(samples) == len(originals)
    for sample in samples:
        label = originals[sample["json"]["instruction"]]
        image_HWC = sample.get("jpg", sample.get("png"))
        assert sample["__key__"] == label.sample.id
        assert (image_HWC == decode(label.sample.image)).all()
        assert ((sample["mask.png"][..., 0] > 0) == rle.decode(label.mask)).all()
        assert rle.from_counts(**sample["json"]["mask_rle"]) == label.mask


def as_the_paper_reads(path):
    """IVM's reader in words: to gray, times 1.5 cut at 255, then stretched to [0, 1]; a flat mask over its maximum."""
    gray_HW = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2GRAY)
    bright_HW = np.minimum(np.rint(gray_HW * 1.5), 255)
    low, high = bright_HW.min(), bright_HW.max()
    return (bright_HW - low) / (high - low) if high > low else bright_HW / high


@pytest.mark.parametrize("soft", [False, True])
def test_the_papers_arithmetic_gives_back_our_masks_and_votes(soft, exported, originals):
    out = exported("ivm-mix", soft=soft)
    rows = [json.loads(line) for line in (out / "meta.jsonl").read_text().splitlines()]
    assert {row["instruction"][0] for row in rows} == set(kept(originals))
    for row in rows:
        label = originals[row["instruction"][0]]
        heatmap_HW = as_the_paper_reads(out / "masks" / f"mask_{row['uuid']}.jpg")
        assert (out / "images" / row["image"]).is_file()
        assert np.isfinite(heatmap_HW).all()
        assert ((heatmap_HW > 0.5) == rle.decode(label.mask)).mean() > 0.99
        if soft:
            vote_HW = rle.vote([p.mask for p in label.proposals], [p.score for p in label.proposals])
            assert np.abs(heatmap_HW - vote_HW).mean() < 0.03
        else:
            assert ((heatmap_HW > 0.5) == rle.decode(label.mask)).all()


@pytest.mark.parametrize("how", masking.HOWS)
def test_llava_conversations_show_what_masking_shows(how, exported, originals):
    out = exported("llava", how=how)
    conversations = json.loads((out / "conversations.json").read_text())
    assert len(conversations) == len(originals)
    for conversation in conversations:
        (turn,) = conversation["conversations"]
        text = turn["value"].removeprefix("<image>\n")
        label = originals[text]
        mask_HW = rle.decode(label.mask).astype(np.float32)
        shown = masking.apply(decode(label.sample.image), mask_HW, how)
        assert (np.asarray(Image.open(out / conversation["image"])) == shown.image_HWC).all()
        assert shown.found == bool(rle.area(label.mask))


def test_labelme_pastes_masks_at_their_first_pixel_and_flags_what_is_absent(exported, originals):
    """As LabelMe does it: the mask fills the box between its two points, both of them included."""
    out = exported("labelme") / "images"
    documents = [json.loads(path.read_text()) for path in out.glob("*.json")]
    assert all((out / document["imagePath"]).is_file() for document in documents)
    flags = {flag for document in documents for flag in document["flags"]}
    assert flags == {"no target: Find the {unicorn}.", "no target: Find nothing here."}
    for shape in [shape for document in documents for shape in document["shapes"]]:
        (x0, y0), (x1, y1) = np.array(shape["points"]).astype(int)
        part_HW = np.asarray(Image.open(io.BytesIO(base64.b64decode(shape["mask"]))))
        mask_HW = np.zeros((48, 64), bool)
        mask_HW[y0 : y1 + 1, x0 : x1 + 1] = part_HW.astype(bool)
        assert (mask_HW == rle.decode(originals[shape["label"]].mask)).all()


def test_label_studio_tasks_name_served_images_and_tags_of_the_configuration(exported, originals):
    out = exported("label-studio")
    config = ElementTree.parse(out / "config.xml").getroot()
    tags = {tag.get("name"): tag for tag in config.iter() if tag.get("name")}
    labels = {label.get("value") for label in config.iter("Label")}
    tasks = json.loads((out / "tasks.json").read_text())
    assert len(tasks) == len(originals)
    for task in tasks:
        assert (out / task["data"]["image"].removeprefix("/data/local-files/?d=")).is_file()
        (prediction,) = task["predictions"]
        label = originals[task["data"]["instruction"]]
        assert prediction.get("score", 0.0) == np.nan_to_num(label.scores.quality)
        assert bool(prediction["result"]) == bool(rle.area(label.mask))
        for result in prediction["result"]:
            assert tags[result["from_name"]].get("toName") == result["to_name"] == tags["image"].get("name")
            assert set(result["value"]["brushlabels"]) <= labels
            strokes_HW = brush.decode(bytes(result["value"]["rle"]), 48, 64)
            assert ((strokes_HW > 0) == rle.decode(label.mask)).all()
