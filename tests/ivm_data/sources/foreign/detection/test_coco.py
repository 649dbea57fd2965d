import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as oracle
from pycocotools.coco import COCO

from storage.errors import ConfigError
from storage.pixels import rle


def test_each_category_of_an_image_is_an_instruction_with_all_its_instances(records, instances):
    pairs, bad = records("coco", instances=instances, images="train2014", held_out="true")
    assert not bad
    assert [(pair.image, pair.instruction, len(pair.targets)) for pair in pairs] == [
        ("train2014/COCO_train2014_000000000009.jpg", "Find every dog.", 1),
        ("train2014/COCO_train2014_000000057870.jpg", "Find every person.", 1),
        ("train2014/COCO_train2014_000000057870.jpg", "Find every dog.", 2),
    ]
    assert {(pair.kind, pair.held_out) for pair in pairs} == {("all", True)}


def test_the_masks_are_those_of_pycocotools(ingest, instances, draw):
    root = draw("COCO_train2014_000000000009.jpg", "COCO_train2014_000000057870.jpg")
    theirs = COCO(instances)
    samples = ingest("coco", root, instances=instances)
    assert len(samples) == 3
    for sample in samples:
        (image,) = [i for i in theirs.imgs.values() if i["file_name"] == sample.image_uri]
        (category,) = theirs.getCatIds(catNms=[sample.instruction.split()[-1].rstrip(".")])
        marked = [theirs.annToRLE(a) for a in theirs.imgToAnns[image["id"]] if a["category_id"] == category]
        assert sample.human_mask.counts == oracle.merge(marked)["counts"]


def test_an_annotation_without_a_segmentation_gives_its_box(write, instances, ingest, draw):
    document = json.loads(Path(instances).read_text())
    document["annotations"] = [{**document["annotations"][1], "segmentation": []}]
    (sample,) = ingest("coco", draw("COCO_train2014_000000000009.jpg"), instances=write("boxes.json", document))
    assert sample.human_mask is None
    assert [(b.x0, b.y0, b.x1, b.y1) for b in sample.human_boxes] == [(4, 4, 20.5, 18.25)]


def test_records_that_do_not_fit_together_are_bad_and_the_others_go_on(records, write, instances):
    document = json.loads(Path(instances).read_text())
    good = document["annotations"][0]
    document["annotations"] += [
        {**good, "id": 20, "image_id": 404},
        {**good, "id": 21, "category_id": 404},
        {**good, "id": 22, "image_id": 2**80},
        {"id": 23},
        {**good, "category_id": 1},
        "text",
    ]
    document["images"].append({"id": 7})
    pairs, bad = records("coco", instances=write("broken.json", document))
    assert len(pairs) == 3
    assert [record.where.partition(": ")[2] for record in bad] == [
        "images[2]", "annotations[6]", "annotations[7]", "annotations[9]",
        "image 404, category 18", "image 57870, category 404",
    ]  # fmt: skip


@pytest.mark.parametrize("document", [[], {}, {"images": [], "annotations": [], "categories": []}, [{"image_id": 1}]])
def test_a_file_in_another_format_is_a_configuration_error(records, write, document):
    with pytest.raises(ConfigError, match="no COCO instances file"):
        records("coco", instances=write("other.json", document))


@pytest.mark.parametrize("template", ["Find it.", "Find {thing}.", "Find {name} {", "{name.x}"])
def test_an_instruction_must_hold_the_name_alone(records, instances, template):
    with pytest.raises(ConfigError, match="instruction"):
        records("coco", instances=instances, instruction=template)


def test_a_polygon_that_would_take_all_memory_is_a_rejection(write, instances, ingest, draw):
    document = json.loads(Path(instances).read_text())
    far = np.tile([0.0, 0.0, 1e12, 1e12], 3).tolist()
    long = np.tile([0.0, 0.0, 60.0, 40.0], 20_000).tolist()
    document["annotations"] = [
        {**document["annotations"][0], "segmentation": [far]},
        {**document["annotations"][2], "segmentation": [long]},
    ]
    root = draw("COCO_train2014_000000057870.jpg")
    outcomes = ingest("coco", root, instances=write("hostile.json", document))
    assert [outcome.reason for outcome in outcomes] == ["bad_human_mask"] * 2


def test_every_target_is_united_in_the_mask(ingest, instances, draw):
    root = draw("COCO_train2014_000000000009.jpg", "COCO_train2014_000000057870.jpg")
    dogs = ingest("coco", root, instances=instances)[2]
    mask_HW = rle.decode(dogs.human_mask)
    assert mask_HW[10:20, 30:50].all() and mask_HW[5:18, 5:20].all()
