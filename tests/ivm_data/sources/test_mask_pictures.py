"""What a mask's picture keeps: one rule, and a refusal with a way out where it could mean two things."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ivm_data.sources.human_mask import human_label
from ivm_data.sources.mask_pictures import PictureRule, kept_pixels, rule_of
from storage.errors import InputError
from storage.pixels import rle

HW = (12, 16)
MASK = np.zeros(HW, bool)
MASK[3:9, 4:12] = True
RULE = PictureRule()


def encoded(image, form="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def gray(values):
    return Image.fromarray(np.asarray(values, np.uint8))


def rgba(colour_HW3, alpha_HW):
    return Image.fromarray(np.dstack([colour_HW3, alpha_HW]).astype(np.uint8), "RGBA")


def palette(index_HW, *colours):
    image = gray(index_HW).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette([edge for colour in colours for edge in colour])
    return image


PHOTO = np.random.default_rng(0).integers(1, 256, (*HW, 3))
BLACK, WHITE = np.zeros((*HW, 3)), np.full((*HW, 3), 255)
RING = MASK ^ np.pad(MASK[4:8, 5:11], ((4, 4), (5, 5)))
VOID = np.where(RING, 255, MASK)

EXACT = {
    "one value": gray(MASK * 1),
    "another value": gray(MASK * 200),
    "instances": gray(MASK * 1 + (np.arange(16) > 7) * MASK),
    "bits": Image.fromarray(MASK),
    "16 bits": Image.fromarray((MASK * 1000).astype(np.uint16)),
    "palette, index 0 black": palette(MASK * 3, (0, 0, 0), (9, 9, 9), (9, 9, 9), (128, 0, 0)),
    "palette, index 0 white and the mask": palette(~MASK * 1, (255, 255, 255), (0, 0, 0)),
    "colours": Image.fromarray((MASK[..., None] * [128, 0, 64]).astype(np.uint8)),
    "opaque colours": rgba(MASK[..., None] * [255, 255, 255], np.full(HW, 255)),
    "cutout of a black thing": rgba(BLACK, MASK * 255),
    "cutout on white": rgba(np.where(MASK[..., None], PHOTO, WHITE), MASK * 255),
    "cutout of a photo": rgba(PHOTO, MASK * 255),
    "cutout that is gray": Image.merge("LA", [gray(np.full(HW, 7)), gray(MASK * 255)]),
}


@pytest.mark.parametrize("name", EXACT)
def test_a_picture_that_can_mean_one_thing_is_read(name):
    assert (kept_pixels(encoded(EXACT[name]), RULE) == MASK).all()


@pytest.mark.parametrize("form", ["BMP", "TIFF", "GIF", "PPM"])
def test_other_lossless_formats_are_read_as_png_is(form):
    assert (kept_pixels(encoded(gray(MASK * 255), form), RULE) == MASK).all()


def test_lossless_webp_is_read_and_lossy_files_need_a_threshold():
    assert (kept_pixels(encoded(gray(MASK * 255).convert("RGB"), "WEBP", lossless=True), RULE) == MASK).all()
    for form, options in (("JPEG", {}), ("WEBP", {"lossless": False}), ("AVIF", {}), ("TIFF", {"compression": "jpeg"})):
        data = encoded(gray(np.kron(MASK, np.ones((8, 8))) * 255).convert("RGB"), form, **options)
        with pytest.raises(InputError, match=r'lossy.*"threshold": 128'):
            kept_pixels(data, RULE)
        kept_HW = kept_pixels(data, PictureRule(threshold=128))
        assert (kept_HW == np.kron(MASK, np.ones((8, 8)))).mean() > 0.98


@pytest.mark.parametrize("values", [MASK, MASK.astype(np.uint8), MASK.astype(np.int64) * 7, MASK.astype(">u2")])
def test_numpy_files_of_whole_numbers_are_read(values):
    stream = io.BytesIO()
    np.save(stream, values)
    assert (kept_pixels(stream.getvalue(), RULE) == MASK).all()


@pytest.mark.parametrize(
    "values", [MASK.astype(float), MASK[0], np.zeros((0, 3), bool), np.array([[None]]), -MASK.astype(np.int64)]
)
def test_other_numpy_files_are_refused(values):
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=True)
    with pytest.raises(InputError, match="bad_human_mask"):
        kept_pixels(stream.getvalue(), RULE)
    with pytest.raises(InputError, match="bad_human_mask"):
        kept_pixels(stream.getvalue()[:-1] if values.ndim == 2 else b"\x93NUMPY\x01\x00", RULE)


DOUBTFUL = {
    "a border of 255": (gray(VOID), 'give "ignore": 255, "threshold": 128, or "index"'),
    "soft edges": (gray(np.where(RING, 100, MASK * 255)), 'give "ignore": 255, "threshold": 128'),
    "a soft mask": (gray(np.arange(192).reshape(HW)), '"threshold": 128, or "index"'),
    "palette, index 0 white": (palette(MASK * 1, (255, 255, 255), (255, 0, 0)), 'give "index"'),
    "palette, two blacks": (palette(MASK + RING * 1, (0, 0, 0), (0, 0, 0), (9, 0, 0)), 'give "index"'),
    "a photo": (Image.fromarray(PHOTO.astype(np.uint8)), "are a photo or soft"),
    "VOC in colours": (
        Image.fromarray(np.where(RING[..., None], [224, 224, 192], MASK[..., None] * [128, 0, 0]).astype(np.uint8)),
        '"ignore": "#e0e0c0"',
    ),
    "half transparent": (rgba(BLACK, np.where(RING, 90, MASK * 255)), '"threshold": 128, which is then of its opacity'),
    "black and white and transparent": (rgba(RING[..., None] * WHITE, MASK * 255), 'give "index": "#ffffff"'),
    "nothing to see": (rgba(WHITE, np.zeros(HW)), "transparent all over"),
    "floats": (Image.fromarray(MASK.astype(np.float32)), "mode 'F'"),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_a_picture_that_could_mean_two_things_is_refused_with_a_way_out(name):
    image, message = DOUBTFUL[name]
    with pytest.raises(InputError) as caught:
        kept_pixels(encoded(image, "TIFF" if image.mode == "F" else "PNG"), RULE)
    assert caught.value.reason == "bad_human_mask"
    assert message in caught.value.detail


@pytest.mark.parametrize(
    ("image", "rule", "kept"),
    [
        (gray(VOID), {"ignore": 255}, MASK & ~RING),
        (gray(VOID), {"ignore": [255, 7]}, MASK & ~RING),
        (gray(VOID), {"index": 255}, RING),
        (gray(VOID), {"index": [1, 255]}, MASK),
        (gray(VOID), {"threshold": 128}, RING),
        (palette(MASK * 1, (255, 255, 255), (255, 0, 0)), {"index": [1]}, MASK),
        (palette(MASK * 1, (255, 255, 255), (255, 0, 0)), {"index": "#ff0000"}, MASK),
        (Image.fromarray((MASK[..., None] * [255, 0, 0]).astype(np.uint8)), {"index": ["#ff0000"]}, MASK),
        (Image.fromarray((MASK[..., None] * [255, 0, 0]).astype(np.uint8)), {"ignore": "#ff0000"}, MASK & False),
        (rgba(BLACK, np.where(RING, 90, MASK * 255)), {"threshold": 128}, MASK & ~RING),
        (rgba(RING[..., None] * WHITE, MASK * 255), {"index": "#ffffff"}, RING),
        (Image.fromarray((MASK * 60000).astype(np.uint16)), {"threshold": 128}, MASK),
        (Image.fromarray((MASK * 300).astype(np.uint16)), {"threshold": 128}, MASK & False),
    ],
)
def test_a_target_can_say_what_its_picture_means(image, rule, kept):
    assert (kept_pixels(encoded(image), rule_of(rule)) == kept).all()


@pytest.mark.parametrize(
    "rule", [{"index": "red"}, {"index": [1, "#ff0000"]}, {"ignore": 1.5}, {"index": True}, {"threshold": "9"}]
)
def test_rules_of_another_kind_are_refused(rule):
    with pytest.raises(InputError, match="bad_human_mask"):
        rule_of(rule)


def test_colours_are_not_chosen_by_numbers():
    coloured = encoded(Image.fromarray((MASK[..., None] * [255, 0, 0]).astype(np.uint8)))
    with pytest.raises(InputError, match='as colours, such as "#ff0000"'):
        kept_pixels(coloured, PictureRule(index=(1,)))


def test_pictures_of_several_frames_are_refused():
    frames = [gray(MASK * 255), gray(~MASK * 255)]
    for form in ("GIF", "TIFF"):
        with pytest.raises(InputError, match="several pictures"):
            kept_pixels(encoded(frames[0], form, save_all=True, append_images=frames[1:]), RULE)


def test_a_picture_is_turned_as_its_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "turned.png").write_bytes(encoded(gray(np.rot90(MASK) * 255), exif=exif))
    assert (rle.decode(human_label(None, "turned.png", HW, tmp_path).mask) == MASK).all()


def test_a_picture_of_another_size_is_refused_before_it_is_decoded(tmp_path):
    (tmp_path / "large.png").write_bytes(encoded(Image.new("1", (9000, 9000))))
    with pytest.raises(InputError, match=r"'large.png'.*\(9000, 9000\).*\(12, 16\).*\"resize\": true"):
        human_label(None, "large.png", HW, tmp_path)
    with pytest.raises(InputError, match="do not scale alike"):
        human_label([{"mask": "large.png", "resize": True}], None, HW, tmp_path)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(EXACT)), st.integers(0, 400), st.binary(max_size=6), st.booleans())
def test_a_damaged_picture_is_read_or_refused(name, at, new, cut):
    data = encoded(EXACT[name])
    damaged = data[:at] if cut else data[:at] + new + data[at + len(new) :]
    try:
        assert kept_pixels(damaged, RULE).dtype == bool
    except InputError as error:
        assert error.reason == "bad_human_mask"
