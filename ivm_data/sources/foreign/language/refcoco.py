"""RefCOCO, RefCOCO+, RefCOCOg (Yu et al. 2016; Mao et al. 2016) and gRefCOCO (Liu et al. 2023).

The four share one layout: a file of refs, each with sentences and the annotations that they mean, beside COCO's
`instances.json`. Their images lie in COCO's train2014, so a ref's own split says what must not be trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivm_data.sources.foreign.common.foreign_reader import ForeignPair, Record, checked, existing
from ivm_data.sources.foreign.common.image_references import image_path
from ivm_data.sources.foreign.common.json_stream import stream
from ivm_data.sources.foreign.common.plain_pickle import load_plain
from ivm_data.sources.foreign.common.record_ids import record_id
from ivm_data.sources.foreign.detection.coco_index import CocoIndex
from storage.errors import ConfigError

_NONE = -1
"""The annotation of a sentence that means nothing in the image."""


@dataclass(frozen=True)
class RefCocoConfig:
    """Which files, and which splits may train.

    Attributes:
        refs: `refs(unc).p`, `refs(google).p` or `refs(umd).p` (of RefCOCOg take umd); for gRefCOCO `grefs(unc).json`.
        instances: the `instances.json` beside it.
        images: folder of COCO's train2014, relative to the image root.
        held_out: splits whose pairs only score, with blanks between them.
        splits: read only these splits; all where it is "".
    """

    refs: str
    instances: str
    images: str = "coco/train2014"
    held_out: str = "val test testA testB"
    splits: str = ""


def read_refcoco(config: RefCocoConfig) -> Iterator[Record]:
    """RefCOCO, RefCOCO+, RefCOCOg: each sentence is an instruction, its annotation is the mask.

    Reads: refs(unc|google|umd).p, instances.json
    """
    path = existing(config.refs, "refs")
    refs = load_plain(path)
    if not isinstance(refs, list):
        raise ConfigError(f"'{path}' must hold a list of refs, got {type(refs).__name__}")
    yield from _read(path, refs, config)


def read_grefcoco(config: RefCocoConfig) -> Iterator[Record]:
    """gRefCOCO: each sentence is an instruction, its annotations are the masks; ann_id -1 says that there is none.

    Reads: grefs(unc).json, instances.json
    """
    path = existing(config.refs, "refs")
    yield from _read(path, (node.value for node in stream(path)), config)


def _read(path: Path, refs: Iterable[Any], config: RefCocoConfig) -> Iterator[Record]:
    with CocoIndex(existing(config.instances, "instances")) as coco:
        yield from coco.bad
        for position, ref in enumerate(refs):
            yield from checked(f"{path.name}: ref {position}", _pairs, ref, coco, config)


def _pairs(ref: dict[str, Any], coco: CocoIndex, config: RefCocoConfig) -> Iterator[ForeignPair]:
    split = ref["split"]
    if config.splits and split not in config.splits.split():
        return
    ids = ref["ann_id"] if isinstance(ref["ann_id"], list) else [ref["ann_id"]]
    image = coco.image(record_id(ref["image_id"]))
    marks = coco.marks(image)
    marked = [marks.add(coco.annotation(number)) for number in map(record_id, ids) if number != _NONE]
    if len(marked) < len(ids) != 1 or not ids:
        raise ValueError(f"'ann_id' must be annotations, or {_NONE} alone where there is none, got {ids}")
    targets = tuple(marks.sized(target) for target in marked)
    for sentence in ref["sentences"]:
        yield ForeignPair(
            image=image_path(config.images, image.name),
            instruction=sentence["sent"],
            kind=("none", "one")[len(targets)] if len(targets) < 2 else "several",
            difficulty=split,
            held_out=split in config.held_out.split(),
            targets=targets,
        )
