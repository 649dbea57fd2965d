"""Where the images, labels and class names of a YOLO data set lie."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from ivm_data.sources.foreign.containers.image_folder import SUFFIXES, image_files
from storage.errors import ConfigError

_NAMES = (
    "classes.txt",
    "obj.names",
    "_darknet.labels",
    "data/obj.names",
    "labels/classes.txt",
    "predefined_classes.txt",
)
_SPLITS = ("train", "val", "valid", "test")


@dataclass(frozen=True)
class Layout:
    """A data set on this machine.

    Attributes:
        root: its folder.
        names: class number -> name.
        entries: split -> folders, lists and patterns of images, as the data set names them.
        keypoints: lines have key points behind their box.
    """

    root: Path
    names: dict[int, str]
    entries: dict[str, list[str]] = field(default_factory=dict)
    keypoints: bool = False

    def images(self, splits: list[str]) -> Iterator[tuple[str, Path]]:
        """(split, image file) of some splits, or of all; a listed file may be missing.

        Raises:
            ConfigError: a split that the data set does not have, or no image.
        """
        if unknown := set(splits) - set(self.entries):
            raise ConfigError(f"'{self.root}' has the splits {', '.join(self.entries)}, not {min(unknown)!r}")
        seen: set[Path] = set()
        for split in splits or self.entries:
            for entry in self.entries[split]:
                for image in self._images_of(entry):
                    if image not in seen:
                        seen.add(image)
                        yield split, image
        if not seen:
            raise ConfigError(f"'{self.root}' holds no image where its splits say: {self.entries}")

    def labels(self, image: Path) -> Path | None:
        """The label file of an image: below `labels` instead of the last `images`, or beside it."""
        parts = list(image.parent.parts)
        places = [image.parent]
        if "images" in parts:
            at = len(parts) - 1 - parts[::-1].index("images")
            places.insert(0, Path(*parts[:at], "labels", *parts[at + 1 :]))
        return next((path for place in places if (path := place / f"{image.stem}.txt").is_file()), None)

    def _images_of(self, entry: str) -> list[Path]:
        place = self._found(entry)
        if place is None:
            return sorted(
                path for one in glob.glob(str(self.root / entry)) if (path := Path(one)).suffix.lower() in SUFFIXES
            )
        if place.is_dir():
            return image_files(place)
        if place.suffix.lower() in SUFFIXES:
            return [place]
        lines = place.read_text(encoding="utf-8-sig", errors="replace").split("\n")
        return [self._listed(line.strip(), place) for line in lines if line.strip()]

    def _found(self, entry: str) -> Path | None:
        """The path as it is, from the root, without leading dots (Roboflow), or without its first folder (CVAT)."""
        plain = PurePosixPath(entry.replace("\\", "/"))
        kept = [part for part in plain.parts if part not in ("..", ".", "/")]
        tried = [Path(self.root, plain), self.root.joinpath(*kept), self.root.joinpath(*kept[1:])]
        own = (path for path in tried if path == self.root or not self.root.is_relative_to(path))  # not the whole disk
        return next((path for path in own if path.exists()), None)

    def _listed(self, line: str, listing: Path) -> Path:
        beside = listing.parent / line
        return beside if beside.is_file() else self._found(line) or self.root / line


def find_layout(data: str) -> Layout:
    """The layout that `data.yaml`, `obj.data` or a folder describes.

    Raises:
        ConfigError: there is no such, or it names no classes.
    """
    path = Path(data)
    try:
        if path.is_dir():
            inner = next(
                (path / name for name in ("data.yaml", "dataset.yaml", "obj.data") if (path / name).is_file()), None
            )
            return find_layout(str(inner)) if inner else _of_folder(path)
        if path.suffix.lower() in (".yaml", ".yml"):
            return _of_yaml(path)
        if path.suffix.lower() == ".data":
            return _of_darknet(path)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"'{data}' cannot be read: {str(error)[:200]}") from error
    raise ConfigError(f"'{data}' is not there or no data.yaml, obj.data or folder with classes.txt; set data to one")


def _of_yaml(path: Path) -> Layout:
    document = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    if not isinstance(document, dict):
        raise ConfigError(f"'{path}' must hold 'names' and the splits, got {type(document).__name__}")
    named = document.get("path")
    root = Path(path.parent, named) if isinstance(named, str) else path.parent
    splits = {name: _texts(document[name]) for name in _SPLITS if document.get(name)}
    entries = {"val" if name == "valid" else name: found for name, found in splits.items()}
    if not entries:
        raise ConfigError(f"'{path}' names none of the splits {', '.join(_SPLITS)}")
    keypoints = document.get("kpt_shape") is not None
    return Layout(root if root.is_dir() else path.parent, _names(document.get("names"), path), entries, keypoints)


def _of_darknet(path: Path) -> Layout:
    pairs = [line.split("=", 1) for line in path.read_text(encoding="utf-8-sig").splitlines() if "=" in line]
    given = {name.strip(): value.strip() for name, value in pairs}
    layout = Layout(path.parent, {})
    names = layout._found(given.get("names", "obj.names"))
    if names is None:
        raise ConfigError(f"'{path}' names the classes in {given.get('names')!r}, which is not there")
    entries = {"val" if name == "valid" else name: [given[name]] for name in _SPLITS if given.get(name)}
    return Layout(path.parent, _names(_lines(names), names), entries or {"train": ["."]})


def _of_folder(path: Path) -> Layout:
    names = next((path / name for name in _NAMES if (path / name).is_file()), None)
    if names is None:
        raise ConfigError(
            f"'{path}' has neither data.yaml nor one of {', '.join(_NAMES)}, so that classes have no names"
        )
    found = {"val" if name == "valid" else name: name for name in _SPLITS if (path / "images" / name).is_dir()}
    splits = {split: [f"images/{name}"] for split, name in found.items()}
    return Layout(
        path, _names(_lines(names), names), splits or {"train": ["images" if (path / "images").is_dir() else "."]}
    )


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def _names(given: Any, path: Path) -> dict[int, str]:
    pairs = given.items() if isinstance(given, dict) else enumerate(given) if isinstance(given, list) else ()
    names = {int(number): str(name) for number, name in pairs}
    if not names:
        raise ConfigError(f"'{path}' names no classes; 'names' must be a list, or numbers with names")
    return names


def _texts(given: Any) -> list[str]:
    listed = given if isinstance(given, list) else [given]
    if not all(isinstance(one, str) for one in listed):
        raise ConfigError(f"a split must be a path or a list of paths, got {str(given)[:60]}")
    return listed
