"""A COCO instances file whose annotations stay on disk: where each lies, by image and category."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from ivm_data.sources.foreign.foreign_reader import BadRecord, Target, box_target
from ivm_data.sources.foreign.json_stream import Node, read_at, stream
from storage.errors import ConfigError

_FIELDS = ("image_id", "category_id", "id")


class CocoIndex:
    """Images and categories in memory, 40 bytes for each annotation, and the open file. A context manager.

    Attributes:
        images: image id -> file name.
        categories: category id -> name.
        bad: images, categories and annotations that cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.images, self.categories = path, dict[int, str](), dict[int, str]()
        self.bad: list[BadRecord] = []
        found = array("q")
        counts = dict.fromkeys(("images", "categories", "annotations"), 0)
        for node in stream(path):
            if node.key in counts:
                self._add(node, counts[node.key], found)
                counts[node.key] += 1
        if not all(counts.values()):
            raise ConfigError(f"'{path}' is no COCO instances file: it has {counts}; all three must be there")
        self._row_N5 = self._without_repeats(np.frombuffer(found, np.int64).reshape(-1, 5))
        self._by_id = np.argsort(self._row_N5[:, 2])
        self._file = path.open("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def groups(self) -> Iterator[tuple[int, int, list[int]]]:
        """(image id, category id, annotation ids) for each category of each image, ordered by these ids."""
        rows = self._row_N5[np.lexsort(self._row_N5[:, 2::-1].T)]
        edges = np.flatnonzero((rows[1:, :2] != rows[:-1, :2]).any(axis=1)) + 1
        for start, stop in pairwise([0, *edges, len(rows)] if len(rows) else []):
            yield int(rows[start, 0]), int(rows[start, 1]), rows[start:stop, 2].tolist()

    def annotation(self, annotation_id: int) -> dict[str, Any]:
        """Read an annotation from the file.

        Raises:
            LookupError: there is none with this id.
        """
        at = np.searchsorted(self._row_N5[:, 2], annotation_id, sorter=self._by_id)
        row = self._row_N5[self._by_id[at]] if at < len(self._by_id) else None
        if row is None or row[2] != annotation_id:
            raise LookupError(f"annotation {annotation_id} is not in '{self.path.name}'")
        return dict(read_at(self._file, int(row[3]), int(row[4])))

    def target(self, annotation_id: int) -> Target:
        """The annotation's mask, or its box where it has none.

        Raises:
            LookupError, TypeError, ValueError: it is not there, or is not as COCO writes it.
        """
        annotation = self.annotation(annotation_id)
        segmentation = annotation.get("segmentation")
        if isinstance(segmentation, dict):
            return {"mask_rle": {"size": segmentation["size"], "counts": segmentation["counts"]}}
        if segmentation:
            return {"polygons": list(segmentation)}
        return box_target(*annotation["bbox"])

    def _without_repeats(self, row_N5: np.ndarray) -> np.ndarray:
        """The rows with the first annotation of each id; the others are bad records."""
        kept = np.zeros(len(row_N5), bool)
        kept[np.unique(row_N5[:, 2], return_index=True)[1]] = True
        for annotation_id in row_N5[~kept, 2].tolist():
            where = f"{self.path.name}: annotation {annotation_id}"
            self.bad.append(BadRecord(where, "an earlier annotation has the same id"))
        return row_N5[kept]

    def _add(self, node: Node, position: int, found: array[int]) -> None:
        try:
            if node.key == "images":
                self.images[int(node.value["id"])] = str(node.value["file_name"])
            elif node.key == "categories":
                self.categories[int(node.value["id"])] = str(node.value["name"])
            else:
                found.extend(array("q", [*(int(node.value[name]) for name in _FIELDS), node.start, node.stop]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            where = f"{self.path.name}: {node.key}[{position}]"
            self.bad.append(BadRecord(where, f"{type(error).__name__}: {error}"[:300]))
