"""SQL functions over masks in COCO compressed RLE: rle_area, rle_iou, rle_bbox; NULL in, NULL out.

SELECT rle_area(mask, height, width), rle_iou(mask, human_mask, height, width) FROM masks
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb
import pyarrow as pa
from duckdb.func import ARROW, SPECIAL

from storage.pixels import rle
from storage.records import Rle

_BOX = pa.struct([(side, pa.float64()) for side in ("x0", "y0", "x1", "y1")])


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Add the functions to a connection."""
    box = "STRUCT(x0 DOUBLE, y0 DOUBLE, x1 DOUBLE, y1 DOUBLE)"
    for name, call, masks, result in (
        ("rle_area", _area, 1, "BIGINT"),
        ("rle_bbox", _bbox, 1, box),
        ("rle_iou", _iou, 2, "DOUBLE"),
    ):
        parameters: list[Any] = ["BLOB"] * masks + ["INTEGER", "INTEGER"]
        connection.create_function(name, call, parameters, result, type=ARROW, null_handling=SPECIAL)


def _area(mask: pa.Array, height: pa.Array, width: pa.Array) -> pa.Array:
    return _each(pa.int64(), lambda m, h, w: rle.area(Rle(h, w, m)), mask, height, width)


def _bbox(mask: pa.Array, height: pa.Array, width: pa.Array) -> pa.Array:
    return _each(_BOX, _box, mask, height, width)


def _iou(first: pa.Array, second: pa.Array, height: pa.Array, width: pa.Array) -> pa.Array:
    return _each(pa.float64(), lambda a, b, h, w: rle.iou(Rle(h, w, a), Rle(h, w, b)), first, second, height, width)


def _box(mask: bytes, height: int, width: int) -> dict[str, float] | None:
    box = rle.bbox(Rle(height, width, mask))
    return None if box is None else {"x0": box.x0, "y0": box.y0, "x1": box.x1, "y1": box.y1}


def _each(kind: pa.DataType, call: Callable[..., Any], *columns: pa.Array) -> pa.Array:
    rows = zip(*(column.to_pylist() for column in columns), strict=True)
    return pa.array((None if None in row else call(*row) for row in rows), kind)
