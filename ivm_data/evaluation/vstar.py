"""V*Bench (Wu and Xie 2023, arXiv 2312.14135) as its owner publishes it -> questions with options.

Two folders, `direct_attributes/` and `relative_position/`, hold an image and a JSON file of one stem a question:
`target_object`, `bbox` (XYWH pixels of each target), `question`, `options`, of which the first is right. Where a file
has `mask_rle` too, as those of `ivm_data.worlds.search`, that is the truth instead of the boxes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ivm_data.experts.lmms.chat_messages import LETTERS
from storage.errors import ConfigError, InputError
from storage.pixels import rle

GROUPS = ("direct_attributes", "relative_position")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class ChoiceQuestion:
    """A question with options about an image file.

    Attributes:
        id: folder and stem.
        group: the folder.
        options: as published: the first is right. Shuffle before asking.
        targets: the file's `bbox` and `mask_rle`, which `truth` reads.
    """

    id: str
    group: str
    image: Path
    question: str
    options: tuple[str, ...]
    targets: dict[str, Any]

    def truth(self, size: tuple[int, int]) -> np.ndarray:
        """Bool mask of the targets in an image of (height, width) `size`.

        Raises:
            InputError: `bad_human_mask`.
        """
        if self.targets["mask_rle"] is not None:
            mask = rle.from_counts(self.targets["mask_rle"]["size"], self.targets["mask_rle"]["counts"])
            if (mask.height, mask.width) != size:
                raise InputError("bad_human_mask", f"a mask of {(mask.height, mask.width)} for an image of {size}")
            return rle.decode(mask)
        mask_HW = np.zeros(size, bool)
        for x, y, width, height in self.targets["bbox"]:
            x0, y0 = max(0, round(x)), max(0, round(y))
            mask_HW[y0 : max(y0, round(y + height)), x0 : max(x0, round(x + width))] = True
        return mask_HW


def read_vstar(folder: Path, limit: int = 0) -> tuple[list[ChoiceQuestion], list[str]]:
    """All questions in the order of their ids, and what is wrong with the files that cannot be used.

    Args:
        limit: at most so many of each group; 0 for all.

    Raises:
        ConfigError: no such folder, or not one question in it.
    """
    questions: list[ChoiceQuestion] = []
    bad: list[str] = []
    for group in GROUPS:
        files = sorted((folder / group).glob("*.json"))
        for path in files[:limit] if limit else files:
            try:
                questions.append(_question(group, path))
            except (InputError, KeyError, TypeError, ValueError, OSError) as error:
                bad.append(f"{group}/{path.name}: {type(error).__name__}: {error}"[:300])
    if not questions:
        raise ConfigError(
            f"'{folder}' holds no question that can be read in {' or '.join(f'{g}/' for g in GROUPS)}; give the folder "
            f"of V*Bench, or write one with 'ivm search-world'{'; first: ' + bad[0] if bad else ''}"
        )
    return questions, bad


def _question(group: str, path: Path) -> ChoiceQuestion:
    record = json.loads(path.read_text(encoding="utf-8"))
    options = record["options"]
    if not isinstance(options, list) or not 2 <= len(options) <= len(LETTERS) or len(set(options)) < len(options):
        raise ValueError(f"'options' must be 2 to {len(LETTERS)} different strings, got {str(options)[:80]}")
    if not all(isinstance(text, str) and text for text in (record["question"], *options)):
        raise ValueError("'question' and every option must be strings with characters")
    image = next((p for suffix in IMAGE_SUFFIXES if (p := path.with_suffix(suffix)).is_file()), None)
    if image is None:
        raise ValueError(f"no image of this name with one of {', '.join(IMAGE_SUFFIXES)} beside it")
    boxes = [[float(edge) for edge in box] for box in record.get("bbox", [])]
    if any(len(box) != 4 for box in boxes):
        raise ValueError(f"each 'bbox' must be [x, y, width, height], got {str(boxes)[:80]}")
    targets = {"bbox": boxes, "mask_rle": record.get("mask_rle")}
    return ChoiceQuestion(f"{group}/{path.stem}", group, image, record["question"], tuple(options), targets)
