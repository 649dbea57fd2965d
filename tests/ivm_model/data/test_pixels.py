import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from ivm_model.data.pixels import decode_to_fit, shrink


def encoded(image_HWC, form="JPEG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image_HWC).save(file, form, **options)
    return file.getvalue()


@pytest.fixture
def smooth():
    y, x = np.mgrid[:300, :400]
    return np.stack([x * 0.6, y * 0.8, (x + y) * 0.3], 2).astype(np.uint8)


@pytest.mark.parametrize("side", [40, 100, 150, 399, 400, 1000])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_an_image_is_shrunk_to_fit_and_never_enlarged(smooth, side, form):
    found_HWC = decode_to_fit(encoded(smooth, form), side)
    size = (400, 300) if side >= 400 else (side, int(side * 0.75 + 0.5))
    assert found_HWC.shape == (size[1], size[0], 3)
    expected_HWC = np.asarray(Image.fromarray(smooth).resize(size, Image.Resampling.BOX))
    assert np.abs(found_HWC.astype(int) - expected_HWC).mean() < 3


def test_exif_rotation_grey_and_cmyk_are_read_as_pillow_reads_them(smooth):
    exif = Image.Exif()
    exif[0x0112] = 6
    for image in (encoded(smooth, exif=exif), encoded(smooth[..., 0]), encoded(smooth, "GIF")):
        with Image.open(io.BytesIO(image)) as opened:
            expected_HWC = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
        assert np.abs(decode_to_fit(image, 400).astype(int) - expected_HWC).max() <= 2
    file = io.BytesIO()
    Image.fromarray(smooth).convert("CMYK").save(file, "JPEG")
    assert decode_to_fit(file.getvalue(), 100).shape == (75, 100, 3)


def test_a_thin_line_survives_a_strong_reduction():
    mask_HW = np.zeros((1001, 999), np.uint8)
    mask_HW[:, 500:502] = 255
    small_HW = shrink(mask_HW, 101, 100)
    assert small_HW.shape == (101, 100) and small_HW.mean() == pytest.approx(mask_HW.mean(), rel=0.15)


@pytest.mark.parametrize("broken", [b"", b"\xff\xd8\xff\xe0 no photo", "cut"])
def test_a_broken_file_is_an_error(smooth, broken):
    image = encoded(smooth)[:300] if broken == "cut" else broken
    with pytest.raises((OSError, ValueError)):
        decode_to_fit(image, 100)
