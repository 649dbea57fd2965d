import json

import cv2
import numpy as np
import pytest

from storage.pixels import rle


def shape(label, *points):
    return {
        "label": label,
        "labels": [label],
        "shape_type": "polygon",
        "image_name": "1.jpg",
        "points": points,
        "group_id": None,
    }


SQUARE = [[10.7, 10.2], [40, 10], [40, 40], [10, 40]]
INNER = [[20, 20], [30, 20], [30, 30], [20, 30]]
CORE = [[24, 24], [26, 24], [26, 26], [24, 26]]
RECORD = {
    "text": ["the part of the animal that it hears with", "its ears"],
    "is_sentence": True,
    # Not in the order of their areas: it is the area that decides what is painted over what.
    "shapes": [
        shape("target", *CORE),
        shape("Ignore", *INNER),
        shape("target", *SQUARE),
        shape("flag", [0, 0], [63, 0], [63, 47]),
    ],
}


@pytest.fixture
def folder(write, draw):
    root = draw(*(f"ReasonSeg/train/{name}.jpg" for name in ("1", "2", "3")))
    path = "images/ReasonSeg/train/"
    write(f"{path}1.json", RECORD)
    record = RECORD | {"shapes": [shape("ignore", *SQUARE)], "is_sentence": False, "text": ["café"]}
    (root / "ReasonSeg/train/2.json").write_bytes(json.dumps(record, ensure_ascii=False).encode("cp1252"))
    write(f"{path}3.json", {"text": [], "shapes": [shape("target", *SQUARE)]} | {"text": ["no sentence mark"]})
    write(f"{path}4.json", RECORD)
    write(f"{path}5.json", "{")
    return root


def test_outlines_are_painted_the_largest_first_and_what_is_to_be_ignored_is_left_out(ingest, folder):
    first, second, *_ = ingest("reasonseg", folder, folder=str(folder / "ReasonSeg/train"))
    expected_HW = np.zeros((48, 64), np.uint8)
    for points, value in ((SQUARE, 1), (INNER, 0), (CORE, 1)):
        cv2.fillPoly(expected_HW, [np.array(points, np.int32)], value)
    assert (rle.decode(first.human_mask) == expected_HW.astype(bool)).all()
    assert expected_HW[25, 25] and not expected_HW[21, 21] and expected_HW[11, 11] and not expected_HW[2, 60]
    assert (first.kind, first.instruction, second.instruction) == ("sentence", *RECORD["text"])


def test_an_image_with_nothing_but_ignored_regions_is_unlabeled_and_cp1252_is_read(records, folder):
    pairs, bad = records("reasonseg", folder=str(folder / "ReasonSeg/train"))
    assert (pairs[2].instruction, pairs[2].kind, pairs[2].targets) == ("café", "phrase", None)
    assert [record.where for record in bad] == ["3.json", "4.json", "5.json"]
    assert [record.why[:40] for record in bad][:2] == [
        "'is_sentence' is missing",
        "'4.jpg' cannot be read: FileNotFoundErro",
    ]
