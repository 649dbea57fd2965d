import numpy as np
import pytest

from ivm_model.discriminator.negatives import WRONG, wrong_mask


def _square(y: int, x: int, side: int = 12) -> np.ndarray:
    mask_HW = np.zeros((48, 64), bool)
    mask_HW[y : y + side, x : x + side] = True
    return mask_HW


@pytest.mark.parametrize("way", sorted(WRONG))
@pytest.mark.parametrize("seed", range(5))
def test_a_wrong_mask_of_any_kind_is_wrong_and_of_the_images_size(way, seed):
    mask_HW, other_HW = _square(10, 10), _square(30, 40, 14)
    wrong_HW = wrong_mask(way, mask_HW, [other_HW], np.random.default_rng(seed))
    assert wrong_HW is not None and wrong_HW.shape == mask_HW.shape
    assert (wrong_HW & mask_HW).sum() < 0.7 * (wrong_HW | mask_HW).sum()


def test_an_extra_mask_holds_the_right_one_and_a_cut_mask_lies_in_it():
    mask_HW, rng = _square(10, 10), np.random.default_rng(0)
    extra_HW = wrong_mask("extra", mask_HW, [_square(30, 40, 14)], rng)
    cut_HW = wrong_mask("cut", mask_HW, [_square(30, 40)], rng)
    assert (extra_HW & mask_HW).sum() == mask_HW.sum()
    assert cut_HW.any() and not (cut_HW & ~mask_HW).any()


def test_a_shifted_mask_near_the_border_loses_what_leaves_the_image():
    corner_HW = _square(0, 0)
    for seed in range(20):
        shifted_HW = wrong_mask("shifted", corner_HW, [corner_HW], np.random.default_rng(seed))
        assert shifted_HW is None or shifted_HW.sum() <= corner_HW.sum()


def test_a_mask_as_large_as_the_image_may_be_shifted_out_of_it():
    for seed in range(20):
        shifted_HW = wrong_mask("shifted", np.ones((48, 64), bool), [_square(1, 1)], np.random.default_rng(seed))
        assert shifted_HW is None or shifted_HW.shape == (48, 64)


def test_no_wrong_mask_comes_from_a_twin():
    assert wrong_mask("elsewhere", _square(10, 10), [_square(10, 10)], np.random.default_rng(0)) is None


def test_an_empty_mask_can_only_be_wrong_by_showing_something():
    nothing_HW, rng = np.zeros((48, 64), bool), np.random.default_rng(0)
    assert wrong_mask("shifted", nothing_HW, [_square(1, 1)], rng) is None
    assert wrong_mask("cut", nothing_HW, [_square(1, 1)], rng) is None
    assert wrong_mask("elsewhere", nothing_HW, [_square(1, 1)], rng).any()
