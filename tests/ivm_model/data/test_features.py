import dataclasses

import numpy as np
import pytest
import torch

from ivm_model.data.dataset import DataConfig, split_rows
from ivm_model.data.features import encode_rows, to_frame
from ivm_model.model.masking_model import Placement
from storage.errors import ShardError
from storage.records import Rle


def test_a_target_lies_where_sam_sees_it_and_padding_is_ignored(model, make_label):
    image_HWC = np.zeros((32, 64, 3), np.uint8)
    mask_HW = np.zeros((32, 64), bool)
    mask_HW[:, 32:] = True
    rows = split_rows([make_label(image_HWC, "ok", machine=mask_HW)], DataConfig(test_share=0.0))
    batch = encode_rows(model, rows.train).batch(np.array([0]))
    assert batch.target_BHW[0, :32, 32:].min() == 1 and batch.target_BHW[0, :32, :32].max() == 0
    assert batch.valid_BHW[0].sum() == 32 * 64 and not batch.valid_BHW[0, 32:].any()


def test_a_thin_mask_survives_a_strong_reduction():
    mask_HW = np.zeros((640, 640), bool)
    mask_HW[:, 100:104] = True
    target_HW = to_frame(mask_HW, Placement((640, 640), (64, 64)), 64)
    assert 0 < target_HW.max() < 255
    assert abs(target_HW.mean() / 255 - mask_HW.mean()) < 1e-3


def test_an_image_with_several_instructions_is_encoded_once(model, make_label):
    image_HWC, mask_HW = np.zeros((64, 64, 3), np.uint8), np.ones((64, 64), bool)
    labels = [make_label(image_HWC, word, machine=mask_HW) for word in ("ok", "square", "red")]
    features = encode_rows(model, split_rows(labels, DataConfig(test_share=0.0)).train)
    assert len(features.encoded.sam_BCHW) == 1 and features.image_N.tolist() == [0, 0, 0]


def test_half_precision_hardly_changes_the_answer(model, rows):
    features = encode_rows(model, rows.train[:4])
    logits_BHW = model(features.encoded_rows(np.arange(1)), [rows.train[0].instruction])
    from ivm_model.data.dataset import decode_image

    exact_BHW = model(model.encode([decode_image(rows.train[0])]), [rows.train[0].instruction])
    torch.testing.assert_close(logits_BHW, exact_BHW, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize(
    ("change", "says"),
    [({"image": b"no image"}, "cannot be read"), ({"mask": Rle(10, 10, b"T3")}, "mask of 10x10 on an image of 64x64")],
)
def test_a_row_that_cannot_be_used_is_named_before_the_training(model, rows, change, says):
    bad = dataclasses.replace(rows.train[0], **change)
    with pytest.raises(ShardError, match=f"sample {bad.sample_id}.*{says}"):
        encode_rows(model, [bad])
