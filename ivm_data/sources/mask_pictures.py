"""A picture file -> the pixels that it keeps, by one exact rule; what could mean two things is refused.

Without a rule of the target's own

- **gray**: every pixel that is not zero. 255 beside other values is refused: it may be VOC's void border or a soft
  edge. So are more than 64 values in 8 bits, which are a soft mask;
- **palette**: by index, as gray, where index 0 and no other used index is black. Where only two colours are used and
  one is black, the other is kept. Other palettes are refused;
- **colour**: every pixel that is not black, unless there are more than 64 colours, or VOC's void colour among others;
- **transparency**, where it differs between pixels: the opaque ones. Half transparent pixels are refused, and so is a
  picture whose opaque part is itself black and white.

The target may say more: `index` keeps these values alone, `ignore` drops these (both also as colours, "#e0e0c0"), and
`threshold` keeps gray values from there on, or opacities where they differ. A lossy format (JPEG, AVIF, lossy WebP)
needs `threshold`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from storage.errors import InputError
from storage.pixels.images import DEFAULT_LIMITS, FORMATS

MANY = 64
"""Values or colours above which a picture is no map of things."""

_ORIENTATION, _TURNED = 0x0112, {5, 6, 7, 8}
"""EXIF's tag, and its values that exchange width and height."""
_VOID = 0xE0E0C0
"""Colour of the border in Pascal VOC's masks, index 255 of its palette."""
_LOSSLESS_TIFF = {"raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "lzma", "zstd", "group3",
                  "group4", "tiff_ccitt", "tiff_thunderscan", "tiff_sgilog"}  # fmt: skip
_NUMPY = b"\x93NUMPY"


@dataclass(frozen=True)
class PictureRule:
    """What a target says of its picture.

    Attributes:
        threshold: gray value, 0 to 255, from which pixels are kept.
        index: values or colours that are kept; None for all but zero.
        ignore: values or colours that are dropped.
    """

    threshold: float | None = None
    index: tuple[int | str, ...] | None = None
    ignore: tuple[int | str, ...] = ()

    @property
    def of_colours(self) -> bool:
        """`index` or `ignore` names colours."""
        return any(isinstance(value, str) for value in (*(self.index or ()), *self.ignore))


def rule_of(target: Mapping[str, Any]) -> PictureRule:
    """The rule that a target's keys make.

    Raises:
        InputError: `bad_human_mask` for a value of another kind.
    """
    threshold, index = target.get("threshold"), target.get("index")
    if threshold is not None and (isinstance(threshold, bool) or not isinstance(threshold, int | float)):
        raise InputError("bad_human_mask", f"'threshold' must be a number, got {threshold!r:.60}")
    chosen = None if index is None else _values("index", index)
    return PictureRule(threshold, chosen, _values("ignore", target.get("ignore") or ()))


def kept_pixels(data: bytes, rule: PictureRule, check: Callable[[int, int], None] | None = None) -> np.ndarray:
    """The pixels of a picture that a rule keeps, (H, W) bool in the picture's own size, turned as its EXIF says.

    Args:
        check: is called with height and width before anything is decoded, and may raise.

    Raises:
        InputError: `bad_human_mask` for a file that cannot be read, or that may mean two things.
    """
    if data.startswith(_NUMPY):
        return _by_value(_array(data, check), rule)
    with opened(data) as image:
        turned = image.getexif().get(_ORIENTATION) in _TURNED
        if check:
            check(*((image.width, image.height) if turned else (image.height, image.width)))
        if rule.threshold is None and _is_lossy(image, data):
            raise _doubt(
                f'{image.format} is lossy, so that its values are not exact; give "threshold": 128, or save a PNG'
            )
        image.load()
        return _kept(ImageOps.exif_transpose(image), rule)


@contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """A picture of one frame and a bounded size, not decoded yet.

    Raises:
        InputError: `bad_human_mask`, also for what Pillow raises while the picture is in use.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > DEFAULT_LIMITS.max_pixels:
                seen = f"{image.width}x{image.height} pixels"
                raise _doubt(f"{seen}, at most {DEFAULT_LIMITS.max_pixels} in all are decoded")
            if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
                raise _doubt("it holds several pictures; save the one that is the mask")
            yield image
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise _doubt(f"it is none of {', '.join(FORMATS)} nor a NumPy .npy file") from error
    except Exception as error:  # Pillow's decoders raise nearly every type on foreign bytes
        raise _doubt(f"{type(error).__name__}: {error}"[:300]) from error


def _is_lossy(image: Image.Image, data: bytes) -> bool:
    if image.format == "WEBP":
        return b"VP8L" not in data[:256]
    if image.format == "TIFF":
        return image.info.get("compression", "raw") not in _LOSSLESS_TIFF
    return image.format in ("JPEG", "MPO", "AVIF")


def _kept(image: Image.Image, rule: PictureRule) -> np.ndarray:
    if rule.of_colours:
        return _by_value(_codes(image), rule)
    alpha_HW = _alpha(image)
    if rule.threshold is not None:
        return (_gray(image) if alpha_HW is None else alpha_HW) >= rule.threshold
    by_number = rule.index is not None or rule.ignore
    if alpha_HW is not None and not by_number:
        return _by_alpha(image, alpha_HW)
    if image.mode == "P":
        return _by_palette(image, rule)
    if image.mode in ("RGB", "RGBA", "LA"):
        return _by_colour(image, rule)
    if image.mode in ("1", "L", "I", "I;16", "I;16B", "I;16L"):
        return _by_value(np.asarray(image), rule)
    raise _doubt(f'pixels of mode {image.mode!r} name no value; give "threshold": 128, or save 8 or 16 bit gray')


def _by_value(value_HW: np.ndarray, rule: PictureRule) -> np.ndarray:
    if rule.index is not None:
        return np.isin(value_HW, _numbers(rule.index))
    if value_HW.dtype == np.bool_:
        return value_HW.copy()
    dropped = [0, *_numbers(rule.ignore)]
    _check_values(np.setdiff1d(_present(value_HW), dropped), value_HW.dtype)
    return np.isin(value_HW, dropped, invert=True)


def _check_values(present: np.ndarray, dtype: np.dtype[Any]) -> None:
    """Refuse values that are more than numbers of things."""
    if not len(present):
        return
    if present[0] < 0:
        raise _doubt(
            f'the value {present[0]} is below zero; give "index" with those to keep, or "ignore": {present[0]}'
        )
    white = 255 if present[-1] < 256 else 65535
    if len(present) > 1 and present[-1] == white:
        raise _doubt(
            f"{white} stands beside other values ({', '.join(map(str, present[:4]))}): a border that counts for "
            f'nobody, or soft edges; give "ignore": {white}, "threshold": 128, or "index" with the values to keep'
        )
    if len(present) > MANY and dtype == np.uint8:
        raise _doubt(f'{len(present)} gray values are a soft mask; give "threshold": 128, or "index"')


def _by_palette(image: Image.Image, rule: PictureRule) -> np.ndarray:
    value_HW = np.asarray(image)
    if rule.index is not None:
        return _by_value(value_HW, rule)
    used = _present(value_HW).tolist()
    colours = _palette(image)
    black = [number for number in used if colours.get(number, (1,)) == (0, 0, 0)]
    background = 0 if colours.get(0, (0, 0, 0)) == (0, 0, 0) else None
    if background is not None and set(black) <= {0}:
        return _by_value(value_HW, rule)
    if len(used) == 2 and len(black) == 1 and not rule.ignore:
        mask_HW: np.ndarray = value_HW != black[0]
        return mask_HW
    raise _doubt(
        f"its palette is not black at index 0 alone (used: {', '.join(map(str, used[:6]))}), so that its indices do "
        'not say what is the mask; give "index" with those to keep'
    )


def _by_colour(image: Image.Image, rule: PictureRule) -> np.ndarray:
    sample_HWC = np.asarray(image.convert("RGB"))
    if (sample_HWC == sample_HWC[..., :1]).all():
        return _by_value(np.ascontiguousarray(sample_HWC[..., 0]), rule)
    if rule.index is not None or rule.ignore:
        raise _doubt('it is coloured: give "index" and "ignore" as colours, such as "#ff0000"')
    code_HW = _codes(image)
    step = max(1, code_HW.size // 1_000_000)
    colours = np.unique(code_HW.ravel()[::step])
    if len(colours) <= MANY:
        colours = np.unique(code_HW)
    if len(colours) > MANY:
        raise _doubt(f'{len(colours)} colours and more are a photo or soft; give "threshold": 128, or save a mask')
    if _VOID in colours and len(np.setdiff1d(colours, [0, _VOID])):
        raise _doubt(
            'the colour #e0e0c0 is the border of Pascal VOC, which counts for nobody; give "ignore": "#e0e0c0"'
        )
    mask_HW: np.ndarray = code_HW != 0
    return mask_HW


def _by_alpha(image: Image.Image, alpha_HW: np.ndarray) -> np.ndarray:
    seen = _present(alpha_HW)
    if set(seen.tolist()) - {0, 255}:
        raise _doubt('it is half transparent in places; give "threshold": 128, which is then of its opacity')
    opaque_HW: np.ndarray = alpha_HW == 255
    if image.mode in ("L", "P"):
        _check_values(_present(np.asarray(image)[opaque_HW]), np.dtype(np.uint8))
        return opaque_HW
    colours = np.unique(_codes(image)[opaque_HW])
    if colours.tolist() == [0, 0xFFFFFF]:
        raise _doubt(
            "it is transparent in places and black and white in others, so that both could be the mask; "
            'give "index": "#ffffff", or save it without transparency'
        )
    return opaque_HW


def _alpha(image: Image.Image) -> np.ndarray | None:
    """The opacity, (H, W) uint8, where it differs between pixels.

    Raises:
        InputError: `bad_human_mask` where nothing can be seen.
    """
    if not image.has_transparency_data:
        return None
    alpha_HW = np.asarray(image.convert("RGBA"))[..., 3]
    low, high = int(alpha_HW.min()), int(alpha_HW.max())
    if high == 0:
        raise _doubt("it is transparent all over")
    return alpha_HW if low < high else None


def _gray(image: Image.Image) -> np.ndarray:
    """The gray values, (H, W), 16 bits brought to 0 to 255."""
    if image.mode.startswith("I;16"):
        return np.asarray(image) / 257
    if image.mode in ("I", "F"):
        raise _doubt(f'"threshold" is a gray value of 0 to 255, which pixels of mode {image.mode!r} do not have')
    return np.asarray(image.convert("L"))


def _codes(image: Image.Image) -> np.ndarray:
    """Each pixel's colour as 0xRRGGBB, (H, W) int32."""
    code_HW = np.zeros((image.height, image.width), np.int32)
    for band in image.convert("RGB").split():
        code_HW <<= 8
        code_HW |= np.asarray(band)
    return code_HW


