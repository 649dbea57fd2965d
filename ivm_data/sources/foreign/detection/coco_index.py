"""A COCO instances file whose annotations stay on disk: where each lies, by image and category."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from ivm_data.sources.foreign.common.foreign_reader import BadRecord, reason
from ivm_data.sources.foreign.common.image_references import Claims, end_of_url
from ivm_data.sources.foreign.common.json_stream import Node, read_at, stream
from ivm_data.sources.foreign.common.record_ids import record_id
from ivm_data.sources.foreign.detection.coco_target import Marks, image_size
from ivm_data.sources.marked_size import Size
from storage.errors import ConfigError

_FIELDS = ("image_id", "category_id", "id")
_EVERY: frozenset[int] = frozenset()
_MEMBERS = ("images", "categories", "annotations")


@dataclass(frozen=True, slots=True)
class CocoImage:
    """An image of the file.

    Attributes:
        name: its file, or its URL.
        url: where the name is from, if the file gives no name.
        size: (height, width) as the file gives it.
        partial: categories of which the owner did not mark every instance (LVIS).
    """

    name: str
    url: str = ""
    size: Size | None = None
    partial: frozenset[int] = frozenset()


class CocoIndex:
    """Images and categories in memory, 40 bytes for each annotation, and the open file. A context manager.

    Ids are numbers as `record_id` makes them. Several annotations may have one id: each says itself of what it is.

    Attributes:
        images: image id -> image.
        categories: category id -> name.
        bad: images, categories and annotations that cannot be used.
        incomplete: (image id, category id) of which an annotation cannot be used.
        scaled: Label Studio wrote the file: it scales polygons with the size of a photo as it is stored.
    """

    def __init__(self, path: Path, url_parts: int = 1) -> None:
        self.path, self.url_parts, self.scaled = path, url_parts, False
        self.images, self.categories = dict[int, CocoImage](), dict[int, str]()
        self.bad: list[BadRecord] = []
        self.incomplete: set[tuple[int, int]] = set()
        self._claims, self._shown, self._sizes = Claims(), dict[int, str](), dict[Size, Size]()
        found = array("q")
        counts = dict.fromkeys(_MEMBERS, 0)
        for node in stream(path):
            if node.key in counts:
                self._add(node, counts[node.key], found)
                counts[node.key] += 1
            elif node.key == "info" and isinstance(node.value, dict):
                self.scaled = node.value.get("contributor") == "Label Studio"
        if not all(counts.values()):
            raise ConfigError(f"'{path}' is no COCO instances file: it has {counts}; all three must be there")
        self._row_N5 = np.frombuffer(found, np.int64).reshape(-1, 5)
        self._by_id = np.argsort(self._row_N5[:, 2], kind="stable")
        self._file = path.open("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def groups(self) -> Iterator[tuple[int, list[tuple[int, list[int]]]]]:
        """(image id, [(category id, rows of its annotations), ...]) for each image with annotations, ordered by ids."""
        order = np.lexsort(self._row_N5[:, 2::-1].T)
        rows = self._row_N5[order]
        edges = np.flatnonzero((rows[1:, :2] != rows[:-1, :2]).any(axis=1)) + 1
        groups = (
            (int(rows[start, 0]), int(rows[start, 1]), order[start:stop].tolist())
            for start, stop in pairwise([0, *edges, len(rows)] if len(rows) else [])
        )
        for image, found in groupby(groups, key=lambda group: group[0]):
            yield image, [(category, places) for _, category, places in found]

    def image(self, image_id: int) -> CocoImage:
        """The image of an id.

        Raises:
            ValueError: there is none, or several images would get its name.
        """
        found = self.images.get(image_id)
        if found is None:
            raise ValueError(f"no image of the file has the id {self.shown(image_id)}")
        if found.url:
            self._claims.check(found.name, "set url_parts to keep so many last parts of their URLs")
        return found

    def category(self, category_id: int) -> str:
        """The name of a category's id.

        Raises:
            ValueError: there is none.
        """
        if category_id not in self.categories:
            raise ValueError(f"no category of the file has the id {self.shown(category_id)}")
        return self.categories[category_id]

    def marks(self, image: CocoImage) -> Marks:
        """Where the targets of an image are collected."""
        return Marks(image.size, self.scaled)

    def at(self, row: int) -> dict[str, Any]:
        """Read the annotation of a row that `groups` gave."""
        return dict(read_at(self._file, int(self._row_N5[row, 3]), int(self._row_N5[row, 4])))

    def annotation(self, annotation_id: int) -> dict[str, Any]:
        """Read an annotation from the file.

        Raises:
            ValueError: there is none with this id, or several.
        """
        first, last = np.searchsorted(self._row_N5[:, 2], [annotation_id, annotation_id + 1], sorter=self._by_id)
        if last - first != 1:
            seen = "is not" if first == last else "is more than once"
            raise ValueError(f"annotation {self.shown(annotation_id)} {seen} in '{self.path.name}'")
        return self.at(int(self._by_id[first]))

    def shown(self, number: int) -> str:
        """An id as the file has it."""
        return self._shown.get(number, str(number))

    def _add(self, node: Node, position: int, found: array[int]) -> None:
        try:
            if node.key == "images":
                self._keep(self.images, self._number(node.value["id"]), self._image(node.value))
            elif node.key == "categories":
                self._keep(self.categories, self._number(node.value["id"]), _name(node.value["name"]))
            else:
                found.extend(array("q", [*(self._number(node.value[name]) for name in _FIELDS), node.start, node.stop]))
        except Exception as error:  # a foreign value raises nearly every type; it is that record's alone
            self.bad.append(BadRecord(f"{self.path.name}: {node.key}[{position}]", reason(error)))
            with suppress(Exception):  # an annotation that says of what it is one leaves those incomplete
                self.incomplete.add((record_id(node.value["image_id"]), record_id(node.value["category_id"])))

    def _keep(self, known: dict[int, Any], number: int, value: Any) -> None:
        if known.setdefault(number, value) != value:
            raise ValueError(f"another one has the id {self.shown(number)} too")

    def _image(self, image: dict[str, Any]) -> CocoImage:
        name, url = image.get("file_name"), ""
        if not name:
            url = image.get("coco_url") or ""
            if not isinstance(url, str) or not url:
                raise ValueError("it has neither 'file_name' nor 'coco_url'")
            name = end_of_url(url, self.url_parts)
            self._claims.add(name, url)
        partial = image.get("not_exhaustive_category_ids")
        found = image_size(image)
        size = None if found is None else self._sizes.setdefault(found, found)  # most images have one of a few sizes
        return CocoImage(_name(name), url, size, frozenset(map(record_id, partial)) if partial else _EVERY)

    def _number(self, value: Any) -> int:
        number = record_id(value)
        if isinstance(value, str) and number < 0:
            self._shown[number] = value if len(value) < 80 else value[:80]
        return number


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"a name must be text, got {value!r:.60}")
    return value
