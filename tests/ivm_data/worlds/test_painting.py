import math

import numpy as np
import pytest

from ivm_data.worlds import painting
from ivm_data.worlds.scene import RGB, SHAPES, TEXTURES

AREAS = {
    "circle": math.pi,
    "ring": math.pi * (1 - painting.RING_HOLE**2),
    "square": (2 * 0.88) ** 2,
    "triangle": 3 * math.sqrt(3) / 4 * 1.22**2,
    "star": 5 * 1.22 * 0.52 * math.sin(math.pi / 5),
    "cross": 4 * 0.35 * (2 * 1.08 - 0.35),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("radius", [7.5, 10.0, 14.5, 20.0])
@pytest.mark.parametrize("angle", [0.0, 0.4, 2.0])
def test_a_stencil_covers_the_area_of_its_shape_and_stays_off_the_border(shape, radius, angle):
    alpha = painting.stencil(shape, radius, angle)
    assert alpha.sum() == pytest.approx(AREAS[shape] * radius**2, rel=0.12)
    assert alpha.min() == 0
    assert alpha.max() == 1
    assert max(alpha[0].max(), alpha[-1].max(), alpha[:, 0].max(), alpha[:, -1].max()) < 0.5


def test_a_stencil_has_soft_edges():
    alpha = painting.stencil("star", 12.0, 0.3)
    soft = (alpha > 0) & (alpha < 1)
    assert 0.2 < soft.sum() / (alpha > 0).sum() < 0.6


@pytest.mark.parametrize("name", TEXTURES)
@pytest.mark.parametrize("radius", [7.5, 20.0])
def test_marks_darken_a_part_of_a_thing_and_never_all_of_it(name, radius):
    alpha = painting.stencil("circle", radius, 0.0)
    tone = painting.texture(name, alpha, radius, np.random.default_rng(0))
    assert tone.shape == alpha.shape
    dark = np.mean(tone[alpha >= 0.5] < 0.7)
    assert dark == 0 if name == "plain" else 0.15 < dark < 0.55
    assert tone.min() >= painting.MARK_TONE - 1e-6


def test_jittered_colours_stay_nearest_to_their_own_word():
    rng = np.random.default_rng(0)
    for word, rgb in RGB.items():
        for _ in range(200):
            colour = painting.jittered(rgb, rng)
            assert 0 <= colour.min() <= colour.max() <= 255
            assert min(RGB, key=lambda other: np.abs(np.array(RGB[other]) - colour).sum()) == word


def test_every_background_is_muted():
    for seed in range(200):
        image = painting.background(128, np.random.default_rng(seed))
        assert image.shape == (128, 128, 3)
        assert image.dtype == np.float32
        assert (image.max(axis=2) - image.min(axis=2)).max() < 60
        assert image.max() < 210


def test_light_and_noise_keep_the_picture():
    flat = np.full((128, 128, 3), 120, np.float32)
    image = painting.lit(flat, np.random.default_rng(1))
    assert image.dtype == np.uint8
    assert 100 < image.mean() < 135
    assert 1 < image.std() < 16
