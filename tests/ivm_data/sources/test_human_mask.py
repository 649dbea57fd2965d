from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as oracle

from ivm_data.sources.human_mask import HumanLabel, human_label
from storage.errors import InputError
from storage.pixels import rle
from storage.records import Box

SIZE = (6, 9)


def mask_of(*rows: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[list(rows)] = True
    return mask


def rle_object(mask: np.ndarray) -> dict[str, object]:
    return {"size": list(mask.shape), "counts": rle.encode(mask).counts.decode()}


def target(*rows: int) -> dict[str, object]:
    return {"phrase": "a row", "mask_rle": rle_object(mask_of(*rows))}


def test_no_targets_and_no_mask_is_no_human_mask(tmp_path):
    assert human_label(None, None, SIZE, tmp_path) == HumanLabel()


def test_an_empty_list_of_targets_says_nothing_here(tmp_path):
    mask = human_label([], None, SIZE, tmp_path).mask
    assert mask is not None
    assert rle.area(mask) == 0
    assert (mask.height, mask.width) == SIZE


def test_the_human_mask_is_the_union_of_all_that_is_given(tmp_path):
    mask = human_label([target(0), target(0, 2)], rle_object(mask_of(5)), SIZE, tmp_path).mask
    assert (rle.decode(mask) == mask_of(0, 2, 5)).all()


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB", "RGBA", "LA", "I;16"])
def test_a_png_keeps_every_pixel_that_is_not_zero(tmp_path: Path, mode: str):
    values = mask_of(1, 3).astype(np.uint8)
    if mode == "P":
        picture = Image.fromarray(values).convert("L")
        picture.putpalette([0, 0, 0, 9, 9, 9])
    elif mode == "I;16":
        picture = Image.fromarray(values.astype(np.uint16))
    else:
        picture = Image.fromarray(values * 255).convert(mode)
    picture.save(tmp_path / "mask.png")
    assert (rle.decode(human_label(None, "mask.png", SIZE, tmp_path).mask) == mask_of(1, 3)).all()


@pytest.mark.parametrize(
    "targets, mask",
    [
        ("all of it", None),
        ([7], None),
        ([{"bbox_xyxy": [0, 0, 1, 1]}], None),
        ([{"mask_rle": None}], None),
        ([{"polygons": []}], None),
        ([{"polygons": [[1, 1, 5, 5]]}], None),
        ([{"polygons": [[1, 1, 5, 5, 3]]}], None),
        ([{"polygons": [[1, 1, 5, 5, float("nan"), 2]]}], None),
        ([{"polygons": [[1, 1, 5, 5, 1e9, 2]]}], None),
        ([{"polygons": "M1,1"}], None),
        ([{"polygons": 3}], None),
        ([{"box": [1, 2, 3]}], None),
        ([{"box": ["a", 2, 3, 4]}], None),
        ([{"box": [3, 2, 3, 4]}], None),
        ([{"box": [9, 0, 12, 4]}], None),
        ([{"box": [1, 2, float("nan"), 4]}], None),
        ([{"box": 7}], None),
        ([{"mask": "missing.png", "resize": True}], None),
        ([{"mask": "photo.jpg", "resize": True}], None),
        ([{"mask": "other_size.png"}], None),
        ([{"mask": 3}], None),
        ([{"mask_rle": {"size": [6, 9]}}], None),
        ([{"mask_rle": {"size": [6, 9], "counts": "!!"}}], None),
        ([{"mask_rle": {"size": [6, 9], "counts": [3, 4]}}], None),
        ([{"mask_rle": {"size": [9, 6], "counts": [54]}}], None),
        ([{"mask_rle": {"size": [10**9, 10**9], "counts": [10**18]}}], None),
        (None, 3),
        (None, {"size": "big", "counts": "x"}),
        (None, "missing.png"),
        (None, "../outside.png"),
        (None, "text.png"),
        (None, "photo.jpg"),
        (None, "cut.png"),
        (None, "other_size.png"),
    ],
)
def test_a_mask_that_cannot_be_used_has_its_own_reason(tmp_path: Path, targets, mask):
    (tmp_path / "text.png").write_text("not a PNG")
    Image.new("L", (9, 6)).save(tmp_path / "photo.jpg")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 2, SIZE, np.uint8))
    noise.save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:-24])
    Image.new("L", (6, 9)).save(tmp_path / "other_size.png")
    with pytest.raises(InputError) as caught:
        human_label(targets, mask, SIZE, tmp_path)
    assert caught.value.reason == "bad_human_mask"


