import numpy as np
import pytest

from ivm_model.data.training_rows import RowsConfig
from ivm_model.discriminator.masked_views import MaskedView, make_views, see_views
from ivm_model.masking import keep_only
from storage.pixels import rle
from storage.pixels.images import decode


@pytest.fixture
def views(rows):
    return make_views(rows.train, wrong_per_row=5, seed=0)


def _of(views, part):
    return [view for view in views if view.part == part]


def test_every_row_is_seen_under_its_own_mask_in_the_rows_order(rows, views):
    own = [view for view in views if view.part in ("human", "machine")]
    assert [view.row for view in own] == list(range(len(rows.train)))
    assert all(view.mask == rows.train[view.row].mask for view in own)


def test_wrong_views_show_human_images_only_and_differ_from_the_right_view(rows, views):
    wrong = _of(views, "wrong")
    assert len(wrong) > 3 * len(rows.human)
    for view in wrong:
        row = rows.train[view.row]
        assert row.origin == "human"
        assert rle.iou(view.mask, row.mask) < 0.7 or view.instruction != row.instruction


def test_the_engines_label_of_a_human_image_only_audits(rows, views):
    engine = _of(views, "engine")
    assert [view.row for view in engine] == list(range(len(rows.human)))
    assert all(view.mask == rows.train[view.row].machine_mask for view in engine)


def test_shuffled_views_show_another_human_rows_mask(rows, views):
    masks = {row.mask for row in rows.human}
    assert all(view.mask in masks for view in _of(views, "shuffled"))
    assert sum(view.mask != rows.train[view.row].mask for view in _of(views, "shuffled")) > len(rows.human) / 2


def test_truth_views_show_held_out_masks_of_machine_images(rows, views):
    truth = _of(views, "truth")
    assert 0 < len(truth) <= len(rows.human)
    assert all(view.mask == rows.train[view.row].truth for view in truth)


def test_the_same_seed_makes_the_same_views(rows, views):
    def key(views):
        return [(view.part, view.row, view.mask, view.instruction) for view in views]

    assert key(make_views(rows.train, 5, seed=0)) == key(views) != key(make_views(rows.train, 5, seed=1))


def test_masks_are_borrowed_from_the_same_image_where_it_has_others(make_label, split):
    image_HWC = np.zeros((32, 32, 3), np.uint8)
    left_HW, right_HW = np.zeros((2, 32, 32), bool)
    left_HW[:, :8], right_HW[:, 24:] = True, True
    labels = [
        make_label(image_HWC, "left", machine=left_HW, human=left_HW),
        make_label(image_HWC, "right", machine=right_HW, human=right_HW),
    ]
    views = make_views(split(labels, RowsConfig()).train, wrong_per_row=5, seed=0)
    union = rle.encode(left_HW | right_HW)
    assert any(view.mask == union for view in _of(views, "wrong"))


def test_the_vision_tower_sees_only_the_masks_pixels(model, rows, views):
    seen = see_views(model, rows.train, views[:3], dim=1.0)
    masked = [keep_only(decode(rows.train[view.row].image), rle.decode(view.mask)) for view in views[:3]]
    np.testing.assert_allclose(seen.vision_MTC.float(), model.lmm.see(masked), atol=1e-2)


def test_a_view_that_says_no_target_is_the_whole_image(model, rows):
    row = rows.train[0]
    empty = MaskedView("wrong", 0, rle.encode(np.zeros((row.mask.height, row.mask.width), bool)), row.instruction)
    seen = see_views(model, rows.train, (empty,), dim=1.0)
    np.testing.assert_allclose(seen.vision_MTC.float(), model.lmm.see([decode(row.image)]), atol=1e-2)
    assert seen.empty_M.tolist() == [True]


def test_a_target_that_is_there_is_said_to_be_absent_on_purpose(rows, views):
    assert any(view.is_empty for view in _of(views, "wrong"))
    assert not any(view.is_empty for view in _of(views, "human"))


def test_another_images_instruction_is_no_wrong_view_of_no_target(make_label, split):
    nothing_HW = np.zeros((32, 32), bool)
    images = [np.full((32, 32, 3), shade, np.uint8) for shade in (10, 20, 30)]
    labels = [make_label(image, f"Find the {shade} .", machine=nothing_HW, human=nothing_HW)
              for shade, image in zip(("red", "green", "blue"), images, strict=True)]  # fmt: skip
    train = split(labels, RowsConfig()).train
    assert not [view for view in make_views(train, 6, seed=0) if view.part == "wrong" and view.is_empty]
