import io
import struct
import zlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from storage.errors import ConfigError, InputError
from storage.pixels.images import BATCH_PIXELS, ImageLimits, bounded, decode, is_upright, read, upright, upright_size

RED, GREEN, BLUE = (250, 10, 20), (10, 250, 20), (20, 10, 250)


def encoded(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def photo(width: int = 40, height: int = 30) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], -1).astype(np.uint8))


def png_header(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be of any size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    ihdr = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + ihdr + chunk(b"IDAT", zlib.compress(b"\x00" * 100)) + chunk(b"IEND", b"")


def reason(data: bytes, limits: ImageLimits | None = None) -> str:
    with pytest.raises(InputError) as caught:
        decode(data, limits or ImageLimits())
    return caught.value.reason


def test_an_rgb_png_decodes_exactly_to_a_writable_array():
    image = decode(encoded(photo()))
    assert image.dtype == np.uint8
    assert image.flags.writeable and image.flags.c_contiguous
    assert (image == np.asarray(photo())).all()


def test_16_bit_gray_is_scaled_and_not_clipped():
    gray = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    image = decode(encoded(Image.fromarray(gray)))
    assert np.abs(image[..., 0] - gray / 257.0).max() <= 0.5
    assert (image[0, 0] == 0).all() and (image[-1, -1] == 255).all()


def test_16_bit_gray_tiff_and_pgm_are_scaled_as_well():
    gray = np.linspace(0, 65535, 16 * 16).reshape(16, 16).astype(np.uint16)
    pgm = b"P5 16 16 65535\n" + gray.astype(">u2").tobytes()
    for data in (encoded(Image.fromarray(gray), "TIFF"), pgm):
        assert np.abs(decode(data)[..., 0] - gray / 257.0).max() <= 0.5


def test_gray_without_a_defined_white_is_refused():
    floats = Image.fromarray(np.linspace(-3, 1e6, 256).reshape(16, 16).astype(np.float32))
    integers = Image.fromarray(np.full((16, 16), 1 << 20, np.int32))
    for image in (floats, integers):
        with pytest.raises(InputError, match="no defined white"):
            decode(encoded(image, "TIFF"))


def test_a_cmyk_jpeg_becomes_the_colour_that_it_shows():
    image = decode(encoded(Image.new("RGB", (32, 32), RED).convert("CMYK"), "JPEG", quality=95))
    assert np.abs(image.astype(int) - RED).max() <= 4


def test_palette_one_bit_and_gray_images_become_rgb():
    two = Image.new("RGB", (16, 16), RED)
    two.paste(BLUE, (0, 0, 8, 16))
    palette = decode(encoded(two.convert("P", palette=Image.Palette.ADAPTIVE)))
    assert (palette[0, 0] == BLUE).all() and (palette[0, 15] == RED).all()
    one_bit = decode(encoded(Image.fromarray(np.eye(16, dtype=bool))))
    assert (one_bit[..., 0] == np.eye(16) * 255).all()
    assert (decode(encoded(Image.new("L", (16, 16), 77))) == 77).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_over_white(mode):
    image = Image.new("RGBA", (16, 16), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (8, 0, 16, 16))
    decoded = decode(encoded(image.convert(mode)))
    assert (decoded[:, :8] == 0).all() and (decoded[:, 8:] == 255).all()


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_counts(file_format):
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encoded(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    assert np.abs(decode(data).astype(int) - RED).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation):
    upright = photo()
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert (decode(encoded(stored, exif=exif)) == np.asarray(upright)).all()


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"])
def test_a_truncated_file_is_unreadable(file_format):
    data = encoded(photo(200, 150), file_format)
    assert reason(data[: len(data) * 2 // 3]) == "image_unreadable"
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"not an image at all" * 9, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n"]
)
def test_what_is_no_image_is_unreadable(data):
    assert reason(data) == "image_unreadable"


def test_a_decompression_bomb_is_refused_by_its_header():
    assert reason(png_header(50_000, 50_000)) == "image_too_large"
    assert reason(png_header(13_000, 13_000)) == "image_too_large"


def test_twelve_thousand_by_nine_thousand_passes_the_size_check():
    assert reason(png_header(12_000, 9_000)) == "image_unreadable"


def test_small_images_and_large_files_are_refused_with_the_sizes():
    with pytest.raises(InputError, match=r"image_too_small: 100x7 pixels.*8"):
        decode(encoded(photo(100, 7)))
    assert decode(encoded(photo(8, 8))).shape == (8, 8, 3)
    assert reason(encoded(photo()), ImageLimits(max_bytes=10)) == "image_too_large"
    assert reason(encoded(photo()), ImageLimits(max_pixels=40 * 30 - 1)) == "image_too_large"


def test_a_file_is_read_by_its_path_and_a_missing_one_is_named(tmp_path):
    photo().save(tmp_path / "a.png")
    assert (read(tmp_path / "a.png") == np.asarray(photo())).all()
    with pytest.raises(InputError, match=r"image_missing: .*none\.png"):
        read(tmp_path / "none.png")


def test_limits_under_one_are_a_configuration_error():
    with pytest.raises(ConfigError, match=r"'min_side'.*got 0"):
        ImageLimits(min_side=0)


FILES = {
    name: encoded(photo(), name, **options)
    for name, options in {"JPEG": {}, "PNG": {}, "WEBP": {}, "GIF": {}, "BMP": {}, "TIFF": {}, "PPM": {}}.items()
}


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(sorted(FILES)), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6))
def test_any_bytes_give_an_image_or_an_input_error(name, changes):
    data = bytearray(FILES[name])
    for place, value in changes:
        data[place % len(data)] = value
    try:
        image = decode(bytes(data), ImageLimits(max_pixels=1_000_000))
    except InputError as error:
        assert error.reason in ("image_unreadable", "image_too_large", "image_too_small")
        assert " at 0x" not in error.detail, "a memory address would make two runs differ"
    else:
        assert image.ndim == 3 and image.dtype == np.uint8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_header_says_whether_an_image_is_turned_and_how_large_it_then_is(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(photo(), "JPEG", exif=exif)
    with Image.open(io.BytesIO(data)) as opened:
        assert upright_size(opened) == decode(data).shape[:2]
        assert is_upright(opened) == (orientation == 1)


def test_an_opened_image_becomes_what_decoding_its_file_gives():
    transparent = photo().convert("RGBA")
    transparent.putalpha(Image.fromarray((np.arange(30 * 40) % 256).astype(np.uint8).reshape(30, 40)))
    for data in (encoded(transparent), encoded(photo().convert("L")), encoded(photo().convert("CMYK"), "TIFF")):
        with Image.open(io.BytesIO(data)) as opened:
            assert (np.asarray(upright(opened)) == decode(data)).all()


@given(st.lists(st.integers(64, 20_000_000), max_size=70), st.integers(1, 16))
def test_images_of_ordinary_size_are_batched_by_their_number_alone(sizes, count):
    batches = list(bounded(enumerate(sizes), count, lambda item: item[1]))
    assert batches == [list(enumerate(sizes))[i : i + count] for i in range(0, len(sizes), count)]


@given(st.lists(st.integers(64, 120_000_000), max_size=70), st.integers(1, 64))
def test_no_batch_of_several_images_exceeds_the_bound_and_none_is_lost(sizes, count):
    batches = list(bounded(enumerate(sizes), count, lambda item: item[1]))
    assert [item for batch in batches for item in batch] == list(enumerate(sizes))
    assert all(sum(size for _, size in batch) <= BATCH_PIXELS and 1 <= len(batch) <= count for batch in batches)
    for batch, after in pairwise(batches):
        assert len(batch) == count or sum(size for _, size in (*batch, after[0])) > BATCH_PIXELS


def test_a_batch_is_there_as_soon_as_it_is_whole():
    given_out = []
    batches = bounded((given_out.append(n) or n for n in range(9)), 3, lambda _: 100)
    assert (next(batches), given_out) == ([0, 1, 2], [0, 1, 2])
