import pytest

from ivm_data.sources.manifest_keys import KEYS, misnamed, truth


@pytest.mark.parametrize("value", [True, 1, 1.0, "true", "TRUE", " yes ", "1"])
def test_what_means_yes(value):
    assert truth("held_out", value) is True


@pytest.mark.parametrize("value", [False, 0, 0.0, None, "", "false", "False", "no", "0"])
def test_what_means_no(value):
    assert truth("held_out", value) is False


@pytest.mark.parametrize("value", ["maybe", 2, -1, float("nan"), [], {}, "truee", b"true"])
def test_anything_else_is_refused(value):
    with pytest.raises(ValueError, match="'held_out' must be true or false"):
        truth("held_out", value)


@pytest.mark.parametrize(
    "name",
    ["heldout", "Held_Out", "held-out", "held out", "holdout", "is_held_out", "hedl_out", "target", "Targets",
     "tragets", "masks", "Mask", "maks", "ignored", "ingore"],
)  # fmt: skip
def test_a_name_that_looks_like_a_key_is_refused(name):
    assert "looks like" in misnamed(["image", "instruction", name])


@pytest.mark.parametrize("name", ["mask_rle", "polygons", "box", "bbox", "segmentation"])
def test_a_key_of_targets_alone_is_refused(name):
    assert "belongs into an object of 'targets'" in misnamed(["image", "instruction", name])
    assert not misnamed(["image", "instruction", "targets", name])


@pytest.mark.parametrize(
    "name",
    ["id", "width", "height", "task", "licence", "mask_by", "mask_image", "masked", "phrase", "phrases", "answer",
     "split", "image_id", "kinds", "sources", "held", "anchor", "relation", "quality", "novel", 7],
)  # fmt: skip
def test_the_owners_own_keys_are_let_be(name):
    assert not misnamed([*KEYS, name]) and not misnamed(["image", "instruction", name])


def test_a_name_beside_the_key_that_it_looks_like_is_the_owners():
    assert not misnamed(["image", "instruction", "mask", "masks"])
