import json

import numpy as np
import pytest
from PIL import Image

from ivm_data.sources.foreign.readers import read
from storage.errors import ConfigError
from storage.pixels import rle
from storage.records import Rejection

ROWS = [
    {"uuid": "a1", "instruction": ["Pick up the duck.", "Where is the duck?"]},
    {
        "uuid": "b2",
        "instruction": ["Is it a cat?"],
        "image": "coco/train2014/c.jpg",
        "boxes": [[0.25, 0.125, 0.75, 0.5]],
    },
    {"uuid": "c3", "instruction": "not a list"},
    {"instruction": ["no uuid"]},
]


@pytest.fixture
def meta(write):
    return write("HumanLabelData.jsonl", "\n".join(map(json.dumps, ROWS)) + "\n")


@pytest.fixture
def masks(draw):
    """A soft mask whose left half is bright, and one that is black all over, as JPEGs."""
    root = draw("img_a1.jpg", "coco/train2014/c.jpg")
    soft_HW = np.repeat(np.linspace(255, 0, 64)[None], 48, 0).astype(np.uint8)
    for uuid, pixels_HW in (("a1", soft_HW), ("b2", np.zeros((48, 64), np.uint8))):
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(pixels_HW).save(root / "masks" / f"mask_{uuid}.jpg", quality=95)
    return root


def test_each_instruction_of_a_row_is_a_pair_with_the_thresholded_soft_mask(ingest, meta, masks):
    found = ingest("ivm-mix", masks, meta=meta, label="mask", masks="masks")
    assert [sample.instruction for sample in found[:2]] == ["Pick up the duck.", "Where is the duck?"]
    mask_HW = rle.decode(found[0].human_mask)
    assert mask_HW[:, :30].all() and not mask_HW[:, 34:].any()
    strict = ingest("ivm-mix", masks, meta=meta, label="mask", masks="masks", threshold=200)
    assert 0 < rle.area(strict[0].human_mask) < rle.area(found[0].human_mask) / 1.5


def test_a_mask_that_is_black_all_over_does_not_say_that_nothing_is_there(ingest, meta, masks):
    black = ingest("ivm-mix", masks, meta=meta, label="mask", masks="masks")[2]
    assert (black.image_uri, black.reason) == ("coco/train2014/c.jpg", "bad_human_mask")
    assert "covers no pixel" in black.detail


def test_the_masks_of_machine_data_are_no_human_labels(records, meta):
    pairs, bad = records("ivm-mix", meta=meta, label="none")
    assert [pair.targets for pair in pairs] == [None] * 3
    assert [record.where for record in bad] == ["HumanLabelData.jsonl: line 3", "HumanLabelData.jsonl: line 4"]
    assert "must be a list" in bad[0].why and "uuid" in bad[1].why


def test_boxes_lie_in_the_square_that_the_image_was_padded_to(ingest, meta, masks):
    found = ingest("ivm-mix", masks, meta=meta, label="boxes")
    assert not found[0].human_boxes and found[0].human_mask is None
    (box,) = found[2].human_boxes
    assert (box.x0, box.y0, box.x1, box.y1) == (16, 0, 48, 24)


def test_a_mask_that_is_missing_or_of_another_size_is_a_rejection(ingest, meta, masks):
    Image.new("L", (10, 10)).save(masks / "masks" / "mask_a1.jpg")
    (masks / "masks" / "mask_b2.jpg").unlink()
    found = ingest("ivm-mix", masks, meta=meta, label="mask", masks="masks")[:3]
    assert [one.reason for one in found if isinstance(one, Rejection)] == ["bad_human_mask"] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "soft"}, "must be one of 'mask', 'none', 'boxes'"),
        ({"label": "mask", "threshold": 0}, r"must lie in \[1, 255\]"),
    ],
)
def test_options_that_do_not_fit_are_refused(meta, options, message):
    with pytest.raises(ConfigError, match=message):
        read("ivm-mix", {"meta": meta, **options})
