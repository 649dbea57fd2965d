import json

import numpy as np
import pytest
import yaml

from ivm_data.sources.foreign.common.manifest_writer import write_manifest
from ivm_data.sources.foreign.readers import read
from ivm_data.sources.manifest import plan, read_part
from storage.errors import ConfigError
from storage.pixels import rle
from storage.records import Box

BOX, OUTLINE = "0 0.5 0.5 0.25 0.5", "1 0.125 0.25 0.5 0.25 0.5 0.75 0.125 0.75"


@pytest.fixture
def yolo(tmp_path, draw):
    """A data set as ultralytics lays it out; returns the path of its data.yaml."""

    def yolo(labels: dict[str, str], **changes: object) -> str:
        draw(*(f"{split}/{split}.png" for split in labels))
        for split, text in labels.items():
            path = tmp_path / "labels" / split / f"{split}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        document = {"path": ".", "names": {0: "cup", 1: "ring"}, **{split: f"images/{split}" for split in labels}}
        (tmp_path / "data.yaml").write_text(yaml.safe_dump(document | changes))
        return str(tmp_path / "data.yaml")

    return yolo


def read_back(out, name, **options):
    write_manifest(read(name, options), out, name)
    return [outcome for part in plan(out) for outcome in read_part(part)]


def test_boxes_and_outlines_of_a_class_are_its_targets_and_splits_are_held_out(yolo, tmp_path):
    path = yolo({"train": f"{BOX}\n{OUTLINE}\n{OUTLINE}\n", "val": BOX})
    cup, ring, held = read_back(tmp_path / "m.jsonl", "yolo", data=path)
    assert [sample.instruction for sample in (cup, ring)] == ["Find every cup.", "Find every ring."]
    assert cup.human_boxes == (Box(24, 12, 40, 36),)
    assert (rle.bbox(ring.human_mask), rle.area(ring.human_mask)) == (Box(8, 12, 32, 36), 24 * 24)
    assert (cup.image_uri, held.image_uri) == ("images/train/train.png", "images/val/val.png")
    assert [(sample.held_out, sample.difficulty) for sample in (cup, held)] == [(False, "train"), (True, "val")]


def test_splits_can_be_chosen_and_images_named_from_another_root(yolo, records):
    path = yolo({"train": BOX, "val": BOX})
    pairs, bad = records("yolo", data=path, splits="val", held_out="", images="sets/toys")
    assert [(pair.image, pair.held_out) for pair in pairs] == [("sets/toys/images/val/val.png", False)]
    assert not bad
    with pytest.raises(ConfigError, match="has the splits train, val, not 'test'"):
        records("yolo", data=path, splits="test")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("0 0.5 0.5 0.25 0.5 0.9", "a model's confidence"),
        ("0 24 12 40 36", "must be shares"),
        ("0 0.5 0.5 0 0.5", "covers nothing"),
        ("0 0.5 0.5", "neither a box"),
        ("0 a b c d", "could not convert"),
        ("0 nan 0.5 0.5 0.5", "must be shares"),
    ],
)
def test_a_line_that_cannot_be_read_loses_its_class_alone(line, why, yolo, records):
    pairs, (bad,) = records("yolo", data=yolo({"train": f"{line}\n{OUTLINE}"}))
    assert [pair.instruction for pair in pairs] == ["Find every ring."]
    assert why in bad.why and bad.where.startswith("images/train/train.png: 'cup'")


@pytest.mark.parametrize("line", ["7 0.5 0.5 0.25 0.5", "cup 0.5 0.5 0.25 0.5", "0.5 0.5 0.5 0.25 0.5", "-1 0 0 1 1"])
def test_a_class_that_nobody_knows_loses_the_image(line, yolo, records):
    pairs, (bad,) = records("yolo", data=yolo({"train": f"{line}\n{OUTLINE}"}))
    assert pairs == [] and bad.where == "images/train/train.png"


def test_images_without_objects_ask_for_nothing(yolo, left_out, tmp_path):
    path = yolo({"train": "\n", "val": BOX})
    (tmp_path / "labels" / "val" / "val.txt").unlink()
    assert left_out("yolo", data=path) == {"image without shapes": 2}


