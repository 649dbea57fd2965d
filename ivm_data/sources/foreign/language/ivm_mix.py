"""IVM-Mix-1M (Zheng et al. 2024): HumanLabelData, RobotMachineData and VQAMachineData, each a JSONL file and masks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from ivm_data.sources.foreign.common.foreign_reader import ForeignPair, Record, Target, checked, existing
from ivm_data.sources.foreign.common.image_references import image_path
from storage.common.validation import Checked, within


@dataclass(frozen=True)
class IvmMixConfig(Checked):
    """Which file, and whether its masks count as drawn by a person.

    Attributes:
        meta: the JSONL file of one of the three sets.
        label: "mask" for HumanLabelData; "none" for the machine sets, whose masks are a model's; "boxes" for the rows'
            own boxes.
        images: folder of the image files, relative to the image root: that of coco/, gqa/, vg/, ... for rows that name
            their image, that of img_*.jpg for the others.
        masks: folder of mask_*.jpg, relative to the image root.
        threshold: gray value, 1 to 255, from which a pixel of the soft mask is kept.
        held_out: these pairs only score.
    """

    meta: str
    label: Literal["mask", "none", "boxes"]
    images: str = ""
    masks: str = ""
    threshold: Annotated[int, within("[1, 255]")] = 128
    held_out: bool = False


def read_ivm_mix(config: IvmMixConfig) -> Iterator[Record]:
    """IVM-Mix-1M: each instruction of a row is one, the soft mask above a threshold is the label.

    Reads: a set's JSONL, mask_*.jpg
    """
    path = existing(config.meta, "meta")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield from checked(f"{path.name}: line {number}", _pairs, line, config)


def _pairs(line: bytes, config: IvmMixConfig) -> Iterator[ForeignPair]:
    row = json.loads(line)
    if not isinstance(row["instruction"], list):
        raise ValueError(f"'instruction' must be a list, got {str(row['instruction'])[:60]!r}")
    for instruction in dict.fromkeys(row["instruction"]):
        yield ForeignPair(
            image=image_path(config.images, row.get("image", f"img_{row['uuid']}.jpg")),
            instruction=instruction,
            held_out=config.held_out,
            targets=_targets(row, config),
        )


def _targets(row: dict[str, Any], config: IvmMixConfig) -> tuple[Target, ...] | None:
    """A mask that is black all over says that there is nothing to see; a row without boxes says nothing."""
    if config.label == "mask":
        return ({"mask": image_path(config.masks, f"mask_{row['uuid']}.jpg"), "threshold": config.threshold},)
    boxes = row.get("boxes") if config.label == "boxes" else None
    return tuple({"box": list(box), "frame": "square"} for box in boxes) if boxes else None
