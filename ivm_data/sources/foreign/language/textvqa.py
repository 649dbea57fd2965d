"""TextVQA (Singh et al. 2019): `TextVQA_0.5.1_train.json`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ivm_data.sources.foreign.common.foreign_reader import ForeignPair, Record, checked, existing
from ivm_data.sources.foreign.common.image_references import image_path
from ivm_data.sources.foreign.common.json_stream import stream


@dataclass(frozen=True)
class TextVqaConfig:
    """Which file.

    Attributes:
        questions: `TextVQA_0.5.1_train.json` or that of another split.
        images: folder of the image files, relative to the image root.
    """

    questions: str
    images: str = "textvqa/train_images"


def read_textvqa(config: TextVqaConfig) -> Iterator[Record]:
    """TextVQA: a question is the instruction; nothing is labeled.

    Reads: TextVQA_0.5.1_*.json
    """
    path = existing(config.questions, "questions")
    rows = (node.value for node in stream(path) if node.key == "data")
    for position, row in enumerate(rows):
        yield from checked(f"{path.name}: data[{position}]", _pairs, row, config)


def _pairs(row: dict[str, Any], config: TextVqaConfig) -> Iterator[ForeignPair]:
    yield ForeignPair(image_path(config.images, f"{row['image_id']}.jpg"), row["question"], kind="question")
