import json
from pathlib import Path

import numpy as np
import pytest

from storage.pixels import rle
from storage.records import Sample

MASK = np.zeros((48, 64), bool)
MASK[5:9, 5:20] = True


def image(number, phrase, **more):
    return {
        "id": number, "file_name": "1/100001/metaclip_1.jpeg", "text_input": phrase, "width": 64, "height": 48,
        "queried_category": str(number), "is_instance_exhaustive": 1, "is_pixel_exhaustive": 1, **more,
    }  # fmt: skip


def annotation(number, image_id, **more):
    counts = rle.encode(MASK).counts.decode()
    return {
        "area": 0.0195, "id": number, "image_id": image_id, "source": "manual", "bbox": [0.25, 0.5, 0.5, 0.25],
        "segmentation": {"counts": counts, "size": [48, 64]}, "category_id": 1, "iscrowd": 0, **more,
    }  # fmt: skip


@pytest.fixture
def annotations(write):
    return write(
        "gold_attributes_merged_a_release_test.json",
        {
            "info": {"version": "v1", "date": "2025-10-03T00:00:00", "description": "SA-Co/Gold-Attributes-A"},
            "images": [
                image(10000000, "a red cup"),
                image(10000001, "a dog"),
                image(10000002, "a spoon", is_instance_exhaustive=0),
                image(10000003, "a plate"),
                {"id": 10000004, "file_name": "x.jpeg"},
            ],
            "annotations": [
                annotation(1, 10000003, segmentation=None),
                annotation(2, 10000000),
                annotation(3, 10000002),
                annotation(4, 10000000, segmentation=None),
                {"id": 5},
            ],
            "categories": [{"supercategory": "object", "id": 1, "name": "object"}],
            "licenses": [],
        },
    )


@pytest.fixture
def without_loss(annotations, write):
    """The same without the annotation that names no image."""
    document = json.loads(Path(annotations).read_text())
    return write("whole.json", {**document, "annotations": document["annotations"][:-1]})


def test_a_phrase_has_the_masks_of_its_own_image_entry(records, annotations):
    pairs, bad = records("sa-co", annotations=annotations)
    assert [pair.instruction for pair in pairs] == [
        f"Find all instances of {phrase}." for phrase in ("a red cup", "a dog", "a spoon", "a plate")
    ]
    assert ["mask_rle" in target for target in pairs[0].targets] == [True, False]
    assert [record.where.split(": ")[1] for record in bad] == ["annotations[4]", "images[4]"]


def test_a_phrase_without_masks_is_a_negative_and_one_with_some_masks_is_unlabeled(records, annotations, without_loss):
    pairs, _ = records("sa-co", annotations=without_loss, instruction="{name}")
    assert (pairs[1].instruction, pairs[1].kind, pairs[1].targets) == ("a dog", "none", ())
    assert (pairs[2].kind, pairs[2].targets) == ("all", None)


def test_where_annotations_got_lost_nobody_knows_which_phrase_is_a_negative(records, annotations, without_loss, write):
    pairs, _ = records("sa-co", annotations=annotations)
    assert [pair.targets for pair in pairs[1:3]] == [None, None]
    document = json.loads(Path(without_loss).read_text())
    dangling = {**document, "annotations": [*document["annotations"], annotation(9, 77)]}
    pairs, bad = records("sa-co", annotations=write("dangling.json", dangling))
    assert pairs[1].targets is None
    assert bad[0].where.endswith("an annotation of image 77")


def test_a_phrase_is_a_negative_only_where_the_file_says_that_every_instance_is_marked(records, write):
    silent = image(1, "a dog")
    del silent["is_instance_exhaustive"]
    marked = {"images": [silent, image(2, "a cup")], "annotations": [annotation(1, 2)]}
    pairs, _ = records("sa-co", annotations=write("silent.json", marked))
    assert [pair.targets is None for pair in pairs] == [True, False]


def test_a_box_is_read_in_shares_of_the_image(ingest, without_loss, draw):
    outcomes = ingest("sa-co", draw("1/100001/metaclip_1.jpeg"), annotations=without_loss)
    found = [outcome for outcome in outcomes if isinstance(outcome, Sample)]
    (box,) = found[3].human_boxes
    assert (box.x0, box.y0, box.x1, box.y1) == (16, 24, 48, 36)
    assert len(found[0].human_boxes) == 2 and rle.area(found[1].human_mask) == 0