NOTHING = {
    "a polygon beside the image": {"polygons": [[12, 1, 16, 1, 16, 4]]},
    "a polygon under a pixel": {"polygons": [[1.1, 1.1, 1.3, 1.1, 1.3, 1.3]]},
    "points on one line": {"polygons": [[1, 1, 3, 1, 5, 1]]},
    "one point thrice": {"polygons": [[1, 1, 1, 1, 1, 1]]},
    "shares beside the image": {"polygons": [[1.2, 0.1, 1.6, 0.1, 1.6, 0.5]], "frame": "image"},
    "run lengths without any": {"mask_rle": {"size": [6, 9], "counts": [54]}},
    "a black picture": {"mask": "black.png"},
    "a dark picture": {"mask": "black.png", "threshold": 1},
    "an index that no pixel has": {"mask": "black.png", "index": 7},
    "a box beside the image": {"box": [9, 1, 12, 4]},
    "a box without width": {"box": [3, 1, 3, 4]},
    "a box turned over": {"box": [5, 4, 3, 1]},
}


@pytest.mark.parametrize("name", NOTHING)
def test_a_target_that_covers_nothing_does_not_say_that_nothing_is_there(tmp_path, name):
    Image.new("L", SIZE[::-1]).save(tmp_path / "black.png")
    for targets in ([NOTHING[name]], [target(2), NOTHING[name]]):
        with pytest.raises(InputError, match=r"bad_human_mask.*covers no"):
            human_label(targets, None, SIZE, tmp_path)


def test_a_black_mask_of_a_record_covers_nothing_either(tmp_path):
    Image.new("L", SIZE[::-1]).save(tmp_path / "black.png")
    for mask in ("black.png", {"size": [6, 9], "counts": [54]}):
        with pytest.raises(InputError, match=r"bad_human_mask.*covers no pixel"):
            human_label(None, mask, SIZE, tmp_path)


def test_parts_of_a_polygon_that_are_no_polygon_are_left_out_beside_others(tmp_path):
    whole = [[1.0, 0.5, 7.25, 1.0, 3.0, 5.5]]
    assert human_label([{"polygons": [*whole, [5, 5, 6, 6]]}], None, SIZE, tmp_path) == human_label(
        [{"polygons": whole}], None, SIZE, tmp_path
    )


def test_polygons_may_be_in_shares_of_the_image(tmp_path):
    shares = [[0, 0, 1 / 3, 0, 1 / 3, 0.5, 0, 0.5]]
    mask = human_label([{"polygons": shares, "frame": "image"}], None, SIZE, tmp_path).mask
    assert (rle.bbox(mask), rle.area(mask)) == (Box(0, 0, 3, 3), 9)
    with pytest.raises(InputError, match="'frame' must be 'pixels' or 'image', got 'square'"):
        human_label([{"polygons": shares, "frame": "square"}], None, SIZE, tmp_path)


def test_polygons_are_filled_as_pycocotools_fills_them(tmp_path):
    polygons = [[1.0, 0.5, 7.25, 1.0, 3.0, 5.5], [6, 3, 11, 3, 11, 8, 6, 8]]
    theirs = oracle.merge(oracle.frPyObjects(polygons, *SIZE))
    assert human_label([{"polygons": polygons}], None, SIZE, tmp_path).mask.counts == theirs["counts"]


def test_a_mask_file_may_be_of_another_size_where_the_target_says_so(tmp_path):
    Image.fromarray(mask_of(1, 3)[::3, ::3]).save(tmp_path / "third.png")
    label = human_label([{"mask": "third.png", "resize": True}], None, SIZE, tmp_path)
    assert (rle.decode(label.mask) == mask_of(3, 4, 5)).all()


def test_boxes_are_no_mask_and_are_cut_to_the_image(tmp_path):
    label = human_label([{"box": [1, 2, 3.5, 4]}, {"phrase": "x", "box": [-5, 3, 40, 40]}], None, SIZE, tmp_path)
    assert label == HumanLabel(boxes=(Box(1, 2, 3.5, 4), Box(0, 3, 9, 6)))


def test_one_target_with_nothing_but_a_box_makes_boxes_of_all(tmp_path):
    label = human_label([target(0, 1), {"box": [1, 2, 3, 4]}], None, SIZE, tmp_path)
    assert label == HumanLabel(boxes=(Box(0, 0, 9, 2), Box(1, 2, 3, 4)))


def test_the_most_exact_of_what_a_target_gives_counts(tmp_path):
    both = {"box": [0, 0, 9, 6], "mask_rle": rle_object(mask_of(2))}
    assert human_label([both], None, SIZE, tmp_path) == human_label([target(2)], None, SIZE, tmp_path)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"box": [0, 0, 1, 1], "frame": "square metre"}, "'frame' must be 'pixels', 'image' or 'square'"),
        ({"box": [1.1, 0, 2, 1], "frame": "image"}, "covers nothing"),
        ({"mask": "a.jpg", "threshold": "128"}, "'threshold' must be a number"),
        ({"mask": "a.jpg", "threshold": True}, "'threshold' must be a number"),
        ({"mask": "a.jpg"}, 'lossy.*"threshold": 128'),
    ],
)
def test_frames_and_thresholds_that_do_not_fit_are_reported(tmp_path, target, message):
    Image.new("L", SIZE[::-1]).save(tmp_path / "a.jpg")
    with pytest.raises(InputError, match=f"bad_human_mask.*{message}"):
        human_label([target], None, SIZE, tmp_path)
