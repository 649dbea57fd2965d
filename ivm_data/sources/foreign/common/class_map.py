"""The values of a mask's picture, indices or colours -> names of classes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image, ImageOps

from ivm_data.sources.mask_pictures import opened
from storage.errors import ConfigError

BACKGROUND = {"background", "_background_", "bg", "unlabeled", "unlabelled", "__background__"}
"""Names of what is no thing."""
BORDER = {"void", "ignore", "__ignore__", "_ignore_", "border"}
"""Names of pixels that count for nobody."""
VOC = ("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
       "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor")  # fmt: skip
"""Classes of Pascal VOC, from index 1."""
VOC_BORDER = 255

_HEX = re.compile(r"#([0-9a-fA-F]{6})")
_LINE = re.compile(r"(#[0-9a-fA-F]{6}|\d+(?:[ ,]+\d+[ ,]+\d+)?)[\s:,=]+(\S.*)")
_CVAT_LINE = re.compile(r"([^:#][^:]*):(\d+,\d+,\d+)?:[^:]*:[^:]*")


@dataclass(frozen=True)
class ClassMap:
    """Names by index and by colour (0xRRGGBB); what has neither is unknown.

    Attributes:
        ignored: indices that count for nobody.
    """

    by_index: dict[int, str] = field(default_factory=dict)
    by_colour: dict[int, str] = field(default_factory=dict)
    ignored: frozenset[int] = frozenset()

    def name(self, index: int | None, colour: int | None) -> str:
        """The class of a value: "" for background, "void" for what counts for nobody.

        Raises:
            ValueError: an unknown value.
        """
        if index is not None and index in self.ignored:
            return "void"
        found = self.by_colour.get(colour) if colour is not None else None
        if found is None and index is not None:
            found = self.by_index.get(index)
        if found is None and not index and not colour:
            return ""
        if found is None:
            shown = f"#{colour:06x}" if colour is not None else ""
            value = " of colour ".join(filter(None, ("" if index is None else str(index), shown)))
            raise ValueError(f"the mask has pixels of the value {value}, which no class has; name it, or ignore it")
        low = found.strip().lower()
        return "" if low in BACKGROUND else "void" if low in BORDER else found.strip()


def voc_map() -> ClassMap:
    """The indices and colours of Pascal VOC."""
    numbered = dict(enumerate(VOC, 1))
    return with_voc_border(ClassMap(numbered, {_voc_colour(number): name for number, name in numbered.items()}))


def with_voc_border(classes: ClassMap) -> ClassMap:
    """The same map, in which index 255 and its colour count for nobody, unless it names them."""
    colours = {_voc_colour(VOC_BORDER): "void"} | classes.by_colour
    ignored = classes.ignored | ({VOC_BORDER} - classes.by_index.keys())
    return ClassMap(classes.by_index, colours, ignored)


def read_class_map(path: Path, ignored: Iterable[int] = ()) -> ClassMap:
    """A map from a file: CVAT's labelmap.txt (`cup:255,0,0::`), JSON or YAML, or lines of a value and a name.

    A value is an index (`1`) or a colour (`#ff0000`, `255,0,0`). Where labelmap.txt gives no colour a line has that of
    VOC's palette at its place.

    Raises:
        ConfigError: another form, or no class at all.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        pairs = list(_pairs(text, path.suffix.lower()))
        by_index = {value: name for value, name in pairs if isinstance(value, int)}
        by_colour = {int(value[1:], 16): name for value, name in pairs if isinstance(value, str)}
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"'{path}' is no map of values to names: {str(error)[:200]}") from error
    if not pairs:
        raise ConfigError(f"'{path}' names no class; a line is a value and a name: '1: cup' or '#ff0000: cup'")
    return ClassMap(by_index, by_colour, frozenset(ignored))


def masks_by_class(data: bytes, classes: ClassMap) -> Iterator[tuple[str, np.ndarray]]:
    """(name, (H, W) bool) of each class in a mask's picture, and of "void" where there is such; the file's own order.

    Raises:
        InputError: `bad_human_mask` for a file that is no picture.
        ValueError: values that no class has, or a lossy or other unfit picture.
    """
    with opened(data) as image:
        if image.format in ("JPEG", "MPO", "AVIF"):
            raise ValueError(f"{image.format} is lossy, so that its values name no class; save a PNG")
        image.load()
        values_HW, colours = _values(ImageOps.exif_transpose(image))
    found: dict[str, np.ndarray] = {}
    for value in np.unique(values_HW).tolist():
        index = None if colours is None else value
        name = classes.name(index, value if colours is None else colours.get(value))
        if name:
            mask_HW = values_HW == value
            found[name] = found[name] | mask_HW if name in found else mask_HW
    yield from found.items()


def _values(image: Image.Image) -> tuple[np.ndarray, dict[int, int] | None]:
    """(values, colour of each index); the values are colours where there are no indices."""
    if image.mode == "P":
        flat = image.getpalette("RGB") or []
        codes = {at: int.from_bytes(bytes(flat[3 * at : 3 * at + 3])) for at in range(len(flat) // 3)}
        return np.asarray(image), codes
    if image.mode in ("1", "L", "I;16", "I;16B", "I"):
        return np.asarray(image).astype(np.int32), {}
    rgb_HWC = np.asarray(image.convert("RGB"))
    if (rgb_HWC == rgb_HWC[..., :1]).all():
        return rgb_HWC[..., 0].astype(np.int32), {value: value * 0x010101 for value in range(256)}
    code_HW = np.zeros(rgb_HWC.shape[:2], np.int32)
    for channel in range(3):
        code_HW = (code_HW << 8) | rgb_HWC[..., channel]
    return code_HW, None


def _pairs(text: str, suffix: str) -> Iterator[tuple[int | str, str]]:
    if suffix in (".json", ".yaml", ".yml"):
        document: Any = json.loads(text) if suffix == ".json" else yaml.safe_load(text)
        named = document.get("names", document) if isinstance(document, dict) else document
        listed = named.items() if isinstance(named, dict) else enumerate(named) if isinstance(named, list) else ()
        yield from ((_value(str(value)), str(name)) for value, name in listed)
        return
    place = 0
    for line in text.splitlines():
        if cvat := _CVAT_LINE.fullmatch(line.strip()):
            yield _value(cvat[2] or f"#{_voc_colour(place):06x}"), cvat[1]
            place += 1
        elif found := _LINE.fullmatch(line.strip()):
            yield _value(found[1]), found[2]
        elif line.strip() and not line.startswith("# "):
            raise ValueError(f"the line {line.strip()!r:.60} is no value and a name")


def _value(text: str) -> int | str:
    if _HEX.fullmatch(text):
        return text
    numbers = [int(digits) for digits in re.findall(r"\d{1,6}", text)]
    if len(numbers) == 1 and str(numbers[0]) == text.strip():
        return numbers[0]
    if len(numbers) == 3 and max(numbers) < 256:
        return "#{:02x}{:02x}{:02x}".format(*numbers)
    raise ValueError(f"{text!r:.40} is neither an index nor a colour")


def _voc_colour(index: int) -> int:
    """The palette of Pascal VOC: three bits of the index go to the tops of red, green and blue, and so on."""
    red = green = blue = 0
    for shift in range(8):
        red |= (index >> 3 * shift & 1) << 7 - shift
        green |= (index >> 3 * shift + 1 & 1) << 7 - shift
        blue |= (index >> 3 * shift + 2 & 1) << 7 - shift
    return red << 16 | green << 8 | blue
