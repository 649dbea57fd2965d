"""Flickr30k Entities (Plummer et al. 2015): `Sentences/<id>.txt` and `Annotations/<id>.xml`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from ivm_data.sources.foreign.common.foreign_reader import ForeignPair, Record, Target, checked, existing
from ivm_data.sources.foreign.common.image_references import image_path

_PHRASE = re.compile(r"\[/EN#(\d+)(/\S+) ([^\]]+)\]")
_SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Flickr30kConfig:
    """Which folders.

    Attributes:
        entities: folder that holds Sentences/ and Annotations/.
        images: folder of the image files, relative to the image root.
        ids: `train.txt`, `val.txt` or `test.txt`; every image of Sentences/ where it is "".
        held_out: these pairs only score.
    """

    entities: str
    images: str = "flickr30k/images"
    ids: str = ""
    held_out: bool = False


def read_flickr30k(config: Flickr30kConfig) -> Iterator[Record]:
    """Flickr30k Entities: a phrase of a caption is an instruction, the boxes of what it names are the label.

    Reads: Sentences/*.txt, Annotations/*.xml
    """
    sentences = existing(f"{config.entities}/Sentences", "entities", folder=True)
    annotations = existing(f"{config.entities}/Annotations", "entities", folder=True)
    for name in _ids(config, sentences):
        yield from checked(f"Annotations/{name}.xml", _pairs, name, sentences, annotations, config)


def _ids(config: Flickr30kConfig, sentences: Path) -> list[str]:
    if config.ids:
        return existing(config.ids, "ids").read_text(encoding="utf-8-sig", errors="replace").split()
    return sorted(path.stem for path in sentences.glob("*.txt"))


def _pairs(name: str, sentences: Path, annotations: Path, config: Flickr30kConfig) -> Iterator[ForeignPair]:
    """One pair for each phrase that has a box: "not visual" (chain 0), whole scenes and things not drawn have none."""
    try:
        captions = (sentences / f"{name}.txt").read_text(encoding="utf-8-sig")
        boxes = _boxes(ElementTree.parse(annotations / f"{name}.xml").getroot())
    except (OSError, ElementTree.ParseError) as error:
        raise ValueError(str(error).replace(f"{config.entities}/", "")) from error
    chains: dict[str, dict[str, str]] = defaultdict(dict)
    spoken: dict[str, str] = {}
    for chain, kind, words in _PHRASE.findall(captions):
        if chain in boxes:
            spoken.setdefault(words.lower(), words)
            chains[words.lower()].setdefault(chain, kind.split("/")[1])
    for key, named in chains.items():
        yield ForeignPair(
            image=image_path(config.images, f"{name}.jpg"),
            instruction=spoken[key],
            kind=next(iter(named.values())),
            held_out=config.held_out,
            targets=tuple(box for chain in named for box in boxes[chain]),
        )


def _boxes(root: ElementTree.Element) -> dict[str, list[Target]]:
    """Boxes by chain. The file's pixels count from 1, with the right and bottom ones inside."""
    boxes: dict[str, list[Target]] = defaultdict(list)
    sides = [int(root.findtext(f"size/{side}") or 0) for side in ("height", "width")]
    sized = {"size": sides} if all(sides) else {}
    for thing in root.iter("object"):
        box = thing.find("bndbox")
        if box is not None:
            x0, y0, x1, y1 = (int(box.findtext(side, "")) for side in _SIDES)
            for chain in thing.findall("name"):
                boxes[chain.text or ""].append({"box": [x0 - 1, y0 - 1, x1, y1]} | sized)
    return dict(boxes)
