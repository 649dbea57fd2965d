"""Nothing of an image is lost on its way into an LMM but pixels of which it has too many."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from ivm_data.experts.lmms.whole_image import CLIP_MEAN, MAX_ASPECT, Crop, crop_of, whole_image
from storage.records import Box

SQUARE = CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
RIM = CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size={"height": 48, "width": 56})
SQUASHED = CLIPImageProcessorPil(size={"height": 64, "width": 64}, crop_size={"height": 56, "width": 56})
UNCUT = [
    CLIPImageProcessorPil(size={"height": 56, "width": 56}, crop_size={"height": 56, "width": 56}),
    CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}, do_center_crop=False),
    Qwen2VLImageProcessorPil(),
]


def noise(height, width):
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)


@pytest.mark.parametrize("processor", UNCUT)
def test_a_processor_that_cuts_nothing_off_gets_the_very_array(processor):
    image_HWC = noise(30, 90)
    assert crop_of(processor) is None
    assert whole_image(image_HWC, 90 * 30, crop_of(processor))[0] is image_HWC


def test_a_square_is_all_that_a_processor_of_short_sides_sees_so_the_image_gets_one_in_the_processors_mean_colour():
    image_HWC = noise(30, 90)
    square_SSC, frame = whole_image(image_HWC, 10_000, crop_of(SQUARE))
    assert square_SSC.shape == (90, 90, 3) and (square_SSC[30:60] == image_HWC).all()
    assert (square_SSC[:30] == CLIP_MEAN).all() and (square_SSC[60:] == CLIP_MEAN).all()
    assert frame.to_original(Box(0, 30, 90, 60)) == Box(0, 0, 90, 30)
    grey = CLIPImageProcessorPil(**{**SQUARE.to_dict(), "image_mean": [0.5, 0.5, 0.5]})
    assert (whole_image(image_HWC, 10_000, crop_of(grey))[0][:30] == 127).all()


@pytest.mark.parametrize("processor", [SQUARE, RIM, SQUASHED])
@pytest.mark.parametrize("shape", [(64, 64), (60, 200), (333, 100), (1, 40), (500, 3)])
@pytest.mark.parametrize("side", ["top", "bottom", "left", "right"])
def test_a_bar_along_any_side_reaches_the_model(processor, shape, side):
    plain_HWC = np.full((*shape, 3), 200, np.uint8)
    barred_HWC = plain_HWC.copy()
    bar = max(1, shape[0] // 12 if side in ("top", "bottom") else shape[1] // 12)
    part = {
        "top": np.s_[:bar],
        "bottom": np.s_[-bar:],
        "left": np.s_[:, :bar],
        "right": np.s_[:, -bar:],
    }[side]
    barred_HWC[part] = (255, 0, 0)
    crop = crop_of(processor)
    seen = [
        processor(images=whole_image(image_HWC, 40_000, crop)[0], return_tensors="np")["pixel_values"]
        for image_HWC in (plain_HWC, barred_HWC)
    ]
    assert np.abs(seen[0] - seen[1]).max() > 0.1


shapes = st.tuples(st.integers(1, 900), st.integers(1, 900))
crops = st.sampled_from([None, Crop(), crop_of(RIM), crop_of(SQUASHED)])


@given(shapes, st.integers(64 * 64, 200_000), crops, st.tuples(*[st.floats(0, 1)] * 4))
def test_what_is_shown_has_the_images_shape_few_enough_pixels_and_a_way_back(shape, max_pixels, crop, shares):
    height, width = shape
    view_HWC, frame = whole_image(np.zeros((*shape, 3), np.uint8), max_pixels, crop)
    assert frame.size == view_HWC.shape[1::-1] and frame.original == (width, height)
    inner = width / frame.scale[0], height / frame.scale[1]
    assert inner[0] * inner[1] <= max_pixels * 1.0001
    if max(shape) <= MAX_ASPECT * min(shape):
        assert abs(frame.scale[0] / frame.scale[1] - 1) < 2 / min(inner)
    assert frame.offset[0] + inner[0] <= view_HWC.shape[1] + 1e-6
    assert frame.offset[1] + inner[1] <= view_HWC.shape[0] + 1e-6
    x0, x1, y0, y1 = (*sorted(shares[:2]), *sorted(shares[2:]))
    shown = Box(
        *(share * size + start for share, size, start in zip((x0, y0), inner, frame.offset, strict=True)),
        *(share * size + start for share, size, start in zip((x1, y1), inner, frame.offset, strict=True)),
    )
    back = frame.to_original(shown)
    assert np.allclose(
        [back.x0, back.y0, back.x1, back.y1], [x0 * width, y0 * height, x1 * width, y1 * height], atol=1e-6
    )


def test_a_photograph_is_shrunk_in_its_own_shape():
    view_HWC, frame = whole_image(noise(300, 400), 30_000)
    assert view_HWC.shape == (150, 200, 3) and frame.scale == (2.0, 2.0)


@pytest.mark.parametrize("shape", [(1, 900), (700, 2)])
def test_a_narrow_image_is_padded_until_every_processor_takes_it(shape):
    view_HWC, frame = whole_image(noise(*shape), 1_000_000)
    assert max(view_HWC.shape[:2]) <= MAX_ASPECT * min(view_HWC.shape[:2])
    assert frame.to_original(Box(0, 0, *frame.size)) == Box(0, 0, shape[1], shape[0])
