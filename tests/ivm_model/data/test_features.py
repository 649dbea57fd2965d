import dataclasses

import numpy as np
import pytest
import torch

from ivm_model.data.features import FeatureBuilder, bytes_of, encode_rows
from ivm_model.data.pixels import place
from ivm_model.data.training_rows import RowsConfig
from ivm_model.model.masking_model import Placement
from storage.errors import ShardError
from storage.pixels.images import decode
from storage.records import Rle


def test_a_target_lies_where_sam_sees_it_and_padding_is_ignored(model, make_label, split):
    image_HWC = np.zeros((32, 64, 3), np.uint8)
    mask_HW = np.zeros((32, 64), bool)
    mask_HW[:, 32:] = True
    rows = split([make_label(image_HWC, "ok", machine=mask_HW)], RowsConfig(test_share=0.0))
    batch = encode_rows(model, rows.train).batch(np.array([0]))
    assert batch.target_BHW[0, :32, 32:].min() == 1 and batch.target_BHW[0, :32, :32].max() == 0
    assert batch.valid_BHW[0].sum() == 32 * 64 and not batch.valid_BHW[0, 32:].any()


def test_a_thin_mask_survives_a_strong_reduction():
    mask_HW = np.zeros((640, 640), bool)
    mask_HW[:, 100:104] = True
    target_HW = place(mask_HW.astype(np.uint8) * 255, Placement((640, 640), (64, 64)), 64)
    assert 0 < target_HW.max() < 255
    assert abs(target_HW.mean() / 255 - mask_HW.mean()) < 1e-3


def test_an_image_with_several_instructions_is_encoded_once(model, make_label, split):
    image_HWC, mask_HW = np.zeros((64, 64, 3), np.uint8), np.ones((64, 64), bool)
    labels = [make_label(image_HWC, word, machine=mask_HW) for word in ("ok", "square", "red")]
    features = encode_rows(model, split(labels, RowsConfig(test_share=0.0)).train)
    assert len(features.encoded.sam_BCHW) == 1 and features.image_N.tolist() == [0, 0, 0]


def test_half_precision_hardly_changes_the_answer(model, rows):
    features = encode_rows(model, rows.train[:4])
    logits_BHW = model(features.encoded_rows(np.arange(1)), [rows.train[0].instruction])
    exact_BHW = model(model.encode([decode(rows.train[0].image)]), [rows.train[0].instruction])
    torch.testing.assert_close(logits_BHW, exact_BHW, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"image": b"no image"}, "cannot be read"),
        ({"mask": Rle(20, 10, b"X6")}, "mask of 10x20 on an image of another shape, 64x64"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_before_the_training(model, rows, change, says):
    bad = dataclasses.replace(rows.train[0], **change)
    with pytest.raises(ShardError, match=f"sample {bad.sample_id}.*{says}"):
        encode_rows(model, [bad])


def test_features_take_the_memory_that_is_said(model, rows):
    features = encode_rows(model, rows.train)
    image_bytes, row_bytes = bytes_of(model)
    tensors = (features.encoded.sam_BCHW, features.encoded.vision_BTC)
    assert sum(each.numel() * each.element_size() for each in tensors) == image_bytes * len(features.encoded.placements)
    assert features.target_NHW.numel() * features.target_NHW.element_size() == row_bytes * len(rows.train)


def test_a_row_that_cannot_be_read_is_not_taken_and_the_others_are(model, rows):
    builder = FeatureBuilder(model, 3, 3)
    first, second = rows.train[:2]
    assert builder.add(first.image_sha, first.image, first.mask, "a") == 0
    with pytest.raises((OSError, ValueError)):
        builder.add("torn", b"no image", first.mask, "b")
    assert builder.add(second.image_sha, second.image, second.mask, "c") == 1
    features, alone = builder.finish(), encode_rows(model, [first, second])
    assert features.instructions == ("a", "c") and torch.equal(features.target_NHW, alone.target_NHW)
    assert torch.equal(features.encoded.sam_BCHW, alone.encoded.sam_BCHW)
