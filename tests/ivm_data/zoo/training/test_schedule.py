from itertools import pairwise

import numpy as np
import torch

from ivm_data.zoo.training.schedule import cosine, minibatches, normalise


def test_normalised_pixels_are_those_of_the_processors():
    from ivm_data.zoo.training.segmenter import processor

    image_HWC = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    expected = processor()(images=[image_HWC], return_tensors="pt")["pixel_values"]
    assert torch.allclose(normalise(image_HWC[None]), expected, atol=1e-5)


def test_the_learning_rate_warms_up_and_ends_near_zero():
    factors = [cosine(step, 1000) for step in range(1000)]
    assert factors[0] == 0.01 and max(factors) == 1.0 and factors[-1] < 0.011
    assert all(b <= a for a, b in pairwise(factors[100:]))


def test_minibatches_show_every_row_once_in_an_epoch():
    rows = np.concatenate(list(minibatches(10, 4, 5, np.random.default_rng(0))))
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
