"""The tracker that needs no weights, and masks carried from both sides, on things whose true masks are known."""

import cv2
import numpy as np
import pytest

from ivm_data.experts.common.tracks import iou, track
from ivm_data.experts.registry import ExpertSpec, create

SIDE = 96


def texture(seed, side=SIDE, low=40, high=215):
    noise_HWC = np.random.default_rng(seed).integers(low, high, (side, side, 3), np.uint8)
    return cv2.GaussianBlur(noise_HWC, (0, 0), 2)


def episode(count, speed=2, wall=None, start=8):
    """A patch of 24 x 24 pixels that goes right over a still ground, behind a wall where there is one."""
    ground_HWC, patch_HWC, wall_HWC = texture(1), texture(2, 24, 0, 120), texture(3, SIDE, 120, 255)
    images, masks = [], []
    for number in range(count):
        left = start + speed * number
        image_HWC, mask_HW = ground_HWC.copy(), np.zeros((SIDE, SIDE), bool)
        seen = min(24, max(0, SIDE - left))
        image_HWC[36:60, left : left + seen] = patch_HWC[:, :seen]
        mask_HW[36:60, left : left + seen] = True
        if wall is not None:
            image_HWC[:, wall] = wall_HWC[:, wall]
            mask_HW[:, wall] = False
        images.append(image_HWC)
        masks.append(mask_HW)
    return images, masks


@pytest.fixture
def flow():
    expert = create(ExpertSpec("flow", {"alike": 15.0}))
    expert.load()
    return expert


def test_a_moving_thing_is_followed(flow):
    images, masks = episode(12)
    found = flow.carry(images, masks[0])
    assert len(found) == 12 and all(mask_HW.dtype == bool and mask_HW.shape == (SIDE, SIDE) for mask_HW in found)
    assert (found[0] == masks[0]).all()
    assert min(map(iou, found, masks)) > 0.7
    assert iou(masks[0], masks[-1]) < 0.1, "the thing has left its place"


def test_a_thing_that_leaves_the_picture_has_no_mask(flow):
    images, masks = episode(12, speed=4, start=56)
    assert not masks[-1].any()
    assert np.count_nonzero(flow.carry(images, masks[0])[-1]) < 0.2 * np.count_nonzero(masks[0])


def test_a_thing_that_is_covered_has_no_mask_and_comes_back_from_the_other_side(flow):
    images, masks = episode(24, speed=3, wall=slice(36, 64), start=4)
    covered = [number for number, mask_HW in enumerate(masks) if not mask_HW.any()]
    assert covered
    found = track(flow, images, {0: masks[0], 23: masks[23]})
    assert max(np.count_nonzero(found[number].mask_HW) for number in covered) < 0.2 * np.count_nonzero(masks[0])
    assert iou(found[-2].mask_HW, masks[-2]) > 0.8


def test_key_frames_keep_their_masks_and_agreement_is_told_of_every_frame(flow):
    images, masks = episode(13)
    found = track(flow, images, {2: masks[2], 6: masks[6], 10: masks[10]})
    assert all((found[key].mask_HW == masks[key]).all() for key in (2, 6, 10))
    assert min(iou(one.mask_HW, mask_HW) for one, mask_HW in zip(found, masks, strict=True)) > 0.85
    known = [one.consistency for one in found[2:11]]
    assert all(0.8 < value <= 1 for value in known)
    assert all(np.isnan(one.consistency) for one in found[:2] + found[11:])


def test_a_wrong_key_frame_is_less_consistent_than_the_right_ones(flow):
    images, masks = episode(13)
    right = track(flow, images, {0: masks[0], 6: masks[6], 12: masks[12]})
    wrong = track(flow, images, {0: masks[0], 6: np.roll(masks[6], 20, axis=0), 12: masks[12]})
    assert wrong[6].consistency < 0.3 < 0.8 < right[6].consistency
    assert max(one.consistency for one in wrong[1:6]) < 0.4


def test_nothing_to_follow_stays_nothing_and_agrees(flow):
    images, masks = episode(5)
    none_HW = np.zeros_like(masks[0])
    found = track(flow, images, {0: none_HW, 4: none_HW})
    assert not any(one.mask_HW.any() for one in found) and all(one.consistency == 1 for one in found)


def test_one_frame_is_its_own_track(flow):
    images, masks = episode(1)
    (found,) = track(flow, images, {0: masks[0]})
    assert (found.mask_HW == masks[0]).all() and np.isnan(found.consistency)


def test_a_picture_of_few_pixels_is_taken_as_still(flow):
    images, mask_HW = [np.zeros((8, 9, 3), np.uint8)] * 2, np.eye(8, 9, dtype=bool)
    assert (flow.carry(images, mask_HW)[1] == mask_HW).all()


@pytest.mark.parametrize("keys", [{}, {5: np.zeros((SIDE, SIDE), bool)}, {-1: np.zeros((SIDE, SIDE), bool)}])
def test_key_frames_outside_the_episode_are_refused(flow, keys):
    images, _ = episode(5)
    with pytest.raises(ValueError, match="key frames must be some of frames 0 to 4"):
        track(flow, images, keys)
