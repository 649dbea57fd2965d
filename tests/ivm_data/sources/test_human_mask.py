from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivm_data.sources.human_mask import human_mask
from storage import rle
from storage.errors import InputError

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
    assert human_mask(None, None, SIZE, tmp_path) is None


def test_an_empty_list_of_targets_says_nothing_here(tmp_path):
    mask = human_mask([], None, SIZE, tmp_path)
    assert mask is not None
    assert rle.area(mask) == 0
    assert (mask.height, mask.width) == SIZE


def test_the_human_mask_is_the_union_of_all_that_is_given(tmp_path):
    mask = human_mask([target(0), target(0, 2)], rle_object(mask_of(5)), SIZE, tmp_path)
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
    assert (rle.decode(human_mask(None, "mask.png", SIZE, tmp_path)) == mask_of(1, 3)).all()


@pytest.mark.parametrize(
    "targets, mask",
    [
        ("all of it", None),
        ([7], None),
        ([{"bbox_xyxy": [0, 0, 1, 1]}], None),
        ([{"mask_rle": None}], None),
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
        human_mask(targets, mask, SIZE, tmp_path)
    assert caught.value.reason == "bad_human_mask"