def test_of_key_points_the_box_is_read(yolo, records):
    path = yolo({"train": f"{BOX} 0.4 0.4 2 0.5 0.5 1"}, kpt_shape=[2, 3])
    (pair,), _ = records("yolo", data=path)
    assert pair.targets == ({"box": [0.375, 0.25, 0.625, 0.75], "frame": "image"},)


@pytest.mark.parametrize("entry", ["../images/train", ["images/train"], "images/*/*.png", "./images/train/"])
def test_a_split_may_be_written_in_several_ways(entry, yolo, records):
    pairs, bad = records("yolo", data=yolo({"train": BOX}, train=entry, path="/content/datasets/toys"))
    assert ([pair.image.name for pair in pairs], bad) == (["train.png"], [])


def test_a_split_may_be_a_list_of_images_and_missing_ones_are_bad(yolo, records, tmp_path):
    path = yolo({"train": BOX}, train="train.txt")
    (tmp_path / "train.txt").write_text("./images/train/train.png\nimages/train/gone.png\n")
    pairs, (bad,) = records("yolo", data=path)
    assert [pair.image.name for pair in pairs] == ["train.png"]
    assert bad.why == "there is no such image file"


def test_the_layout_of_darknet_is_read_as_cvat_exports_it(draw, records, tmp_path):
    draw("a.png")
    folder = tmp_path / "cvat"
    (folder / "obj_train_data").mkdir(parents=True)
    (tmp_path / "images" / "a.png").rename(folder / "obj_train_data" / "a.png")
    (folder / "obj_train_data" / "a.txt").write_text(BOX)
    (folder / "obj.names").write_text("cup\nring\n")
    (folder / "train.txt").write_text("data/obj_train_data/a.png\n")
    (folder / "obj.data").write_text("classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
    for data in (folder / "obj.data", folder):
        (pair,), bad = records("yolo", data=str(data))
        assert (pair.image.name, pair.instruction, bad) == ("a.png", "Find every cup.", [])


def test_a_folder_with_classes_is_enough(draw, records, tmp_path):
    draw("a.png", "2.png", "10.png")
    for name in ("a", "2", "10"):
        (tmp_path / "images" / f"{name}.txt").write_text(BOX)
    (tmp_path / "images" / "classes.txt").write_text("\ufeffcup\nring\n")
    pairs, _ = records("yolo", data=str(tmp_path / "images"))
    assert [pair.image.name for pair in pairs] == ["a.png", "2.png", "10.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "must hold 'names'"),
        ("names: [a]\n", "names none of the splits"),
        ("train: images\n", "names no classes"),
        ("train: images\nnames: {x: y}\n", "cannot be read"),
        ("{", "cannot be read"),
        ("train: nowhere\nnames: [a]\n", "holds no image"),
        ("train: {a: b}\nnames: [a]\n", "a split must be a path"),
        ("train: /\nnames: [a]\n", "holds no image"),
    ],
)
def test_a_file_that_describes_no_data_set_is_a_configuration_error(text, message, records, tmp_path):
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        records("yolo", data=str(tmp_path / "data.yaml"))


def test_a_folder_without_names_and_no_file_at_all_are_configuration_errors(records, tmp_path):
    with pytest.raises(ConfigError, match="classes have no names"):
        records("yolo", data=str(tmp_path))
    with pytest.raises(ConfigError, match="set data to one"):
        records("yolo", data=str(tmp_path / "data.json"))
    with pytest.raises(ConfigError, match="cannot be read"):
        records("yolo", data=str(tmp_path / "none.yaml"))


def test_outlines_are_filled_as_cv2_fills_the_same_polygon_but_for_its_edge(yolo, tmp_path):
    import cv2

    angle_N = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    point_N2 = np.stack([0.5 + 0.3 * np.cos(angle_N), 0.5 + 0.4 * np.sin(angle_N)], axis=1)
    text = "0 " + " ".join(f"{value:.6f}" for value in point_N2.ravel())
    (sample,) = read_back(tmp_path / "m.jsonl", "yolo", data=yolo({"train": text}))
    theirs_HW = cv2.fillPoly(np.zeros((48, 64), np.uint8), [(point_N2 * [64, 48]).astype(np.int32)], 1).astype(bool)
    ours_HW = rle.decode(sample.human_mask)
    assert (ours_HW & theirs_HW).sum() / (ours_HW | theirs_HW).sum() > 0.93
    assert json.loads((tmp_path / "m.jsonl").read_text())["image"] == "images/train/train.png"