def _palette(image: Image.Image) -> dict[int, tuple[int, ...]]:
    flat = image.getpalette("RGB") or []
    return {number: tuple(flat[3 * number : 3 * number + 3]) for number in range(len(flat) // 3)}


def _present(value_HW: np.ndarray) -> np.ndarray:
    """The values that occur, sorted."""
    if value_HW.dtype == np.uint8:
        return np.flatnonzero(np.bincount(value_HW.ravel(), minlength=256))
    return np.unique(value_HW)


def _array(data: bytes, check: Callable[[int, int], None] | None) -> np.ndarray:
    """A NumPy file of whole numbers or booleans with the axes H and W; nothing in it is unpickled."""
    try:
        stream = io.BytesIO(data)
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        if dtype.kind not in "biu" or len(shape) != 2 or 0 in shape:
            raise ValueError(f"{dtype} of shape {shape}")
        if dtype.itemsize * shape[0] * shape[1] > len(data):
            raise ValueError("it is cut off")
        if check:
            check(*shape)
        return np.ascontiguousarray(np.load(io.BytesIO(data), allow_pickle=False))
    except InputError:
        raise
    except Exception as error:  # NumPy's reader raises many types on foreign bytes
        seen = f"a NumPy file must hold booleans or whole numbers with the axes H and W: {error}"
        raise _doubt(seen[:300]) from error


def _values(name: str, given: Any) -> tuple[int | str, ...]:
    listed = given if isinstance(given, list | tuple) else [given]
    if all(isinstance(one, int) and not isinstance(one, bool) for one in listed):
        return tuple(listed)
    if all(isinstance(one, str) and _colour(one) is not None for one in listed):
        return tuple(listed)
    raise InputError(
        "bad_human_mask", f"'{name}' must be whole numbers, or colours such as \"#ff0000\", got {given!r:.60}"
    )


def _numbers(values: tuple[int | str, ...]) -> list[int]:
    return [value if isinstance(value, int) else _colour(value) or 0 for value in values]


def _colour(text: str) -> int | None:
    digits = text.removeprefix("#")
    try:
        return int(digits, 16) if len(digits) == 6 and text.startswith("#") else None
    except ValueError:
        return None


def _doubt(problem: str) -> InputError:
    return InputError("bad_human_mask", problem)
