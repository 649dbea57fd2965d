"""One region of Label Studio -> a target. Coordinates are in percent of the image.

The shapes and their values are those of its documentation (labelstud.io/tags): brush, polygon, rectangle, ellipse,
bitmask and vector. Key points and open vectors cover no area and are left out. A value of another kind is an error.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np

from ivm_data.sources.foreign.common import shapes
from ivm_data.sources.foreign.common.foreign_reader import LeftOut, Target, number
from ivm_data.sources.foreign.tools import brush
from ivm_data.sources.marked_size import Size
from ivm_data.sources.mask_pictures import PictureRule, kept_pixels, opened
from storage.pixels.images import DEFAULT_LIMITS

_UNKNOWN: Size = (1000, 1000)
"""Stands for the size of an image that the region does not give: its marks stay in shares then."""
_GEOMETRY = {"rle", "imageDataURL", "vertices", "points", "radiusX", "x"}
_OPAQUE = 128


def is_shape(value: Any) -> bool:
    """Whether a result's value has coordinates or pixels."""
    return isinstance(value, dict) and bool(_GEOMETRY & set(value))


def target_of(result: dict[str, Any]) -> Target | LeftOut:
    """The target of a result whose value is a shape.

    Raises:
        ValueError: a shape that is not drawn here, or whose values are not as Label Studio writes them.
    """
    value = result["value"]
    if result.get("image_rotation"):
        raise ValueError(f"the image was turned by {result['image_rotation']} degrees while it was labeled")
    size = _size(result)
    for names, draw in _DRAWN:
        if names <= set(value):
            return draw(value, size)
    raise ValueError(f"a result of type {result.get('type')!r:.60} is no mask that is read here")


def _size(result: dict[str, Any]) -> Size | None:
    """(height, width) of the image when it was marked."""
    sides = result.get("original_height"), result.get("original_width")
    if sides[0] is None or sides[1] is None:
        return None
    height, width = (int(number(side)) for side in sides)
    if not (min(height, width) > 0 and height * width <= DEFAULT_LIMITS.max_pixels):
        raise ValueError(f"an image of (height, width) = {height, width}")
    return height, width


def _brush(value: dict[str, Any], size: Size | None) -> Target:
    if size is None:
        raise ValueError("a brush needs original_height and original_width")
    return shapes.mask_target(brush.decode(bytes(value["rle"]), *size))


def _bitmask(value: dict[str, Any], size: Size | None) -> Target:
    """A PNG whose opaque pixels are the mask, whatever their colour; one without transparency is read by its values."""
    url = value["imageDataURL"]
    if not isinstance(url, str) or not url.startswith("data:image/") or ";base64," not in url:
        raise ValueError(f"a bitmask must be a data URL of an image, got {str(url)[:40]!r}")
    data = base64.b64decode(url.split(",", 1)[1])
    with opened(data) as image:
        alpha_HW = np.asarray(image.convert("RGBA"))[..., 3] if image.has_transparency_data else None
    return shapes.mask_target(kept_pixels(data, PictureRule()) if alpha_HW is None else alpha_HW >= _OPAQUE)


def _vector(value: dict[str, Any], size: Size | None) -> Target | LeftOut:
    if not value.get("closed"):
        return LeftOut("open vector")
    vertices = value["vertices"]
    if any(vertex.get("isBezier") for vertex in vertices):
        raise ValueError("a vector with Bezier curves is not drawn here; straighten it, or use a polygon")
    names = [vertex.get("id") for vertex in vertices]
    for vertex, before in zip(vertices, [names[-1], *names], strict=False):
        if vertex.get("prevPointId") not in (None, before):
            raise ValueError("a vector whose vertices branch is not drawn here")
    points = shapes.points_of([[vertex["x"], vertex["y"]] for vertex in vertices])
    return _polygon(_pixels(points, size or _UNKNOWN), size)


def _outline(value: dict[str, Any], size: Size | None) -> Target:
    return _polygon(_pixels(shapes.points_of(value["points"]), size or _UNKNOWN), size)


def _ellipse(value: dict[str, Any], size: Size | None) -> Target:
    height, width = size or _UNKNOWN
    x, y, across, down = (number(value[name]) for name in ("x", "y", "radiusX", "radiusY"))
    angle = _angle(value, size)
    middle = x * width / 100, y * height / 100
    return _polygon(shapes.ellipse(*middle, across * width / 100, down * height / 100, angle), size)


def _rectangle(value: dict[str, Any], size: Size | None) -> Target:
    """A box; one that is turned, around its first corner, is a polygon."""
    corners = shapes.rectangle(*(number(value[name]) for name in ("x", "y", "width", "height")))
    angle, points = _angle(value, size), _pixels(corners, size or _UNKNOWN)
    if angle:
        return _polygon(shapes.turned(points, angle, points[0]), size)
    (x0, y0), (x1, y1) = points[0], points[2]
    if not (x0 < x1 and y0 < y1):
        raise ValueError(f"a rectangle of width {value['width']} and height {value['height']} covers nothing")
    return _framed({"box": [x0, y0, x1, y1]}, size)


def _angle(value: dict[str, Any], size: Size | None) -> float:
    angle = number(value.get("rotation") or 0)
    if angle and size is None:
        raise ValueError("a turned shape needs original_height and original_width")
    return angle


def _polygon(points: shapes.Points, size: Size | None) -> Target:
    if len(points) < 3:
        raise ValueError(f"a polygon needs 3 points, got {len(points)}")
    return _framed({"polygons": [shapes.flat(points)]}, size)


def _framed(target: Target, size: Size | None) -> Target:
    """The target with the size that its pixels are of; in shares where that is not known."""
    if size:
        return target | {"size": list(size)}
    if "box" in target:
        return {"box": [edge / _UNKNOWN[0] for edge in target["box"]], "frame": "image"}
    shares = [[edge / _UNKNOWN[0] for edge in polygon] for polygon in target["polygons"]]
    return {"polygons": shares, "frame": "image"}


def _pixels(points: shapes.Points, size: Size) -> shapes.Points:
    return [(x * size[1] / 100, y * size[0] / 100) for x, y in points]


def _key_point(value: dict[str, Any], size: Size | None) -> LeftOut:
    return LeftOut("keypoint")


_DRAWN: tuple[tuple[set[str], Callable[[dict[str, Any], Size | None], Target | LeftOut]], ...] = (
    ({"rle"}, _brush),
    ({"imageDataURL"}, _bitmask),
    ({"vertices"}, _vector),
    ({"points"}, _outline),
    ({"radiusX"}, _ellipse),
    ({"x", "y", "width", "height"}, _rectangle),
    ({"x", "y"}, _key_point),
)
"""Keys of a value -> how it is drawn; the first that fits counts."""
